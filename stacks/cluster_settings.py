"""The settings of a stack on an existing cluster: `pulumi config set --path cluster.KEY VALUE`."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from penstock.kubernetes import ClusterArgs, Machine, ScaleOn
from penstock.kubernetes.api import default_kubeconfig

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Gateway = Annotated[str, Field(pattern=r"^$|^[a-z0-9][-a-z0-9]{0,62}/[a-z0-9][-.a-z0-9]{0,252}$")]
Host = Annotated[str, Field(pattern=r"^$|^([a-z0-9][-a-z0-9]{0,62}\.)*[a-z0-9][-a-z0-9]{0,62}$")]
Image = Annotated[str, Field(pattern=r"^[^\s@]+@sha256:[0-9a-f]{64}$")]
ROLES = ("chief", "ps", "worker", "evaluator", "trial", "server", "database")


class MachineSettings(BaseModel):
    """What the pods of one role run on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpus: Annotated[float, Field(gt=0)] | None = None
    memory_gib: Annotated[float, Field(gt=0)] | None = None
    accelerator: str = "nvidia.com/gpu"
    accelerators: Annotated[int, Field(ge=0)] = 0
    node_selector: dict[str, str] = {}


class ClusterSettings(BaseModel):
    """Which cluster, and what of it the pipeline takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trainer_image: Image
    serving_image: Image
    kubeconfig: str = ""
    """Path. Empty: what KUBECONFIG names, else ~/.kube/config."""
    context: str | None = None
    namespace: Name | None = None
    """None: `penstock-` and the stack's name."""
    storage_class: str = ""
    storage_gib: Annotated[int, Field(ge=1)] = 50
    access_mode: Annotated[str, Field(pattern="^ReadWrite(Many|Once)$")] = "ReadWriteMany"
    data_claim: str = ""
    artifacts_claim: str = ""
    machines: dict[str, MachineSettings] = {}
    autoscaled: bool = False
    queue: str = ""
    exclusive_topology: str = ""
    database_password: str | None = None
    """`pulumi config set --secret --path cluster.database_password PASSWORD`, of the database in `tuning_storage`."""
    database_image: Image | None = None
    """PostgreSQL's, by digest, for `tuning_storage: postgresql`."""
    caller_namespaces: tuple[Name, ...] = ()
    gateway: Gateway = ""
    """`namespace/name`. Empty: no way in from outside, and the servers split the traffic themselves."""
    gateway_host: Host = ""
    scale_on: ScaleOn = ScaleOn.CPU
    requests_per_second: Annotated[int, Field(ge=1)] = 100
    requests_in_flight: Annotated[int, Field(ge=1)] = 16
    prometheus: str = ""
    wake_query: str = ""
    skew_schedule: Annotated[str, Field(pattern=r"^$|^(\S+ ){4}\S+$|^@\w+$")] = ""
    timeout_minutes: Annotated[float, Field(gt=0)] = 24 * 60
    start_minutes: Annotated[float, Field(gt=0)] = 2

    @field_validator("machines")
    @classmethod
    def _roles(cls, machines: dict[str, MachineSettings]) -> dict[str, MachineSettings]:
        unknown = sorted(set(machines) - set(ROLES))
        if unknown:
            raise ValueError(f"there is no role {', '.join(unknown)}; roles are {', '.join(ROLES)}")
        return machines

    @model_validator(mode="after")
    def _host_of_a_gateway(self) -> "ClusterSettings":
        if self.gateway_host and not self.gateway:
            raise ValueError("gateway_host is given without gateway, whose listeners take it")
        return self

    def args(self, stack: str, base: Path) -> ClusterArgs:
        """The platform's arguments; relative paths start at `base`."""
        kubeconfig = self.kubeconfig or default_kubeconfig()
        own = {name: getattr(self, name) for name in type(self).model_fields}
        machines = {role: Machine(**machine.model_dump()) for role, machine in self.machines.items()}
        return ClusterArgs(
            **{
                **own,
                "kubeconfig": str(base / Path(kubeconfig).expanduser()),
                "namespace": self.namespace or f"penstock-{stack}".lower(),
                "machines": machines,
            }
        )
