"""A dataset to the best hyperparameters."""

from typing import Any

import pulumi
from typing_extensions import NotRequired, TypedDict

from penstock.arguments import PlatformArgs, made, native
from penstock.naming import is_file, is_module, model_name
from penstock.platform import ArtifactArgs, Job, Platform, Program, Role


class TuningArgs(TypedDict):
    """What is searched, and how long."""

    platform: Platform | pulumi.Input[PlatformArgs]
    """Where it runs."""
    store: pulumi.Input[str]
    """Root of the artifact store."""
    problem: str
    """The problem whose search space is explored."""
    dataset: ArtifactArgs
    """The dataset it runs on."""
    trials: NotRequired[int]
    """Trials of the study. Default: 8."""
    processes: NotRequired[int]
    """Processes that run trials at the same time, no more than there are trials. Default: 2."""
    epochs: NotRequired[int]
    """Epochs of each trial. Default: 1."""
    time_limit_seconds: NotRequired[float | None]
    """Time after which the study ends with what is finished. Default: none."""
    cost_limit_usd: NotRequired[float | None]
    """What the trials may cost in US dollars, after which the study ends with what is finished. Default: no limit."""
    usd_per_process_hour: NotRequired[float | None]
    """What an hour of one process costs; a cost limit needs it. Default: unknown."""
    storage: NotRequired[str | None]
    """`postgresql://[user@]host[:port]/database` that processes on several machines share; the password comes by
    PGPASSWORD or PGPASSFILE. `postgresql`, on a cluster: one that is made for the study. Default: a journal file, for
    processes of one machine."""


class Tuning(pulumi.ComponentResource):
    """One Optuna study shared by several processes; preprocessing choices are part of the search space."""

    path: pulumi.Output[str]
    """Folder of the study."""
    digest: pulumi.Output[str]
    """Digest of the study."""
    metrics: pulumi.Output[dict[str, Any]]
    """The best trial's value."""
    report: pulumi.Output[str]
    """Page for people of the study: its history, what mattered, every trial."""

    def __init__(self, name: str, args: TuningArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:index:Tuning", name, None, opts)
        args = native(args)
        problem = args["problem"]
        platform = made(args["platform"], model_name(problem))
        command: list[pulumi.Input[str]] = ["tune", "--problem", problem, "--artifacts", args["store"]]
        command += ["--dataset", args["dataset"]["path"]]
        trials = args.get("trials", 8)
        command += ["--trials", str(trials), "--epochs", str(args.get("epochs", 1))]
        limits = {"time-limit": "time_limit_seconds", "cost-limit": "cost_limit_usd", "price": "usd_per_process_hour"}
        for flag, name_ in {**limits, "storage": "storage"}.items():
            if (value := args.get(name_)) is not None:
                command += [f"--{flag}", str(value)]
        # The chief runs trials like the others, and nobody is there for none.
        others = min(args.get("processes", 2), trials) - 1
        study = platform.job(
            f"{name}-study",
            Job(
                Program.TRAINER,
                {"chief": Role(command), "trial": Role(command, replicas=others, restarts=2)},
                files=[problem] if is_file(problem) else [],
                modules=[problem] if is_module(problem) else [],
                digests={"dataset": args["dataset"]["digest"]},
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.path, self.digest, self.metrics = study.path, study.digest, study.metrics
        self.report = platform.page(pulumi.Output.concat(self.path, "/study.html"))
        self.register_outputs({key: getattr(self, key) for key in Tuning.__annotations__})
