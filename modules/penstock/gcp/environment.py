"""What may be chosen of a Google Cloud environment, checked before anything is asked of Google. Pure."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from penstock.errors import PenstockError
from penstock.gcp import accelerators
from penstock.platform import Service

Label = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9_-]{0,61}[a-z0-9])?$")]
Image = Annotated[str, Field(pattern=r"^[a-z0-9.-]+(/[A-Za-z0-9._-]+)+@sha256:[0-9a-f]{64}$")]
"""A container image pinned by its digest: a tag may change under a running service."""
Principal = Annotated[str, Field(pattern=r"^(user|group|serviceAccount|domain):[^\s*]+$")]
"""Who may call; `allUsers` is not a principal."""
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


NAMESPACE = "penstock"
"""Of a cluster: where jobs and servers run."""
BUCKETS = "gs://"
"""How a name of files in a bucket begins."""
SERVER_MACHINE = "e2-standard-4"
"""Of the nodes that an endpoint on GKE runs on."""
NOTEBOOK_MACHINE = "e2-standard-4"
SYSTEM_MACHINE, SYSTEM_NODES = "e2-standard-2", 3
"""Of the nodes that the cluster's own pods run on, from one to so many."""
NODE_DISK_GIB = 100
FIRST_ZONES = {"europe-west1": "b", "us-east1": "b"}
"""Regions whose first zone is not `a`."""


def server_nodes(replicas: int) -> int:
    """Nodes for so many replicas, each of which asks for one processor: three fit beside what the node itself takes."""
    return -(-replicas // 3)


def refuse_for_dataflow(raw: Sequence[str], problem: str) -> None:
    """For an environment with `beam: dataflow`: PenstockError for what its workers would not reach."""
    here = [pattern for pattern in raw if not pattern.startswith(BUCKETS)]
    if here or not raw:
        said = repr(here[0]) if here else "not set"
        raise PenstockError(
            f"setting 'gcp.beam' is 'dataflow', whose workers read raw files from buckets, and raw is {said}; expected "
            "gs://BUCKET/PATTERN, or beam 'in-process'"
        )
    if problem.endswith(".py"):
        raise PenstockError(
            "setting 'gcp.beam' is 'dataflow', whose workers have what is in the trainer's image, and the problem is "
            f"the file {problem}; make it a module of a package that the image holds, or beam 'in-process'"
        )


def refuse_idle(endpoint: str, idle_seconds: float) -> None:
    """PenstockError for a pause after which Cloud Run is to let replicas go: it decides that by itself."""
    if endpoint == "cloud-run" and idle_seconds != Service.idle_seconds:
        raise PenstockError(
            f"setting 'idle_seconds' is {idle_seconds:g}, and Cloud Run decides by itself when a replica goes; "
            f"expected {Service.idle_seconds:g}, the default, or 'gcp.endpoint' 'gke'"
        )


def refuse_strategy(accelerator: "Accelerator | None", strategy: str) -> None:
    """PenstockError for a strategy that would not use the accelerator, or that needs another one."""
    tpu = accelerator is not None and accelerator.type in accelerators.TPUS
    if accelerator is None or tpu != (strategy == "tpu"):
        if strategy != "tpu" and not tpu:
            return
        has = f"'{accelerator.type}'" if accelerator else "not set"
        raise PenstockError(
            f"setting 'gcp.accelerator' is {has}, and strategy is {strategy!r}; a TPU takes the strategy 'tpu', and "
            "that a TPU"
        )
    if tpu and accelerator.type not in accelerators.TRAINABLE:
        usable = ", ".join(kind for kind in accelerators.TPUS if kind in accelerators.TRAINABLE)
        raise PenstockError(
            f"setting 'gcp.accelerator' is {accelerator.type!r}, on which TensorFlow does not run; expected {usable}"
        )
    if tpu and accelerator.shape.nodes_per_slice > 1:
        kind = accelerator.type
        single = [t for t in accelerators.TPUS[kind].topologies if accelerators.shape(kind, 1, t).nodes_per_slice == 1]
        raise PenstockError(
            f"setting 'gcp.accelerator.topology' is {accelerator.topology!r}, a slice of several machines, and the "
            f"strategy 'tpu' is one process on one machine; expected {' or '.join(single)}"
        )


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Accelerator(_Strict):
    """A pool of accelerator machines."""

    type: str
    """Such as `nvidia-l4` or `tpu-v6e`; `accelerators.py` lists them."""
    count: Annotated[int, Field(ge=1, le=16)] = 1
    """GPUs a machine."""
    topology: str | None = None
    """The slice of a TPU, such as `2x4`."""
    max_nodes: Annotated[int, Field(ge=1, le=1024)] = 4
    """Machines of the pool at most; those of one slice come and go as a whole."""
    provisioning: Literal["spot", "on-demand", "flex-start", "queued", "reservation"] = "spot"
    """`queued` is for a pool by itself, whose machines a queue of one's own asks for."""
    reservation: str | None = None
    """Name of the reservation, for `provisioning: reservation`."""
    sharing: Annotated[int, Field(ge=1, le=48)] = 1
    """Pods that share one GPU by turns."""
    mig: str | None = None
    """Size of the partitions that each GPU is cut into."""

    @property
    def shape(self) -> accelerators.Shape:
        """The machines that it stands on."""
        return accelerators.shape(self.type, self.count, self.topology)

    @property
    def nodes(self) -> int:
        """Machines at most: a slice over several of them comes and goes as a whole."""
        each = self.shape.nodes_per_slice
        return -(-self.max_nodes // each) * each

    @property
    def rungs(self) -> tuple[str, ...]:
        """Ways to get machines, in the order in which they are tried."""
        return ("spot", "on-demand") if self.provisioning == "spot" else (self.provisioning,)

    @model_validator(mode="after")
    def _possible(self) -> "Accelerator":
        try:
            _ = self.shape
            if self.mig is not None:
                accelerators.partition(self.type, self.mig)
        except PenstockError as exc:
            raise ValueError(str(exc)) from exc
        if (self.provisioning == "reservation") != (self.reservation is not None):
            raise ValueError("reservation is named exactly where provisioning is 'reservation'")
        if self.type in accelerators.TPUS and self.sharing > 1:
            raise ValueError(f"{self.type} cannot be shared by turns; sharing is for GPUs")
        return self


class Stages(_Strict):
    """At which share of the budget something is done, 1 being all of it; null: never."""

    warn: Annotated[float, Field(gt=0, le=10)] = 0.5
    """People are told."""
    stop_trials: Annotated[float, Field(gt=0, le=10)] | None = 0.8
    """Tuning begins no trial any more; those that run end."""
    scale_to_zero: Annotated[float, Field(gt=0, le=10)] | None = 1.0
    """Training makes its checkpoint and lets go of its machines; the endpoint keeps `endpoint_floor`."""

    @model_validator(mode="after")
    def _ascend(self) -> "Stages":
        shares = list(self.shares.values())
        if shares != sorted(shares):
            raise ValueError(f"stages come one after the other: warn, stop_trials, scale_to_zero; these are {shares}")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """Those that there are."""
        found = {"warn": self.warn, "stop_trials": self.stop_trials, "scale_to_zero": self.scale_to_zero}
        return {stage: share for stage, share in found.items() if share is not None}


class Budget(_Strict):
    """Money, who is told, and what is done when it runs out."""

    usd_per_month: Annotated[float, Field(gt=0, le=10_000_000)]
    """US dollars that the environment may cost a month."""
    billing_account: Annotated[str, Field(pattern=r"^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$")]
    """ID of the billing account that pays for the project."""
    notify: tuple[Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")], ...] = ()
    """Addresses that get the warnings."""
    stages: Stages = Stages()
    """At which shares of it something is done."""
    endpoint_floor: Annotated[int, Field(ge=0, le=1000)] = 1
    """Replicas that the endpoint keeps when the budget is spent; with 0 it answers nobody then."""


class Environment(_Strict):
    """One Google Cloud environment: a project, its machines, its limits."""

    project: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")]
    """ID of the project, which is there already."""
    region: Annotated[str, Field(pattern=r"^[a-z]+-[a-z]+\d+$")] = "us-central1"
    """Where all of it is."""
    zones: tuple[Annotated[str, Field(pattern=r"^[a-z]+-[a-z]+\d+-[a-z]$")], ...] = ()
    """Zones of the machines. Default: the region's first, `<region>-a` in most."""
    owner: Label
    """Who pays: a label on everything."""
    trainer_image: Image
    """Image with `python -m penstock_trainer`, by digest."""
    server_image: Image
    """Image with `python -m penstock_serving`, by digest."""
    machine_type: Annotated[str, Field(pattern=r"^[a-z0-9]+-[a-z]+-\d+$")] = "e2-standard-4"
    """Of the nodes that parameter servers and workers run on."""
    max_nodes: Annotated[int, Field(ge=1, le=1000)] = 8
    """Of those nodes at most."""
    spot: bool = True
    """Whether training runs on Spot machines, with ordinary ones as a fallback."""
    accelerator: Accelerator | None = None
    """What else training runs on; None: no accelerators."""
    beam: Literal["in-process", "dataflow"] = "in-process"
    """Where preprocessing computes: in one pod of the cluster, or on Dataflow's workers."""
    max_beam_workers: Annotated[int, Field(ge=1, le=1000)] = 8
    """Dataflow's workers at most."""
    endpoint: Literal["cloud-run", "gke"] = "cloud-run"
    """What runs the servers: Cloud Run, or the cluster."""
    min_replicas: Annotated[int, Field(ge=0, le=1000)] = 0
    """Servers at least; 0 is for Cloud Run."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)] = 4
    """Servers at most."""
    callers: tuple[Principal, ...] = ()
    """Who may call the endpoint; it is never open to everybody."""
    endpoint_host: Annotated[str, Field(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$")] | None = None
    """Name of an endpoint on GKE, in one's own zone; None: it is known by its address."""
    endpoint_certificate: Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")] | None = None
    """Name of the regional certificate for that host (Compute Engine's); None: plain HTTP, within the network."""
    internet: bool = False
    """Whether callers may be outside the project's networks; they are asked who they are all the same."""
    budget: Budget | None = None
    """What it may cost a month, and what is done as that runs out; None: no limit, and nobody is told."""
    study_database: bool = False
    """A PostgreSQL for studies with many trial processes."""
    notebook: bool = False
    """A machine with a notebook server, which sleeps by itself."""
    encryption_key: (
        Annotated[str, Field(pattern=r"^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$")] | None
    ) = None
    """One's own key, in the region, for buckets, disks, images, secrets and the study database."""
    protect: bool = False
    """Whether what holds data or serves survives `pulumi destroy`, and is replaced with a named approval only."""
    approve_replacement: tuple[str, ...] = ()
    """Names of resources that a deployment may replace although they hold data or serve."""
    model: Digest | None = None
    """Digest of a model that another environment has made: it is served, and nothing is trained here."""
    model_store: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$")] | None = None
    """The bucket that such a model comes from."""

    run_hours: Annotated[float, Field(gt=0, le=10_000)] = 1.0
    """How long a run is expected to take with all its machines: what `usd_per_run` is counted with."""
    run_gib: Annotated[float, Field(ge=0, le=1_000_000)] = 10.0
    """GiB that a run is expected to shuffle and to leave in the bucket: what storage and shuffle are counted with."""
    usd_per_hour_at_most: Annotated[float, Field(gt=0)] | None = None
    """What the environment may cost an hour at its peak: the policy pack refuses more."""
    prices: dict[str, Annotated[float, Field(ge=0)]] = {}
    """One's own prices in US dollars, by the names in `prices.csv`."""

    @property
    def rungs(self) -> tuple[str, ...]:
        """Ways to get ordinary machines for training, in the order in which they are tried."""
        return ("spot", "on-demand") if self.spot else ("on-demand",)

    @property
    def clustered(self) -> bool:
        """Whether there is a cluster."""
        return self.trains or self.endpoint == "gke"

    @property
    def nodes(self) -> dict[str, int]:
        """Machines of the cluster at most, by what they are for; one rung of a ladder counts, not both."""
        trained = self.trains
        found = {
            "system": SYSTEM_NODES if self.clustered else 0,
            "training": self.max_nodes if trained else 0,
            "accelerated": self.accelerator.nodes if trained and self.accelerator else 0,
            "serving": server_nodes(self.max_replicas) if self.endpoint == "gke" else 0,
        }
        return {what: count for what, count in found.items() if count}

    @property
    def trains(self) -> bool:
        """Whether models are made here."""
        return self.model is None

    @property
    def places(self) -> tuple[str, ...]:
        """Zones of the machines."""
        return self.zones or (f"{self.region}-{FIRST_ZONES.get(self.region, 'a')}",)

    def _offered(self, kind: str) -> None:
        """ValueError for a place that is not known to offer an accelerator: GKE wants it in all zones of a pool."""
        if self.region not in accelerators.ZONES[kind]:
            regions = ", ".join(accelerators.ZONES[kind])
            raise ValueError(f"{self.region} is not known to offer {kind}; {regions} are")
        known = accelerators.offering(kind, self.region)
        for zone in self.places:
            if zone not in known:
                raise ValueError(f"zone {zone} is not known to offer {kind}; name in zones some of {', '.join(known)}")

    @field_validator("zones")
    @classmethod
    def _distinct(cls, zones: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(zones)) != len(zones):
            raise ValueError("a zone is named twice")
        return zones

    @model_validator(mode="after")
    def _consistent(self) -> "Environment":
        for zone in self.zones:
            if not re.fullmatch(rf"{self.region}-[a-z]", zone):
                raise ValueError(f"zone {zone} is not in region {self.region}")
        if self.accelerator:
            self._offered(self.accelerator.type)
        if self.encryption_key and self.encryption_key.split("/")[3] != self.region:
            raise ValueError(f"encryption_key is in {self.encryption_key.split('/')[3]}; expected one in {self.region}")
        if self.accelerator and self.accelerator.provisioning == "queued":
            raise ValueError(
                "provisioning 'queued' waits for a ProvisioningRequest, which nothing here makes, so jobs would wait "
                "for ever; expected spot, on-demand, flex-start or reservation"
            )
        if self.accelerator and min(self.accelerator.sharing, self.accelerator.count) > 1:
            sharing, count = self.accelerator.sharing, self.accelerator.count
            raise ValueError(
                f"accelerator.sharing is {sharing} and accelerator.count {count}: GKE gives a pod one shared GPU, and "
                "a job's pods ask for all of a machine's; expected one of them to be 1"
            )
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas ({self.min_replicas}) is more than max_replicas ({self.max_replicas})")
        if self.budget and self.budget.endpoint_floor > self.max_replicas:
            floor = self.budget.endpoint_floor
            raise ValueError(f"budget.endpoint_floor ({floor}) is more than max_replicas ({self.max_replicas})")
        if self.endpoint == "gke" and self.min_replicas == 0:
            raise ValueError("an endpoint on GKE keeps at least one replica: min_replicas 1, or endpoint cloud-run")
        if self.endpoint == "gke" and self.internet:
            raise ValueError("an endpoint on GKE is reached from within the network: internet is for cloud-run")
        if self.endpoint != "gke" and (self.endpoint_host or self.endpoint_certificate):
            raise ValueError("endpoint_host and endpoint_certificate are for endpoint 'gke'; Cloud Run has its own")
        if self.endpoint_certificate and not self.endpoint_host:
            raise ValueError("endpoint_certificate is for a name: endpoint_host says which")
        if (self.model is None) != (self.model_store is None):
            raise ValueError("model and model_store belong together: the digest, and the bucket it is found in")
        if self.model is not None and (self.accelerator or self.study_database):
            raise ValueError(
                "an environment that serves a model from elsewhere trains nothing: no accelerator, no study_database"
            )
        return self
