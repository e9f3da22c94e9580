"""Every setting of a stack, checked before anything is started."""

import difflib
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from cluster_settings import ClusterSettings
from monitoring_settings import MonitoringSettings
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from rollout_settings import Rollout

from penstock.errors import PenstockError
from penstock.gcp.environment import Environment, refuse_for_dataflow, refuse_idle, refuse_strategy

NAMESPACE = "penstock:"
OBJECTS = ("cluster", "gcp", "monitoring", "rollout", "traffic")
POSTGRESQL = r"^postgresql(://([^:@/?]+@)?[^:@/?]*(:\d+)?/[^/?@]+)?$"
ACCESS = ("token_file", "certificate", "private_key")
FILES = (*ACCESS, "verify_key")
"""Files of this machine that the endpoint reads."""
Name = Annotated[str, Field(min_length=1)]


class SettingsError(Exception):
    """What is wrong with a stack's configuration, for the person who wrote it."""


class Settings(BaseModel):
    """The configuration of one stack: `pulumi config set KEY VALUE`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    platform: Literal["local", "cluster", "gcp"] = "local"
    cluster: ClusterSettings | None = None
    """Which cluster, for the platform `cluster`."""
    gcp: Environment | None = None
    """The Google Cloud environment, for the platform `gcp`."""
    problem: Name = "flights"
    raw: tuple[Name, ...] = ()
    """Patterns of raw files; none: the problem's bundled ones."""
    rows: Annotated[int, Field(ge=1)] | None = None
    """How many rows of the bundled raw files; None: all."""
    bad_rows_allowed: Annotated[float, Field(ge=0, le=1)] = 0.001
    trials: Annotated[int, Field(ge=1, le=10_000)] = 8
    trial_processes: Annotated[int, Field(ge=1, le=256)] = 2
    tuning_epochs: Annotated[int, Field(ge=1, le=10_000)] = 1
    tuning_time_limit_seconds: Annotated[float, Field(gt=0)] | None = None
    """Time after which the study ends with what is finished; None: no limit."""
    usd_per_process_hour: Annotated[float, Field(gt=0)] | None = None
    """What an hour of one tuning process costs."""
    tuning_cost_limit_usd: Annotated[float, Field(gt=0)] | None = None
    """Needs `usd_per_process_hour`; None: no limit."""
    tuning_storage: Annotated[str, Field(pattern=POSTGRESQL)] | None = None
    """Without a password, which comes by PGPASSWORD or PGPASSFILE, on a cluster by `cluster.database_password`;
    `postgresql`, on a cluster: the stack makes the database. None: a file in the artifact store."""
    strategy: Literal["local", "mirrored", "multiworker", "parameter-server", "tpu"] = "parameter-server"
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    """In which layers compute while training; the served model is float32."""
    xla: bool = False
    """Whether XLA compiles the training's steps."""
    parameter_servers: Annotated[int, Field(ge=0, le=256)] | None = None
    """None: as many as the strategy needs."""
    workers: Annotated[int, Field(ge=1, le=1024)] | None = None
    """None: as many as the strategy needs."""
    restarts: Annotated[int, Field(ge=0, le=1000)] = 3
    evaluator: bool = False
    tensorboard_port: Annotated[int, Field(ge=0, le=65_535)] = 6006
    """0: no such page; on this machine only."""
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 2
    sign_key: Name | None = None
    """Path of the Ed25519 private key (PEM) that signs models; None: they are not signed."""
    promote: Literal["always", "better"] = "always"
    """Whether a new model serves in any case, or only where it beats the one that serves on the same rows."""
    minimum_gain: Annotated[float, Field(ge=0)] = 0
    """By more than so much, where `promote` is `better`."""
    port: Annotated[int, Field(ge=1024, le=65_535)] = 8501
    traffic: dict[Name, Annotated[float, Field(ge=0)]] | None = None
    """Weights by version; None: all to the latest, by the rollout if there is one."""
    rollout: Rollout | None = None
    """How a new version takes over by itself; None: at once."""
    min_replicas: Annotated[int, Field(ge=0, le=64)] = 1
    max_replicas: Annotated[int, Field(ge=1, le=64, validate_default=True)] = 1
    idle_seconds: Annotated[float, Field(ge=1)] = 300
    token_file: Name | None = None
    """The file of the bearer tokens that may ask the endpoint; None: anyone may."""
    certificate: Name | None = None
    """The file of the endpoint's PEM certificate chain; None: no TLS."""
    private_key: Name | None = None
    """The file of its PEM key."""
    verify_key: Name | None = None
    """The file of the Ed25519 public key (PEM) whose owner must have signed what serves; None: a seal will do."""
    grpc_port: Annotated[int, Field(ge=1024, le=65_535)] | None = None
    """Where TensorFlow Serving's gRPC `Predict` is answered too; None: nowhere."""
    monitoring: MonitoringSettings | None = None
    """How what the endpoint receives is watched; None: the server's own way."""
    keep: tuple[Literal["raw", "dataset", "study", "models"], ...] = ()

    @field_validator("tuning_cost_limit_usd")
    @classmethod
    def _has_a_price(cls, limit: float | None, others: ValidationInfo) -> float | None:
        if limit is not None and others.data.get("usd_per_process_hour") is None:
            raise ValueError("a cost limit needs `usd_per_process_hour`")
        return limit

    @classmethod
    def from_config(cls, config: Mapping[str, str]) -> "Settings":
        """The settings in a stack's configuration, whose values are all text; other projects' keys are ignored."""
        own = {key.removeprefix(NAMESPACE): value for key, value in config.items() if key.startswith(NAMESPACE)}
        try:
            return cls(**{key: _parsed(key, value) for key, value in own.items()})._checked()
        except ValidationError as exc:
            raise SettingsError("\n".join(dict.fromkeys(_sentence(error, own) for error in exc.errors()))) from exc

    def refuse_plain(self, is_secret: Callable[[str], bool]) -> None:
        """Raises SettingsError for a secret in plain text, which would be so in the state too.

        `is_secret` tells whether a key of the stack's configuration has one in it.
        """
        password = self.cluster.database_password if self.cluster else None
        webhook = self.monitoring.webhook if self.monitoring else None
        for name, value in (("cluster.database_password", password), ("monitoring.webhook", webhook)):
            if value is not None and not is_secret(NAMESPACE + name.partition(".")[0]):
                raise SettingsError(
                    f"setting {name!r} is a secret and is given in plain text: "
                    f"`pulumi config set --secret --path {name} VALUE`"
                )

    @field_validator("traffic")
    @classmethod
    def _answers(cls, traffic: dict[str, float] | None) -> dict[str, float] | None:
        if traffic is not None and not any(traffic.values()):
            raise ValueError("no version has a weight above 0")
        if traffic is not None and list(traffic.values()).count(0) > 1:
            raise ValueError("one version at most has the weight 0, which is the shadow's")
        return traffic

    @field_validator("max_replicas")
    @classmethod
    def _ranges(cls, highest: int, info: ValidationInfo) -> int:
        if highest < info.data.get("min_replicas", 0):
            raise ValueError(f"less than min_replicas, which is {info.data['min_replicas']}")
        return highest

    def endpoint(self) -> dict[str, Any]:
        """The endpoint's own settings."""
        rollout = self.rollout.model_dump(mode="json") if self.rollout else None
        monitoring = self.monitoring.model_dump() if self.monitoring else {}
        names = ("port", "traffic", "min_replicas", "max_replicas", "idle_seconds", "grpc_port", *FILES)
        return {name: getattr(self, name) for name in names} | {"rollout": rollout, "monitoring": monitoring}

    @property
    def tuning(self) -> dict[str, Any]:
        """What `Tuning` takes of them."""
        return {
            "trials": self.trials,
            "processes": self.trial_processes,
            "epochs": self.tuning_epochs,
            "time_limit_seconds": self.tuning_time_limit_seconds,
            "cost_limit_usd": self.tuning_cost_limit_usd,
            "usd_per_process_hour": self.usd_per_process_hour,
            "storage": self.tuning_storage,
        }

    @property
    def training(self) -> dict[str, Any]:
        """What `Training` takes of them."""
        names = ("epochs", "strategy", "precision", "xla", "parameter_servers", "workers", "restarts", "evaluator")
        names = (*names, "sign_key")
        port = self.tensorboard_port if self.platform == "local" else 0
        return {**{name: getattr(self, name) for name in names}, "tensorboard_port": port}

    @property
    def comparison(self) -> dict[str, Any] | None:
        """What `Comparison` takes of them; None: there is none."""
        return {"minimum_gain": self.minimum_gain} if self.promote == "better" else None

    @property
    def promoted(self) -> bool:
        """Whether the stack serves a model that another one has made."""
        return self.platform == "gcp" and self.gcp is not None and self.gcp.model is not None

    def _checked_on_google(self, environment: Environment) -> None:
        for name in ("min_replicas", "max_replicas"):
            # The project's own defaults are written out for every stack.
            if getattr(self, name) == type(self).model_fields[name].default:
                continue
            raise SettingsError(
                f"setting {name!r} is for other platforms; on Google Cloud it is `gcp.{name}`: "
                f"`pulumi config rm {name}`, then `pulumi config set --path gcp.{name} {getattr(self, name)}`"
            )
        try:
            refuse_idle(environment.endpoint, self.idle_seconds)
            if not environment.trains:
                return
            refuse_strategy(environment.accelerator, self.strategy)
            if environment.beam == "dataflow":
                refuse_for_dataflow(self.raw, self.problem)
        except PenstockError as exc:
            raise SettingsError(str(exc)) from exc

    def _check_made_database(self) -> None:
        if self.platform != "cluster" or self.cluster is None:
            raise SettingsError(
                "setting 'tuning_storage' is 'postgresql', a database that the platform 'cluster' makes; elsewhere "
                "name one, postgresql://[user@]host[:port]/database, or on Google Cloud set `gcp.study_database`"
            )
        if self.cluster.database_image is None or self.cluster.database_password is not None:
            raise SettingsError(
                "setting 'tuning_storage' is 'postgresql', a database that the stack makes: it takes "
                "'cluster.database_image', by digest, and no 'cluster.database_password', which is generated"
            )

    def _checked(self) -> "Settings":
        if self.platform == "cluster" and self.cluster is None:
            raise SettingsError(
                "the platform is 'cluster' and no setting says which; "
                "for example `pulumi config set --path cluster.trainer_image IMAGE@sha256:...`"
            )
        if self.cluster is not None and self.cluster.database_password is not None and self.tuning_storage is None:
            raise SettingsError(
                "setting 'cluster.database_password' is given without 'tuning_storage', whose password it is"
            )
        if self.tuning_storage == "postgresql":
            self._check_made_database()
        if self.platform == "gcp" and self.gcp is None:
            raise SettingsError(
                "the platform is 'gcp' and no setting says which project; "
                "for example `pulumi config set --path gcp.project PROJECT`"
            )
        if self.platform == "gcp" and self.gcp is not None:
            self._checked_on_google(self.gcp)
        if self.platform == "gcp" and (self.traffic or self.rollout):
            raise SettingsError(
                "settings 'traffic' and 'rollout' are not for the platform 'gcp', where one model at a time has the URL"
            )
        if self.platform == "cluster" and self.rollout:
            raise SettingsError(
                "setting 'rollout' is for the platform 'local', where one process sees all that arrives; the pods of a "
                "cluster would each judge alone. Give weights with 'traffic'"
            )
        access = [name for name in ACCESS if getattr(self, name)]
        if self.platform != "local" and access:
            raise SettingsError(
                f"setting {access[0]!r} is for the platform 'local', whose server reads this machine's files; "
                "elsewhere the ingress in front of it takes care of TLS and of who may ask"
            )
        if self.platform != "local" and self.grpc_port:
            raise SettingsError("setting 'grpc_port' is for the platform 'local' so far")
        if self.grpc_port == self.port:
            raise SettingsError(f"settings 'port' and 'grpc_port' are both {self.port}: each takes a port of its own")
        if (self.certificate is None) != (self.private_key is None):
            given, missing = access[-1], "certificate" if self.certificate is None else "private_key"
            raise SettingsError(f"setting {given!r} is given without {missing!r}: TLS takes both")
        if self.monitoring and self.monitoring.webhook:
            if self.platform == "gcp":
                raise SettingsError("setting 'monitoring.webhook' is not for the platform 'gcp' so far")
            if self.platform == "cluster" and self.cluster and not self.cluster.skew_schedule:
                raise SettingsError(
                    "setting 'monitoring.webhook' is given without 'cluster.skew_schedule': on a cluster the monitor "
                    "tells it, which runs on that schedule"
                )
        return self


def _parsed(key: str, value: str) -> Any:
    """Lists and objects are JSON; a single value does for a list of one, and a version for all traffic to it."""
    if key == "rollout" and value in ("true", "false"):
        return {} if value == "true" else None
    if key == "traffic" and not value.lstrip().startswith("{"):
        return {value: 100}
    if key in OBJECTS:
        try:
            return json.loads(value)
        except ValueError:
            return value
    if key not in ("raw", "keep"):
        return value
    try:
        parsed = json.loads(value)
    except ValueError:
        return [value]
    return parsed if isinstance(parsed, list) else [value]


def _sentence(error: ErrorDetails, given: Mapping[str, str]) -> str:
    key, *inside = (str(part) for part in error["loc"])
    if key in OBJECTS and inside:
        return _inside(".".join([key, *inside]), error)
    value = given.get(key)
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(key, Settings.model_fields, n=1, cutoff=0.5)
        advice = f"did you mean {close[0]!r}? " if close else f"known settings: {', '.join(Settings.model_fields)}. "
        return f"unknown setting {key!r} (value {value!r}): {advice}Remove it with `pulumi config rm {key}`"
    if key == "tuning_storage":
        # What was written may hold a password.
        return f"setting {key!r} is no postgresql://[user@]host[:port]/database without a password (set PGPASSWORD)"
    problem = error["msg"].removeprefix("Value error, ")
    problem = problem[0].lower() + problem[1:]
    default = Settings.model_fields[key].default
    if default is None:
        advice = f"use `pulumi config rm {key}` for the default"
    else:
        advice = (
            f"for example `pulumi config set {key} {json.dumps(default) if isinstance(default, tuple) else default}`"
        )
    return f"setting {key!r} is {value!r}: {problem}; {advice}"


def _inside(named: str, error: ErrorDetails) -> str:
    """The same for a setting of an object, such as `gcp.region`."""
    if error["type"] == "extra_forbidden":
        return f"unknown setting {named!r} (value {error['input']!r}): remove it with `pulumi config rm --path {named}`"
    if error["type"] == "missing":
        return f"setting {named!r} is missing; for example `pulumi config set --path {named} VALUE`"
    if error["type"] in ("tuple_type", "list_type"):
        # With `--path` the CLI keeps JSON as text.
        advice = f"`pulumi config rm --path {named}`, then `pulumi config set --path '{named}[0]' VALUE` and so on"
        return f"setting {named!r} is {error['input']!r}: expected a list; {advice}"
    problem = error["msg"].removeprefix("Value error, ")
    return f"setting {named!r} is {error['input']!r}: {problem[0].lower() + problem[1:]}"
