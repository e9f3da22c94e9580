"""Raw files to a dataset: statistics and examples."""

from collections.abc import Sequence
from typing import Any

import pulumi
from typing_extensions import NotRequired, TypedDict

from penstock.arguments import PlatformArgs, made, native
from penstock.naming import is_file, is_module, model_name
from penstock.platform import Artifact, Job, Platform, Program, Role


class PreprocessingArgs(TypedDict):
    """What a dataset is made from."""

    platform: Platform | pulumi.Input[PlatformArgs]
    """Where it runs."""
    store: pulumi.Input[str]
    """Root of the artifact store."""
    problem: str
    """A bundled problem's name, an importable module, or a path to a `.py` file."""
    raw: NotRequired[Sequence[str]]
    """Raw files: folders, files or patterns. Default: the bundled problem's own, written as its first stage."""
    rows: NotRequired[int | None]
    """How many rows of the bundled raw files to write. Default: all."""
    bad_rows_allowed: NotRequired[float]
    """Share of malformed rows above which the stage fails. Default: 0.001."""


class Preprocessing(pulumi.ComponentResource):
    """One Beam pipeline over all raw rows; malformed ones go to a dead-letter file and are counted."""

    path: pulumi.Output[str]
    """Folder of the dataset."""
    digest: pulumi.Output[str]
    """Digest of the dataset."""
    counts: pulumi.Output[dict[str, Any]]
    """Rows in the raw files, and where each of them went."""
    report: pulumi.Output[str]
    """Page for people of the dataset's statistics, and of what looks wrong in it."""

    def __init__(self, name: str, args: PreprocessingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:index:Preprocessing", name, None, opts)
        args = native(args)
        platform = made(args["platform"], model_name(args["problem"]))
        child = pulumi.ResourceOptions(parent=self)
        common = ["--problem", args["problem"], "--artifacts", args["store"]]
        problem = args["problem"]
        own, modules = [problem] if is_file(problem) else [], [problem] if is_module(problem) else []

        raw = list(args.get("raw") or ())
        inputs: list[pulumi.Input[str]] = [*raw]
        digests: dict[str, pulumi.Input[str]] = {}
        if not raw:
            bundled = self._bundled(f"{name}-raw", platform, args, common, child)
            inputs, digests = [bundled.path], {"raw": bundled.digest}

        command: list[pulumi.Input[str]] = ["preprocess", *common]
        for pattern in inputs:
            command += ["--raw", pattern]
        command += ["--bad-rows-allowed", str(args.get("bad_rows_allowed", 0.001))]
        job = Job(Program.TRAINER, {"chief": Role(command)}, files=[*own, *raw], modules=modules, digests=digests)
        dataset = platform.job(f"{name}-dataset", job, child)

        self.path, self.digest, self.counts = dataset.path, dataset.digest, dataset.counts
        self.report = platform.page(pulumi.Output.concat(self.path, "/report.html"))
        self.register_outputs({key: getattr(self, key) for key in Preprocessing.__annotations__})

    def _bundled(
        self,
        name: str,
        platform: Platform,
        args: PreprocessingArgs,
        common: Sequence[pulumi.Input[str]],
        opts: pulumi.ResourceOptions,
    ) -> Artifact:
        rows = args.get("rows")
        limit = ["--rows", str(rows)] if rows is not None else []
        problem = args["problem"]
        own, modules = [problem] if is_file(problem) else [], [problem] if is_module(problem) else []
        job = Job(Program.TRAINER, {"chief": Role(["raw", *common, *limit])}, files=own, modules=modules)
        return platform.job(name, job, opts)
