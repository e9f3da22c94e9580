"""Jobs and services on an environment's cluster."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi

from penstock import platform
from penstock.gcp import accelerators
from penstock.gcp.budget_guard import BudgetGuard
from penstock.gcp.cluster import Cluster
from penstock.gcp.dataflow import of_run
from penstock.gcp.environment import BUCKETS, NAMESPACE, SERVER_MACHINE, Environment, refuse_strategy, server_nodes
from penstock.gcp.gke_endpoint import GkeEndpoint, GkeEndpointArgs
from penstock.gcp.network import Network
from penstock.gcp.pool import AcceleratorPool, MachinePool, PoolArgs
from penstock.gcp.study_database import StudyDatabase
from penstock.gcp.workspace import Workspace, allow_database, guarded, on_ladder, placed, with_bucket
from penstock.kubernetes import job_set, keys, manifest, preflight
from penstock.kubernetes.job_files import JobFiles
from penstock.kubernetes.job_result import JobResult
from penstock.kubernetes.pods import STORE, Machine

TRAINING, ACCELERATED, SERVING = "penstock-training", "penstock-accelerated", "penstock-serving"
"""Ladders of machines: Spot first where it is wanted, then ordinary ones."""
COMPUTING_ROLES = ("chief", "worker", "trial")
"""Roles that accelerators are for; a parameter server computes nothing."""
TIMEOUT_SECONDS = 7 * 24 * 3600
START_SECONDS = 1800
"""A pod may wait so long for a machine that is made for it."""
REACHABLE = (BUCKETS, f"{STORE}/")
ADVICE = "raw files go into a bucket and are named as gs://..."


def stage(job: platform.Job) -> pulumi.Input[str]:
    """What a job does: the first argument of its deciding role."""
    return job.roles[job.success_role].command[0]


class Gke:
    """The cluster with its pools and its namespace, and what runs there."""

    def __init__(
        self,
        name: str,
        environment: Environment,
        labels: Mapping[str, str],
        network: Network,
        emails: Mapping[str, pulumi.Output[str]],
        bucket: pulumi.Input[str],
        folder: Path,
        opts: pulumi.ResourceOptions,
    ) -> None:
        from pulumi_kubernetes import Provider

        env = environment
        self._name, self._environment, self._labels, self._network = name, env, labels, network
        self._files = JobFiles(folder, REACHABLE, ADVICE)
        self._studies: StudyDatabase | None = None
        location = env.region if env.protect else env.places[0]
        self._cluster = Cluster(
            name,
            {
                "project": env.project,
                "location": location,
                "zones": list(env.places),
                "network": network.network,
                "subnetwork": network.subnetwork,
                "node_service_account": emails["nodes"],
                "labels": labels,
                "encryption_key": env.encryption_key,
                "protect": env.protect,
                "approved": env.approve_replacement,
            },
            opts,
        )
        self._pool_args: PoolArgs = {
            "cluster": self._cluster.name,
            "location": location,
            "zones": list(env.places),
            "node_service_account": emails["nodes"],
            "labels": labels,
            "encryption_key": env.encryption_key,
            "protect": env.protect,
            "approved": env.approve_replacement,
        }
        ladders = self._ladders(opts)
        # A job that a killed run has made already is gone on with, and what was on a cluster that is gone is gone too.
        self._provider = Provider(
            f"{name}-kubernetes",
            kubeconfig=self._cluster.kubeconfig,
            upsert_existing_objects=True,
            delete_unreachable=True,
            opts=opts,
        )
        accounts = {platform.Program.TRAINER: emails.get("trainer"), platform.Program.SERVER: emails.get("server")}
        self._workspace = Workspace(
            name,
            self._provider,
            bucket,
            {program: email for program, email in accounts.items() if email is not None},
            ladders,
            opts,
        )

    @property
    def endpoint(self) -> pulumi.Output[str]:
        """The control plane's DNS name."""
        return self._cluster.endpoint

    def permit(self, guard: BudgetGuard, opts: pulumi.ResourceOptions) -> None:
        """Lets the budget's guard suspend jobs and scale servers in the namespace, and nothing else."""
        after = self._in_workspace(opts)
        for part, content in guarded(guard.service_account_email, guard.service_account_id).items():
            manifest.resource(f"{self._name}-guard-{part}", placed(content), after)

    def job(self, name: str, job: platform.Job, opts: pulumi.ResourceOptions) -> platform.Artifact:
        """A JobSet that is found again under the same name, and what it left."""
        if stage(job) == "train":
            command = list(job.roles[job.success_role].command)
            refuse_strategy(self._environment.accelerator, str(command[command.index("--strategy") + 1]))
        job = self._studied(job)
        problem = self._problem(name, job, opts)
        parts = job_set.beside(name, job, self._args("", job))
        held = keys.secret(name, self._name, self._files.folder, job.keys)
        if held is not None:
            parts["keys"] = held
        after = self._in_workspace(opts)
        before: list[pulumi.Resource] = [*self._workspace.ready]
        before += [manifest.resource(f"{name}-{part}", placed(content), after) for part, content in parts.items()]
        commands, claim = self._files.commands(job), self._workspace.claim
        known = pulumi.Output.all(commands=commands, digests=dict(job.digests), claim=claim, problem=problem)
        own = held["metadata"]["name"] if held else ""
        made = known.apply(
            lambda at: self._job_set(name, job, at["commands"], at["digests"], at["claim"], at["problem"], own)
        )
        first = pulumi.ResourceOptions(depends_on=before)
        resource = manifest.later(name, *preflight.JOB_SET, made, self._within(opts, first))
        metadata: pulumi.Output[dict[str, str]] = resource.metadata
        result = JobResult(
            f"{name}-result",
            {
                "kubeconfig": self._cluster.kubeconfig,
                "context": "",
                "namespace": NAMESPACE,
                "job_set": metadata.apply(lambda found: found["name"]),
                "uid": metadata.apply(lambda found: found.get("uid", "")),
                "manifest": made,
                "success_role": job.success_role,
                "timeout_seconds": TIMEOUT_SECONDS,
                "start_seconds": START_SECONDS,
            },
            opts,
        )
        return platform.Artifact(result.path, result.digest, result.counts, result.metrics)

    def service(self, name: str, service: platform.Service, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """A Deployment that mounts the bucket, behind an internal load balancer that the network reaches."""
        env = self._environment
        args: GkeEndpointArgs = {
            "region": env.region,
            "subnetwork": self._network.subnetwork,
            "image": env.server_image,
            "command": service.command,
            "service": self._name,
            "kubeconfig": self._cluster.kubeconfig,
            "node_selector": on_ladder(SERVING),
            "min_replicas": env.min_replicas,
            "max_replicas": env.max_replicas,
            "port": service.port,
            "probe": service.probe,
            "idle_seconds": service.idle_seconds,
            "verify_key": service.verify_key and str(self._files.folder / service.verify_key),
            "host": env.endpoint_host,
            "certificate": env.endpoint_certificate,
            "labels": self._labels,
            "protect": env.protect,
            "approved": env.approve_replacement,
        }
        return GkeEndpoint(name, args, self._in_workspace(opts)).url

    def reach_database(self, studies: StudyDatabase, opts: pulumi.ResourceOptions) -> None:
        """From now on tuning jobs share the database, by the trainer's own identity: no password is anywhere."""
        self._studies = studies
        policy = placed(allow_database(pulumi.Output.concat(studies.address, "/32")))
        manifest.resource(f"{self._name}-database", policy, self._in_workspace(opts))

    def _studied(self, job: platform.Job) -> platform.Job:
        if self._studies is None or stage(job) != "tune" or any("--storage" in r.command for r in job.roles.values()):
            return job
        url = self._studies.url
        roles = {
            role: replace(
                details,
                command=[*details.command, "--storage", url],
                environment={**details.environment, "PENSTOCK_DATABASE_SIGN_IN": "google"},
            )
            for role, details in job.roles.items()
        }
        return replace(job, roles=roles)

    def _ladders(self, opts: pulumi.ResourceOptions) -> dict[str, list[pulumi.Input[str]]]:
        env = self._environment
        rungs: dict[str, list[pulumi.Input[str]]] = {}
        if env.endpoint == "gke":
            args: PoolArgs = {**self._pool_args, "compute_class": SERVING}
            nodes = server_nodes(env.max_replicas)
            rungs[SERVING] = [MachinePool("serving", args, SERVER_MACHINE, nodes, spot=False, opts=opts).name]
        if not env.trains:
            return rungs
        args = {**self._pool_args, "compute_class": TRAINING}
        for rung in env.rungs:
            spot = rung == "spot"
            pool = MachinePool(
                "training-spot" if spot else "training", args, env.machine_type, env.max_nodes, spot, opts
            )
            rungs.setdefault(TRAINING, []).append(pool.name)
        if env.accelerator is not None:
            args = {**self._pool_args, "compute_class": ACCELERATED}
            for kind in env.accelerator.rungs:
                accelerator = env.accelerator.model_copy(update={"provisioning": kind})
                pool = AcceleratorPool(f"accelerated-{kind}", args, accelerator, opts)
                rungs.setdefault(ACCELERATED, []).append(pool.name)
        return rungs

    def _problem(self, name: str, job: platform.Job, opts: pulumi.ResourceOptions) -> pulumi.Input[str]:
        """The name of the ConfigMap with the problem's file; empty: it is none."""
        content = self._files.config_map(self._name, name, job)
        if content is None:
            return ""
        made = manifest.resource(f"{name}-problem", placed(content), self._in_workspace(opts))
        metadata: pulumi.Output[dict[str, str]] = made.metadata
        return metadata.apply(lambda found: found["name"])

    def _job_set(
        self,
        name: str,
        job: platform.Job,
        commands: Mapping[str, Any],
        digests: Mapping[str, str],
        claim: str,
        problem: str,
        held: str,
    ) -> dict[str, Any]:
        content = json.dumps([name, dict(commands), dict(digests), problem + held], sort_keys=True)
        run = hashlib.sha256(content.encode()).hexdigest()[:12]
        own = {key: value for key, value in self._labels.items() if key != "run"}
        args = self._args(claim, job, problem, held)
        # The run is the digest of the commands as they were: what it is written into cannot be part of it.
        marked = {role: of_run(command, run) for role, command in commands.items()}
        return with_bucket(job_set.job_set(name, job, marked, digests, args), run, own)

    def _args(self, claim: str, job: platform.Job, problem: str = "", held: str = "") -> job_set.JobSetArgs:
        env = self._environment
        images = {platform.Program.TRAINER: env.trainer_image, platform.Program.SERVER: env.server_image}
        machines = self._machines(job)
        return job_set.JobSetArgs(
            stack=self._name, images=images, claim=claim, machines=machines, problem=problem, keys=held
        )

    def _machines(self, job: platform.Job) -> dict[str, Machine]:
        machines = {role: Machine(node_selector=on_ladder(TRAINING)) for role in job.roles}
        accelerator = self._environment.accelerator
        tpu = accelerator is not None and accelerator.type in accelerators.TPUS
        # A trial is a process without a strategy, which a TPU is nothing to.
        if accelerator is None or stage(job) not in (("train",) if tpu else ("train", "tune")):
            return machines
        shape = accelerator.shape
        selector = {**on_ladder(ACCELERATED), **accelerators.selectors(accelerator.type, accelerator.topology)}
        device = "google.com/tpu" if tpu else "nvidia.com/gpu"
        fast = Machine(accelerator=device, accelerators=shape.chips_per_node, node_selector=selector)
        return {role: fast if role in COMPUTING_ROLES else machine for role, machine in machines.items()}

    def _in_workspace(self, opts: pulumi.ResourceOptions) -> Any:
        return self._within(opts, pulumi.ResourceOptions(depends_on=self._workspace.ready))

    def _within(self, opts: pulumi.ResourceOptions, more: pulumi.ResourceOptions | None = None) -> Any:
        own = pulumi.ResourceOptions(provider=self._provider)
        return pulumi.ResourceOptions.merge(pulumi.ResourceOptions.merge(opts, own), more or pulumi.ResourceOptions())
