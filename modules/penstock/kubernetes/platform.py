"""The cluster target: jobs as JobSets, services as Deployments, in a namespace of the stack's own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi

from penstock import platform
from penstock.errors import PenstockError
from penstock.kubernetes import (
    database,
    endpoints,
    gateways,
    job_set,
    keys,
    knative,
    manifest,
    preflight,
    readiness,
    serving,
    study_database,
    watching,
    workspace,
)
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
        kinds += [preflight.ROUTE] if args.gateway else []
        kinds += [knative.SERVICE] if args.scale_on is serving.ScaleOn.KNATIVE else []
        needs = preflight.Needs(
            stack=stack,
            namespace=args.namespace,
            kinds=tuple(kinds),
            machines=args.machines,
            autoscaled=args.autoscaled,
            storage_class=args.storage_class,
            data_claim=args.data_claim,
            artifacts_claim=args.artifacts_claim,
            queue=args.queue,
            gateway=args.gateway,
            exclusive_topology=args.exclusive_topology,
            secrets=bool(args.database_password or args.database_image),
            watched=bool(args.skew_schedule),
            database=bool(args.database_image),
        )
        self._api = Api(args.kubeconfig, args.context)
        preflight.check(self._api, needs)
        self._provider = self._made_provider("cluster", upsert=False)
        # A run that was killed may have made the job already, and what was kept of an earlier stack is there: both are
        # gone on with.
        self._adopting = self._made_provider("cluster-adopting", upsert=True)
        self._claim = pulumi.Output.from_input(args.claim)
        self._place = manifest.Place(pulumi.Output.from_input(args.namespace), self._provider)

    def storage(self, name: str, keep: Sequence[str], opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """The namespace with what it has from the start, and the claim; something to keep keeps both of them whole, and
        somebody's own claim the namespace."""
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
        # A claim that somebody put there must not go with it.
        own = keep or self._args.data_claim or self._args.artifacts_claim
        lasting = pulumi.ResourceOptions(retain_on_delete=bool(own), provider=self._adopting)
        made = manifest.resource(f"{name}-namespace", workspace.namespace(args), self._place.options(opts, lasting))
        self._place = manifest.Place(manifest.metadata_of(made, "name"), self._provider)
        for part, content in workspace.objects(args).items():
            self._place.make(f"{name}-{part}", content, opts)
        if not self._args.artifacts_claim:
            claim = self._place.make(f"{name}-claim", workspace.claim(args), opts, kept)
            self._claim = manifest.metadata_of(claim, "name")
        return self._claim.apply(lambda _: STORE)

    def job(self, name: str, job: platform.Job, opts: pulumi.ResourceOptions) -> platform.Artifact:
        """A JobSet, run to its end."""
        problem = self._problem(name, job, opts)
        if self._args.exclusive_topology and not self._args.autoscaled:
            by_role = {role: details.replicas for role, details in job.roles.items()}
            preflight.check_topology(self._api, self._args.exclusive_topology, self._args.machines, by_role)
        parts = job_set.beside(name, job, self._job_args(""))
        first: list[pulumi.Resource] = [
            self._place.make(f"{name}-{part}", content, opts) for part, content in parts.items()
        ]
        job, told = self._at_database(name, job, first, opts)
        held = self._keys(name, job.keys, first, opts)
        commands = self._files.commands(job)
        known = pulumi.Output.all(commands=commands, digests=dict(job.digests), claim=self._claim, problem=problem)
        made = known.apply(
            lambda at: job_set.job_set(
                name, job, at["commands"], at["digests"], self._job_args(at["claim"], at["problem"], held, told)
            )
        ).apply(self._placed_later)
        # Its pods must not run before the policy that lets them reach each other.
        merged = self._place.options(opts, pulumi.ResourceOptions(depends_on=first, provider=self._adopting))
        resource = manifest.later(name, *preflight.JOB_SET, made, merged)
        result = JobResult(
            f"{name}-result",
            {
                "kubeconfig": self._args.kubeconfig,
                "context": self._args.context or "",
                "namespace": manifest.metadata_of(resource, "namespace"),
                "job_set": manifest.metadata_of(resource, "name"),
                "uid": manifest.metadata_of(resource, "uid"),
                "manifest": made,
                "success_role": job.success_role,
                "timeout_seconds": 60 * self._args.timeout_minutes,
                "start_seconds": 60 * self._args.start_minutes,
            },
            opts,
        )
        return platform.Artifact(result.path, result.digest, result.counts, result.metrics)

    def service(self, name: str, service: platform.Service, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """A Deployment behind a Service, and the URL of one of the cluster's own names; with a Gateway a Deployment for
        each version, and the Gateway's URL."""
        service.refuse_local("traffic", "verify_key")
        first: list[pulumi.Resource] = []
        servers = serving.ServingArgs(
            stack=self._stack,
            image=self._images[service.program],
            claim=self._args.claim,
            namespace=self._args.namespace,
            machine=self._args.machines.get("server", Machine()),
            keys=self._keys(name, [service.verify_key] if service.verify_key else [], first, opts),
            caller_namespaces=gateways.callers(self._args.gateway, self._args.caller_namespaces),
            scale_on=self._args.scale_on,
            requests_per_second=self._args.requests_per_second,
            requests_in_flight=self._args.requests_in_flight,
            prometheus=self._args.prometheus,
            wake_query=self._args.wake_query,
            observations=watching.folder(name) if self._args.skew_schedule else "",
            timeout_seconds=readiness.patience(self._args),
        )
        made = endpoints.Endpoints(self._args, servers, self._api, self._place, first)
        return made.endpoint(name, service, opts)

    def page(self, path: pulumi.Output[str]) -> pulumi.Output[str]:
        """Its path as pods see it: the claim has no address that a browser could open."""
        return path

    def estimated_cost(self) -> Mapping[str, Any]:
        """The cluster is there already; what it costs is not known here."""
        return COST

    def _made_provider(self, name: str, upsert: bool) -> pulumi.ProviderResource:
        from pulumi_kubernetes import Provider

        return Provider(
            name, kubeconfig=self._args.kubeconfig, context=self._args.context, upsert_existing_objects=upsert
        )

    def _at_database(
        self, name: str, job: platform.Job, first: list[pulumi.Resource], opts: pulumi.ResourceOptions
    ) -> tuple[platform.Job, Sequence[Mapping[str, Any]]]:
        """The job with the address of the database that its processes share, if there is one, and how they are told its
        password; what must be there before joins `first`."""
        address, password = database.url(job), self._args.database_password
        if not address:
            return job, ()
        if address == database.MADE:
            first += study_database.make(name, self._database_args(), self._args, self._place, opts)
            job = database.at(job, database.own_url(name))
        elif password is not None:
            first.append(study_database.password(name, self._stack, password, self._place, opts))
        way = database.edge(name, self._stack, database.url(job))
        first.append(self._place.make(f"{name}-database", way, opts))
        asked = address == database.MADE or password is not None
        return job, database.environment(f"{name}-database") if asked else ()

    def _database_args(self) -> database.DatabaseArgs:
        if not self._args.database_image:
            raise PenstockError(
                "storage 'postgresql' is a database that the stack makes: name its image by digest with the setting "
                "`database_image`"
            )
        return database.DatabaseArgs(
            stack=self._stack,
            image=self._args.database_image,
            storage_class=self._args.storage_class,
            machine=self._args.machines.get("database", Machine()),
        )

    def _keys(self, name: str, files: Sequence[str], first: list[pulumi.Resource], opts: pulumi.ResourceOptions) -> str:
        """The name of the Secret with keys of this machine, which joins what is to be there `first`; empty for none."""
        held = keys.secret(name, self._stack, self._files.folder, files)
        if held is None:
            return ""
        preflight.check_secrets(self._api, self._args.namespace)
        first.append(self._place.make(f"{name}-keys", held, opts))
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

    def _placed_later(self, content: dict[str, Any]) -> dict[str, Any]:
        return {**content, "metadata": {**content["metadata"], "namespace": self._args.namespace}}

    def _problem(self, name: str, job: platform.Job, opts: pulumi.ResourceOptions) -> pulumi.Input[str]:
        """The name of the ConfigMap with the problem's file; empty: it is none."""
        content = self._files.config_map(self._stack, name, job)
        return manifest.metadata_of(self._place.make(f"{name}-problem", content, opts), "name") if content else ""
