"""A dataset and the best hyperparameters to a sealed model."""

from typing import Any

import pulumi
from typing_extensions import NotRequired, TypedDict

from penstock.naming import is_file
from penstock.platform import ArtifactArgs, Job, Platform, Program, Role


class TrainingArgs(TypedDict):
    """What is trained, and by how many."""

    platform: Platform
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
    parameter_servers: NotRequired[int]
    """Processes that hold the variables; 0 trains in one process. Default: 2."""
    workers: NotRequired[int]
    """Processes that compute. Default: 2."""


class Training(pulumi.ComponentResource):
    """One chief, parameter servers and workers over all examples; ends with the exported, sealed model."""

    path: pulumi.Output[str]
    """Folder of the model artifact."""
    digest: pulumi.Output[str]
    """Digest of the model artifact."""
    metrics: pulumi.Output[dict[str, Any]]
    """The model's values on validation and test rows."""

    def __init__(self, name: str, args: TrainingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:index:Training", name, None, opts)
        problem, servers, workers = args["problem"], args.get("parameter_servers", 2), args.get("workers", 2)
        command: list[pulumi.Input[str]] = ["train", "--problem", problem, "--artifacts", args["store"]]
        inputs = {"dataset": args["dataset"]}
        if "study" in args:
            inputs["study"] = args["study"]
        for kind, artifact in inputs.items():
            command += [f"--{kind}", artifact["path"]]
        command += ["--strategy", "parameter-server" if servers else "local", "--epochs", str(args.get("epochs", 2))]
        roles = {"chief": Role(command)}
        if servers:
            roles["ps"] = Role(command, replicas=servers, restarts=3)
            roles["worker"] = Role(command, replicas=workers, restarts=3)
        model = args["platform"].job(
            f"{name}-model",
            Job(
                Program.TRAINER,
                roles,
                files=[problem] if is_file(problem) else [],
                digests={kind: artifact["digest"] for kind, artifact in inputs.items()},
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.path, self.digest, self.metrics = model.path, model.digest, model.metrics
        self.register_outputs({"path": self.path, "digest": self.digest, "metrics": self.metrics})
