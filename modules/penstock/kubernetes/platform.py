"""The cluster target: jobs as JobSets, services as Deployments, in a namespace of the stack's own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi

from penstock import platform
from penstock.kubernetes import database, job_set, keys, manifest, preflight, serving, versions, watching, workspace
from penstock.kubernetes.api import Api
from penstock.kubernetes.cluster_args import ClusterArgs
from penstock.kubernetes.job_files import JobFiles
from penstock.kubernetes.job_result import JobResult
from penstock.kubernetes.pods import DATA, STORE, Machine
from penstock.local import engine

COST = {"usd_per_hour": None, "note": "runs on an existing cluster, whose price is not known here"}


class KubernetesPlatform:
    """Runs everything in one namespace of an existing cluster.

    `problem_folder`: where relative files start. Default: the Pulumi project's folder.
    """

    def __init__(self, stack: str, args: ClusterArgs, problem_folder: Path | None = None) -> None:
        self._stack, self._args = stack, args
        engine.end_with_engine()
        self._files = JobFiles(
            problem_folder or Path(pulumi.get_root_directory() or "."),
            (f"{DATA}/", f"{STORE}/"),
            f"put them on a claim, name it with the setting `data_claim`, and write the pattern as {DATA}/...",
        )
        self._images = {
            platform.Program.TRAINER: args.trainer_image,
            platform.Program.SERVER: args.serving_image,
        }
        kinds: list[tuple[str, str]] = [preflight.JOB_SET]
        kinds += [preflight.QUEUE] if args.queue else []
        kinds += [preflight.SCALED] if args.scale_on.by_keda else []
        needs = preflight.Needs(
            stack=stack,
            namespace=args.namespace,
            kinds=tuple(kinds),
            machines=args.machines,
            autoscaled=args.autoscaled,
            storage_class=args.storage_class,
            data_claim=args.data_claim,
            queue=args.queue,
            exclusive_topology=args.exclusive_topology,
            secrets=args.database_password is not None or bool(args.skew_schedule),
            watched=bool(args.skew_schedule),
        )
        self._api = Api(args.kubeconfig, args.context)
        preflight.check(self._api, needs)
        self._provider = self._made_provider("cluster", upsert=False)
        # A run that was killed may have made the job already, and what was kept of an earlier stack is there: both are
        # gone on with.
        self._adopting = self._made_provider("cluster-adopting", upsert=True)
        self._claim = pulumi.Output.from_input("artifacts")
        self._namespace: pulumi.Output[str] = pulumi.Output.from_input(args.namespace)

    def storage(self, name: str, keep: Sequence[str], opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """The namespace with what it has from the start, and the claim; something to keep keeps both of them whole."""
        args = workspace.WorkspaceArgs(
            self._stack,
            self._args.namespace,
            self._args.storage_class,
            self._args.storage_gib,
            self._args.access_mode,
            self._args.quota,
            self._args.queue,
        )
        kept = pulumi.ResourceOptions(retain_on_delete=bool(keep), provider=self._adopting)
        made = manifest.resource(f"{name}-namespace", workspace.namespace(args), self._options(opts, kept))
        self._namespace = _metadata(made, "name")
        for part, content in workspace.objects(args).items():
            self._make(f"{name}-{part}", content, opts)
        claim = manifest.resource(f"{name}-claim", self._placed(workspace.claim(args)), self._options(opts, kept))
        self._claim = _metadata(claim, "name")
        return self._claim.apply(lambda _: STORE)

    def job(self, name: str, job: platform.Job, opts: pulumi.ResourceOptions) -> platform.Artifact:
        """A JobSet, run to its end."""
        problem = self._problem(name, job, opts)
        if self._args.exclusive_topology and not self._args.autoscaled:
            by_role = {role: details.replicas for role, details in job.roles.items()}
            preflight.check_topology(self._api, self._args.exclusive_topology, self._args.machines, by_role)
        parts = job_set.beside(name, job, self._job_args(""))
        first: list[pulumi.Resource] = [self._make(f"{name}-{part}", content, opts) for part, content in parts.items()]
        at_database: Sequence[Mapping[str, Any]] = ()
        if storage := database.url(job):
            first.append(self._make(f"{name}-database", database.edge(name, self._stack, storage), opts))
            if self._args.database_password is not None:
                first.append(self._password(name, self._args.database_password, opts))
                at_database = database.environment(f"{name}-database")
        held = self._keys(name, job.keys, first, opts)
        commands = self._files.commands(job)
        known = pulumi.Output.all(commands=commands, digests=dict(job.digests), claim=self._claim, problem=problem)
        made = known.apply(
            lambda at: job_set.job_set(
                name, job, at["commands"], at["digests"], self._job_args(at["claim"], at["problem"], held, at_database)
            )
        )
        # Its pods must not run before the policy that lets them reach each other.
        merged = self._options(opts, pulumi.ResourceOptions(depends_on=first, provider=self._adopting))
        resource = manifest.later(name, *preflight.JOB_SET, made.apply(self._placed_later), merged)
        result = JobResult(
            f"{name}-result",
            {
                "kubeconfig": self._args.kubeconfig,
                "context": self._args.context or "",
                "namespace": _metadata(resource, "namespace"),
                "job_set": _metadata(resource, "name"),
                "uid": _metadata(resource, "uid"),
                "success_role": job.success_role,
                "timeout_seconds": 60 * self._args.timeout_minutes,
                "start_seconds": 60 * self._args.start_minutes,
            },
            opts,
        )
        return platform.Artifact(result.path, result.digest, result.counts, result.metrics)

    def service(self, name: str, service: platform.Service, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """A Deployment behind a Service; the URL is one of the cluster's own names."""
        service.refuse_local("traffic", "verify_key")
        first: list[pulumi.Resource] = []
        args = serving.ServingArgs(
            stack=self._stack,
            image=self._images[service.program],
            claim="artifacts",
            namespace=self._args.namespace,
            machine=self._args.machines.get("server", Machine()),
            keys=self._keys(name, [service.verify_key] if service.verify_key else [], first, opts),
            caller_namespaces=self._args.caller_namespaces,
            scale_on=self._args.scale_on,
            requests_per_second=self._args.requests_per_second,
            requests_in_flight=self._args.requests_in_flight,
            prometheus=self._args.prometheus,
            wake_query=self._args.wake_query,
            observations=watching.folder(name) if self._args.skew_schedule else "",
            timeout_seconds=round(min(60 * self._args.timeout_minutes, 2 * serving.START_SECONDS)),
        )
        parts = serving.objects(name, service, [], args)
        if parts.get("scaling", {}).get("kind") == "HorizontalPodAutoscaler":
            preflight.check_scaling(self._api, self._args.scale_on)
        template = pulumi.Output.all(command=list(service.command), plan=self._plan(name, service, opts)).apply(
            lambda at: serving.objects(name, service, at["command"], replace(args, plan=at["plan"]))["deployment"][
                "spec"
            ]
        )
        parts["deployment"]["spec"] = template
        policy = self._make(f"{name}-policy", parts.pop("policy"), opts)
        deployment = manifest.resource(
            name,
            self._placed(parts.pop("deployment")),
            self._options(opts, pulumi.ResourceOptions(depends_on=[policy, *first])),
        )
        # The Service waits for a pod that answers, so it comes after what makes the pods.
        after = pulumi.ResourceOptions(depends_on=[deployment])
        for part, content in parts.items():
            manifest.resource(f"{name}-{part}", self._placed(content), self._options(opts, after))
        if self._args.skew_schedule:
            self._watch(name, service, opts)
        return self._namespace.apply(lambda space: f"http://{name}.{space}.svc.cluster.local:{service.port}")

    def _plan(self, name: str, service: platform.Service, opts: pulumi.ResourceOptions) -> pulumi.Input[str]:
        """The name of the ConfigMap by which its servers split the traffic; empty where all goes to one model.

        What comes is remembered in any case: the weights of a later `up` may speak of it.
        """
        if service.model is None:
            return ""
        asked = {**service.model, "model_name": service.model_name, "traffic": service.traffic}
        known = versions.Versions(f"{name}-versions", asked, opts)
        if not service.traffic:
            return ""
        return _metadata(self._make(f"{name}-plan", versions.mounted(name, self._stack, known.plan), opts), "name")

    def _watch(self, name: str, service: platform.Service, opts: pulumi.ResourceOptions) -> None:
        """The monitor of an endpoint, with the webhook that its service names."""
        if service.model is None:
            return
        if self._args.access_mode == "ReadWriteOnce":
            pulumi.log.warn(
                "the claim is ReadWriteOnce: the monitor and all replicas write to it, so they must be on one node"
            )
        args = watching.WatchArgs(
            stack=self._stack,
            image=self._images[platform.Program.SERVER],
            claim="artifacts",
            schedule=self._args.skew_schedule,
            model_name=service.model_name,
            secret=bool(service.environment),
            machine=Machine(node_selector=self._args.machines.get("server", Machine()).node_selector),
        )
        first: list[pulumi.Resource] = []
        if service.environment:
            told = {key: pulumi.Output.secret(value) for key, value in service.environment.items()}
            kept = {**watching.secret(name, self._stack), "stringData": told}
            ports = [pulumi.Output.unsecret(url.apply(watching.port)) for url in told.values()]
            first = [
                self._make(f"{name}-skew-webhook", kept, opts),
                self._make(f"{name}-skew-policy", watching.edge(name, self._stack, ports[0]), opts),
            ]
        content = watching.monitor(name, "", service.monitoring, args)
        content["spec"] = pulumi.Output.from_input(service.model["path"]).apply(
            lambda model: watching.monitor(name, model, service.monitoring, args)["spec"]
        )
        options = self._options(opts, pulumi.ResourceOptions(depends_on=first))
        manifest.resource(f"{name}-skew", self._placed(content), options)

    def estimated_cost(self) -> Mapping[str, Any]:
        """The cluster is there already; what it costs is not known here."""
        return COST

    def _made_provider(self, name: str, upsert: bool) -> pulumi.ProviderResource:
        from pulumi_kubernetes import Provider

        return Provider(
            name, kubeconfig=self._args.kubeconfig, context=self._args.context, upsert_existing_objects=upsert
        )

    def _password(self, name: str, password: pulumi.Input[str], opts: pulumi.ResourceOptions) -> pulumi.Resource:
        content = {
            **database.secret(name, self._stack),
            "stringData": {database.PASSWORD: pulumi.Output.secret(password)},
        }
        return self._make(f"{name}-password", content, opts)

    def _keys(self, name: str, files: Sequence[str], first: list[pulumi.Resource], opts: pulumi.ResourceOptions) -> str:
        """The name of the Secret with keys of this machine, which joins what is to be there `first`; empty for none."""
        held = keys.secret(name, self._stack, self._files.folder, files)
        if held is None:
            return ""
        first.append(self._make(f"{name}-keys", held, opts))
        return held["metadata"]["name"]

    def _job_args(
        self, claim: str, problem: str = "", held: str = "", environment: Sequence[Mapping[str, Any]] = ()
    ) -> job_set.JobSetArgs:
        return job_set.JobSetArgs(
            stack=self._stack,
            images=self._images,
            claim=claim,
            machines=self._args.machines,
            data_claim=self._args.data_claim,
            problem=problem,
            keys=held,
            queue=self._args.queue,
            exclusive_topology=self._args.exclusive_topology,
            environment=environment,
        )

    def _make(self, name: str, content: dict[str, Any], opts: pulumi.ResourceOptions) -> Any:
        return manifest.resource(name, self._placed(content), self._options(opts))

    def _placed(self, content: dict[str, Any]) -> dict[str, Any]:
        return {**content, "metadata": {**content["metadata"], "namespace": self._namespace}}

    def _placed_later(self, content: dict[str, Any]) -> dict[str, Any]:
        return {**content, "metadata": {**content["metadata"], "namespace": self._args.namespace}}

    def _options(self, opts: pulumi.ResourceOptions, more: pulumi.ResourceOptions | None = None) -> Any:
        own = pulumi.ResourceOptions(provider=self._provider)
        return pulumi.ResourceOptions.merge(pulumi.ResourceOptions.merge(opts, own), more or pulumi.ResourceOptions())

    def _problem(self, name: str, job: platform.Job, opts: pulumi.ResourceOptions) -> pulumi.Input[str]:
        """The name of the ConfigMap with the problem's file; empty: it is none."""
        content = self._files.config_map(self._stack, name, job)
        return _metadata(self._make(f"{name}-problem", content, opts), "name") if content else ""


def _metadata(made: Any, field: str) -> pulumi.Output[str]:
    """A field of the metadata that the cluster gave an object."""
    metadata: pulumi.Output[dict[str, str]] = made.metadata
    # A preview need not know what the cluster itself gives it.
    return metadata.apply(lambda known: known.get(field, ""))
