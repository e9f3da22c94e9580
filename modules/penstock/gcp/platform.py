"""The Google Cloud target: jobs on GKE, Beam on Dataflow where asked, the endpoint on Cloud Run or GKE."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pulumi
import pulumi_gcp as gcp

from penstock import platform
from penstock.errors import PenstockError
from penstock.gcp import gateway, prices
from penstock.gcp.artifact_store import ArtifactStore, grant
from penstock.gcp.budget_guard import BudgetGuard, BudgetGuardArgs
from penstock.gcp.cloud_run_endpoint import CloudRunEndpoint
from penstock.gcp.dashboard import Dashboard
from penstock.gcp.dataflow import DataflowPreprocessing, DataflowPreprocessingArgs
from penstock.gcp.environment import BUCKETS, NAMESPACE, Budget, Environment, refuse_for_dataflow, refuse_idle
from penstock.gcp.gke import Gke, stage
from penstock.gcp.identities import Identities
from penstock.gcp.image_registry import ImageRegistry, let_read, repositories
from penstock.gcp.key_access import KeyAccess
from penstock.gcp.network import Network, NetworkArgs
from penstock.gcp.notebook import Notebook, NotebookArgs
from penstock.gcp.promotion import PromotedModel
from penstock.gcp.storage_api import BROWSED
from penstock.gcp.study_database import StudyDatabase, StudyDatabaseArgs
from penstock.kubernetes.pods import STORE
from penstock.local import engine
from penstock.naming import is_file

SHARED = "shared"
"""The run that whatever outlives a run is labelled with."""
ACCOUNTS = {platform.Program.TRAINER: "trainer", platform.Program.SERVER: "server"}


@dataclass(frozen=True)
class _Foundation:
    """What everything else stands on."""

    network: Network
    identities: Identities
    store: ArtifactStore


class GcpPlatform:
    """One environment of a project; `model` names what is served, for the labels that bills are split by.

    `problem_folder`: where relative files start. Default: the Pulumi project's folder.
    """

    def __init__(self, stack: str, environment: Environment, model: str, problem_folder: Path | None = None) -> None:
        engine.end_with_engine()
        self._name, self._environment = f"penstock-{stack}", environment
        self._labels = {
            "environment": stack,
            "owner": environment.owner,
            "model": model.lower(),
            "run": SHARED,
        }
        self._folder = problem_folder or Path(pulumi.get_root_directory() or ".")
        self._bucket = f"{environment.project}-{self._name}"
        self._foundation: _Foundation | None = None
        self._pulls: list[pulumi.Resource] = []
        self._gke: Gke | None = None
        self._beam: DataflowPreprocessing | None = None

    def storage(self, name: str, keep: Sequence[str], opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """Network, identities and bucket, and whatever else the environment has; pods and servers mount the bucket."""
        self._refuse_elsewhere(opts)
        env, own = self._environment, self._name
        place: NetworkArgs = {"region": env.region}
        if env.endpoint == "gke":
            place["proxies_cidr"] = gateway.PROXIES
        opts = self._encrypting(opts)
        network = Network(own, place, opts)
        identities = Identities(
            own,
            {
                "project": env.project,
                "roles": self._roles(),
                "workloads": self._workloads(),
                "database_users": ("trainer",) if env.study_database else (),
            },
            opts,
        )
        emails = identities.emails
        store = ArtifactStore(
            name,
            {
                "bucket": self._bucket,
                "location": env.region,
                "writers": {role: emails[role] for role in ("trainer", "beam", "notebook") if role in emails},
                "readers": {"server": emails["server"]},
                "keep": keep,
                "encryption_key": env.encryption_key,
                "labels": self._labels,
                "protect": env.protect,
                "approved": env.approve_replacement,
            },
            opts,
        )
        self._foundation = _Foundation(network, identities, store)
        ImageRegistry(
            own,
            {
                "location": env.region,
                "repository": own,
                "readers": {role: emails[role] for role in ("nodes", "server", "beam") if role in emails},
                "encryption_key": env.encryption_key,
                "labels": self._labels,
            },
            opts,
        )
        self._may_pull(emails, opts)
        if env.clustered:
            self._gke = Gke(own, env, self._labels, network, emails, store.name, self._folder, opts)
        self._further(opts)
        return store.name.apply(lambda _: STORE)

    def job(self, name: str, job: platform.Job, opts: pulumi.ResourceOptions) -> platform.Artifact:
        """A JobSet on the cluster, named by what goes into it."""
        if self._gke is None:
            raise RuntimeError("an environment that serves a model from elsewhere runs no jobs")
        raw = [file for file in job.files if not is_file(file)]
        if self._beam is not None and stage(job) == "preprocess":
            refuse_for_dataflow(raw, next((file for file in job.files if is_file(file)), ""))
            launcher = job.roles[job.success_role]
            command = [*launcher.command, "--runner", "dataflow", "--", *self._beam.options]
            job = replace(job, roles={**job.roles, job.success_role: replace(launcher, command=command)})
        granted = self._may_read(name, raw, opts)
        return self._gke.job(name, job, pulumi.ResourceOptions.merge(opts, granted))

    def service(self, name: str, service: platform.Service, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """The server, on Cloud Run or on the cluster, within the environment's range of replicas."""
        service.refuse_local("verify_key")
        env, foundation = self._environment, self._standing()
        if self._gke is not None and env.endpoint == "gke":
            return self._gke.service(name, service, opts)
        refuse_idle(env.endpoint, service.idle_seconds)
        # Cloud Run looks at the image when the service is made.
        first = list(self._pulls)
        if service.verify_key and env.encryption_key:
            leave = KeyAccess(name, {"project": env.project, "key": env.encryption_key, "uses": ["secrets"]}, opts)
            first += leave.grants
        opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=first))
        return CloudRunEndpoint(
            name,
            {
                "service": self._name,
                "location": env.region,
                "image": env.server_image,
                "command": service.command,
                "bucket": foundation.store.name,
                "mount": STORE,
                "service_account_email": foundation.identities.emails["server"],
                "callers": env.callers,
                "min_replicas": env.min_replicas,
                "max_replicas": env.max_replicas,
                "probe": service.probe,
                "verify_key": service.verify_key and str(self._folder / service.verify_key),
                "encryption_key": env.encryption_key,
                "labels": self._labels,
                "protect": env.protect,
                "approved": env.approve_replacement,
                "internet": env.internet,
            },
            opts,
        ).url

    def promoted(self, name: str, opts: pulumi.ResourceOptions) -> platform.ArtifactArgs:
        """The model that another environment has made, in this one's bucket."""
        env, foundation = self._environment, self._standing()
        if env.model is None or env.model_store is None:
            raise RuntimeError("this environment makes its models itself")
        model = PromotedModel(name, env.model, env.model_store, foundation.store.name, opts)
        return {"path": pulumi.Output.concat(STORE, "/", model.folder), "digest": env.model}

    def page(self, path: pulumi.Output[str]) -> pulumi.Output[str]:
        """The object, for who is signed in and may read the bucket."""
        return pulumi.Output.all(bucket=self._standing().store.name, path=path).apply(
            lambda at: f"{BROWSED}{at['bucket']}{at['path'].removeprefix(STORE)}"
        )

    def estimated_cost(self) -> Mapping[str, Any]:
        """US dollars an hour idle and at the peak, and for one run, as ranges, with the rows behind them."""
        env = self._environment
        return prices.cost(env, env.run_hours, env.prices)

    @property
    def beam_options(self) -> list[pulumi.Input[str]]:
        """Beam's options for a job on Dataflow as the stack starts it; none where Beam computes in a pod."""
        return self._beam.options if self._beam is not None else []

    def _refuse_elsewhere(self, opts: pulumi.ResourceOptions) -> None:
        """Raises PenstockError where the plugin would deploy to another project, such as the one `gcloud` is set to.

        A program that has a provider of its own says by it where to.
        """
        if opts.parent is not None and opts.parent.get_provider("gcp:storage/bucket:Bucket") is not None:
            return
        wanted, used = self._environment.project, gcp.config.project
        if used != wanted:
            found = f"would deploy to {used!r}" if used else "has not been told a project and would take any it finds"
            raise PenstockError(
                f"setting 'gcp.project' is {wanted!r}, and the plugin of Google Cloud {found}: `make` tells it; for "
                f"`pulumi` by hand `pulumi config set gcp:project {wanted}`, or GOOGLE_PROJECT={wanted}"
            )

    def _encrypting(self, opts: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
        """Options by which what is encrypted by one's own key waits for the leave to use it."""
        env = self._environment
        if env.encryption_key is None:
            return opts
        uses = {
            "buckets": True,
            "images": True,
            "cluster": env.clustered,
            "disks": env.clustered or env.notebook,
            "database": env.study_database,
            "dataflow": env.trains and env.beam == "dataflow",
        }
        wanted = [use for use, needed in uses.items() if needed]
        access = KeyAccess(self._name, {"project": env.project, "key": env.encryption_key, "uses": wanted}, opts)
        return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=access.grants))

    def _may_pull(self, emails: Mapping[str, pulumi.Output[str]], opts: pulumi.ResourceOptions) -> None:
        """Images are promoted by their digest: they stay in the repository that they were pushed to, in its project."""
        env, own = self._environment, self._name
        images = {env.server_image, *([env.trainer_image] if env.trains else [])}
        elsewhere = repositories(images) - {(env.region, env.project, own)}
        if not elsewhere:
            return
        members: dict[str, pulumi.Input[str]] = {
            role: pulumi.Output.concat("serviceAccount:", emails[role]) for role in ("nodes", "beam") if role in emails
        }
        if env.endpoint == "cloud-run":
            service = "run.googleapis.com"
            agent = gcp.projects.ServiceIdentity(f"{own}-run", project=env.project, service=service, opts=opts)
            members["run"] = agent.member
        self._pulls = let_read(own, elsewhere, members, opts)

    def _may_read(self, name: str, raw: Sequence[str], opts: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
        """Lets those who run a job read the buckets that its raw files are in; the store's own they may read anyway."""
        emails = self._standing().identities.emails
        buckets = sorted({file.split("/")[2] for file in raw if file.startswith(BUCKETS)} - {self._bucket})
        return pulumi.ResourceOptions(
            depends_on=[
                grant(f"{name}-{bucket}-{role}", bucket, "roles/storage.objectViewer", emails[role], opts)
                for bucket in buckets
                for role in ("trainer", "beam")
                if role in emails
            ]
        )

    def _further(self, opts: pulumi.ResourceOptions) -> None:
        env, foundation, own = self._environment, self._standing(), self._name
        emails, network = foundation.identities.emails, foundation.network
        place: Any = {"network": network.network, "subnetwork": network.subnetwork, "labels": self._labels}
        if env.trains and env.beam == "dataflow":
            self._beam = DataflowPreprocessing(
                own,
                DataflowPreprocessingArgs(
                    **place,
                    project=env.project,
                    region=env.region,
                    bucket=foundation.store.name,
                    worker_service_account=emails["beam"],
                    image=env.trainer_image,
                    max_workers=env.max_beam_workers,
                    encryption_key=env.encryption_key,
                ),
                opts,
            )
        if env.study_database:
            database: Any = {"region": env.region, "network": network.network, "user": emails["trainer"]}
            guard: Any = {"protect": env.protect, "approved": env.approve_replacement}
            guard["encryption_key"] = env.encryption_key
            studies = StudyDatabase(own, StudyDatabaseArgs(**database, labels=self._labels, **guard), opts)
            if self._gke is not None:
                self._gke.reach_database(studies, opts)
        if env.notebook:
            account = emails["notebook"]
            own_key: Any = {"encryption_key": env.encryption_key}
            Notebook(own, NotebookArgs(**place, **own_key, zone=env.places[0], service_account_email=account), opts)
        page = Dashboard(
            own,
            {
                "service": own,
                "endpoint": env.endpoint,
                "notify": env.budget.notify if env.budget else (),
                "labels": self._labels,
            },
            opts,
        )
        if env.budget is not None:
            self._guard(env.budget, page, opts)

    def _guard(self, budget: Budget, page: Dashboard, opts: pulumi.ResourceOptions) -> None:
        """What acts on the budget, allowed to act on what there is."""
        env, foundation = self._environment, self._standing()
        args: BudgetGuardArgs = {
            "project": env.project,
            "billing_account": budget.billing_account,
            "usd_per_month": budget.usd_per_month,
            "location": env.region,
            "stages": budget.stages.shares,
            "channels": page.channels,
            "store": foundation.store.name,
            "floor": budget.endpoint_floor,
            "dataflow": self._beam is not None,
            "encryption_key": env.encryption_key,
            "labels": self._labels,
            "protect": env.protect,
            "approved": env.approve_replacement,
        }
        if env.endpoint == "cloud-run":
            args["service"] = self._name
            args["service_account_email"] = foundation.identities.emails["server"]
        if self._gke is not None:
            args["cluster"], args["namespace"] = self._gke.endpoint, NAMESPACE
        guard = BudgetGuard(self._name, args, opts)
        if self._gke is not None:
            self._gke.permit(guard, opts)

    def _standing(self) -> _Foundation:
        if self._foundation is None:
            raise RuntimeError("`storage` comes first: everything else stands on what it makes")
        return self._foundation

    def _roles(self) -> tuple[str, ...]:
        env = self._environment
        wanted = {
            "nodes": env.clustered,
            "trainer": env.trains,
            "server": True,
            "beam": env.trains and env.beam == "dataflow",
            "notebook": env.notebook,
        }
        return tuple(role for role, needed in wanted.items() if needed)

    def _workloads(self) -> dict[str, tuple[str, str]]:
        if not self._environment.clustered:
            return {}
        roles = self._roles()
        return {role: (NAMESPACE, program.value) for program, role in ACCOUNTS.items() if role in roles}
