"""A dataset and the best hyperparameters to a sealed model."""

from typing import Any

import pulumi
from typing_extensions import NotRequired, TypedDict

from penstock import cluster_spec
from penstock.arguments import PlatformArgs, made, native
from penstock.naming import is_file, is_module, model_name
from penstock.platform import ArtifactArgs, Job, Platform, Program, Role, Service

MANY = 1000
"""Restarts of a replica whose loss is to stop nobody."""


class TrainingArgs(TypedDict):
    """What is trained, and by how many."""

    platform: Platform | pulumi.Input[PlatformArgs]
    """Where it runs."""
    store: pulumi.Input[str]
    """Root of the artifact store."""
    problem: str
    """The problem whose model is trained."""
    dataset: ArtifactArgs
    """The dataset it runs on."""
    study: NotRequired[ArtifactArgs]
    """The study whose best hyperparameters it takes. Default: the middle of every range."""
    epochs: NotRequired[int]
    """Passes over all training rows. Default: 2."""
    strategy: NotRequired[str]
    """local, mirrored, multiworker, parameter-server or tpu. Default: parameter-server."""
    precision: NotRequired[str]
    """float32, or mixed_bfloat16: layers compute in bfloat16 while training, the exported model is float32 in any case.
    Not with strategy parameter-server. Default: float32."""
    xla: NotRequired[bool]
    """Whether XLA compiles the training's steps. Not with strategy parameter-server. Default: no."""
    parameter_servers: NotRequired[int | None]
    """Processes that hold the variables. Default with strategy parameter-server: 2."""
    workers: NotRequired[int | None]
    """Processes that compute. Default with strategies parameter-server and multiworker: 2."""
    restarts: NotRequired[int]
    """How often a lost worker is started again, and how often all roles are when another is lost. Default: 3."""
    evaluator: NotRequired[bool]
    """Whether a process beside the training evaluates every checkpoint. Default: no."""
    tensorboard_port: NotRequired[int]
    """Port of the page with the training's curves; 0: no such page. Default: 0."""
    sign_key: NotRequired[str | None]
    """Path of the Ed25519 private key (PEM) that signs the model; only the path is kept. Default: not signed."""


class Training(pulumi.ComponentResource):
    """All examples, by as many processes as the strategy has; ends with the exported, sealed model."""

    path: pulumi.Output[str]
    """Folder of the model artifact."""
    digest: pulumi.Output[str]
    """Digest of the model artifact."""
    metrics: pulumi.Output[dict[str, Any]]
    """The model's values on validation and test rows."""
    card: pulumi.Output[str]
    """Page for people of the model: how good it is, for whom, and where it comes from."""
    tensorboard: pulumi.Output[str]
    """URL of the training's curves, live; empty where there is no such page."""

    def __init__(self, name: str, args: TrainingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:index:Training", name, None, opts)
        args = native(args)
        problem, strategy = args["problem"], args.get("strategy", "parameter-server")
        platform = made(args["platform"], model_name(problem))
        replicas = cluster_spec.roles(strategy, args.get("parameter_servers"), args.get("workers"))
        precision, xla = args.get("precision", "float32"), args.get("xla", False)
        cluster_spec.check_arithmetic(strategy, precision, xla)
        command: list[pulumi.Input[str]] = ["train", "--problem", problem, "--artifacts", args["store"]]
        inputs = {"dataset": args["dataset"]}
        if "study" in args:
            inputs["study"] = args["study"]
        for kind, artifact in inputs.items():
            command += [f"--{kind}", artifact["path"]]
        command += ["--strategy", strategy, "--epochs", str(args.get("epochs", 2))]
        if precision != "float32":
            command += ["--precision", precision]
        if xla:
            command += ["--xla"]
        sign_key = args.get("sign_key")
        keys = [sign_key] if sign_key else []
        if sign_key:
            command += ["--sign-key", sign_key]
        restarts = args.get("restarts", 3)
        # A parameter server's worker is missed by nobody; any other member's loss stops all.
        alone = {"worker": restarts} if "ps" in replicas else {}
        if args.get("evaluator", False):
            replicas["evaluator"] = 1
            alone["evaluator"] = MANY
        child = pulumi.ResourceOptions(parent=self)
        self.tensorboard = pulumi.Output.from_input("")
        if port := args.get("tensorboard_port", 0):
            curves = Service(Program.TRAINER, ["curves", "--artifacts", args["store"]], port=port, probe="/")
            self.tensorboard = platform.service(f"{name}-tensorboard", curves, child)
        model = platform.job(
            f"{name}-model",
            Job(
                Program.TRAINER,
                {role: Role(command, replicas=n, restarts=alone.get(role, 0)) for role, n in replicas.items()},
                restarts=restarts,
                files=[*([problem] if is_file(problem) else []), *keys],
                keys=keys,
                modules=[problem] if is_module(problem) else [],
                digests={kind: artifact["digest"] for kind, artifact in inputs.items()},
            ),
            child,
        )
        self.path, self.digest, self.metrics = model.path, model.digest, model.metrics
        self.card = platform.page(pulumi.Output.concat(self.path, "/card.html"))
        self.register_outputs({key: getattr(self, key) for key in Training.__annotations__})
