"""A trained model and the one that serves to the one that serves from now on."""

from typing import Any

import pulumi
from typing_extensions import NotRequired, TypedDict

from penstock.arguments import PlatformArgs, made, native
from penstock.naming import is_file, is_module, model_name
from penstock.platform import ArtifactArgs, Job, Platform, Program, Role


class ComparisonArgs(TypedDict):
    """Which model is the candidate, and by how much it must be better."""

    platform: Platform | pulumi.Input[PlatformArgs]
    """Where it runs."""
    store: pulumi.Input[str]
    """Root of the artifact store; what serves is written down there, by problem."""
    problem: str
    """The problem that both models answer."""
    dataset: ArtifactArgs
    """The dataset that the candidate was trained on: both answer its test rows."""
    candidate: ArtifactArgs
    """The trained model."""
    minimum_gain: NotRequired[float]
    """By more than so much its metric must be better. Default: 0."""


class Comparison(pulumi.ComponentResource):
    """The candidate, where it is better on the same rows or nothing serves yet; else the model that serves."""

    path: pulumi.Output[str]
    """Folder of the model that serves from now on."""
    digest: pulumi.Output[str]
    """Its digest."""
    decision: pulumi.Output[dict[str, Any]]
    """Whether the candidate was `promoted`, the `reason` in words, and the numbers behind it."""

    def __init__(self, name: str, args: ComparisonArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:index:Comparison", name, None, opts)
        args = native(args)
        problem, dataset, candidate = args["problem"], args["dataset"], args["candidate"]
        command: list[pulumi.Input[str]] = ["compare", "--problem", problem, "--artifacts", args["store"]]
        command += ["--dataset", dataset["path"], "--candidate", candidate["path"]]
        command += ["--minimum-gain", str(args.get("minimum_gain", 0))]
        job = Job(
            Program.TRAINER,
            {"chief": Role(command)},
            files=[problem] if is_file(problem) else [],
            modules=[problem] if is_module(problem) else [],
            digests={"dataset": dataset["digest"], "model": candidate["digest"]},
        )
        platform = made(args["platform"], model_name(problem))
        chosen = platform.job(f"{name}-decision", job, pulumi.ResourceOptions(parent=self))
        self.path, self.digest = chosen.path, chosen.digest
        self.decision = chosen.metrics.apply(lambda metrics: metrics["decision"])
        self.register_outputs({key: getattr(self, key) for key in Comparison.__annotations__})
