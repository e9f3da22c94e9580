"""Which cluster, and what of it a pipeline takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from penstock.kubernetes import workspace
from penstock.kubernetes.pods import Machine
from penstock.kubernetes.serving import ScaleOn


@dataclass(frozen=True)
class ClusterArgs:
    """Which cluster, and what of it the pipeline takes."""

    kubeconfig: str
    """Path of a kubeconfig."""
    trainer_image: str
    """Image with `python -m penstock_trainer`, by digest."""
    serving_image: str
    """Image with `python -m penstock_serving`, by digest."""
    namespace: str
    """Made, and deleted with the stack."""
    context: str | None = None
    """Context of the kubeconfig. Default: its current one."""
    storage_class: str = ""
    """Empty: the cluster's default. With more than one node it must take mounts from many."""
    storage_gib: int = 50
    """Size of the claim for artifacts, in GiB."""
    access_mode: str = "ReadWriteMany"
    """Of that claim; ReadWriteOnce is for a cluster of one node."""
    data_claim: str = ""
    """A claim with raw files, mounted read-only at `/data`."""
    artifacts_claim: str = ""
    """A claim for artifacts that is there already and stays, such as on a bucket. Empty: one is made."""
    machines: Mapping[str, Machine] = field(default_factory=dict[str, Machine])
    """What the pods of a role run on, by role: chief, ps, worker, evaluator, trial, server, database."""
    autoscaled: bool = False
    """Nodes are made on demand: an accelerator that no node has yet is no fault."""
    queue: str = ""
    """A Kueue ClusterQueue whose quota jobs wait for; the namespace gets a LocalQueue of that name."""
    exclusive_topology: str = ""
    """Node label of which each role takes one value for itself."""
    quota: Mapping[str, str] = field(default_factory=lambda: dict(workspace.QUOTA))
    """What the namespace may hold at most, by the names of a ResourceQuota."""
    database_password: pulumi.Input[str] | None = None
    """Of the PostgreSQL that tuning is given as its storage; kept in a Secret."""
    database_image: str | None = None
    """PostgreSQL's image, by digest, for tuning whose storage is `postgresql`: the stack makes the database."""
    caller_namespaces: Sequence[str] = ()
    """Namespaces whose pods may ask the endpoint: clients, the gateway, Prometheus. None: every one."""
    gateway: str = ""
    """A Gateway of the cluster, as `namespace/name`, that leads to the endpoint by an HTTPRoute with the weights of its
    versions; empty: the servers split the traffic themselves."""
    gateway_host: str = ""
    """The name that clients ask there. Empty: whatever name its listeners take."""
    scale_on: ScaleOn = ScaleOn.CPU
    """What the number of replicas follows: cpu, requests, keda, in-flight or knative."""
    requests_per_second: int = 100
    """What one replica is to answer, where `scale_on` is `requests` or `keda`."""
    requests_in_flight: int = 16
    """What one replica is to have unanswered, where `scale_on` is `in-flight` or `knative`."""
    prometheus: str = ""
    """URL of the Prometheus that KEDA asks, which must scrape the pods and label their series `namespace` and `pod`."""
    wake_query: str = ""
    """For zero replicas by KEDA: a query that is above 0 while somebody in front has requests for them. Empty: an
    activator, made here, is in front."""
    skew_schedule: str = ""
    """When a monitor judges what all replicas observed, as cron writes it; empty: each replica judges alone."""
    timeout_minutes: float = 24 * 60
    """For how long `up` waits for one job, and at most for a server to be ready."""
    start_minutes: float = 2
    """For how long a pod may be unable to start, such as for want of its image, before the job is given up."""

    @property
    def claim(self) -> str:
        """The claim that artifacts lie on."""
        return self.artifacts_claim or workspace.CLAIM
