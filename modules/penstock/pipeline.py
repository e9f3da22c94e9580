"""The whole way: raw files, dataset, study, model, endpoint."""

from collections.abc import Sequence
from typing import Any

import pulumi
from typing_extensions import NotRequired, TypedDict

from penstock.arguments import PlatformArgs, made, native
from penstock.comparison import Comparison, ComparisonArgs
from penstock.endpoint import Endpoint, EndpointArgs
from penstock.naming import model_name
from penstock.platform import ArtifactArgs, Platform
from penstock.preprocessing import Preprocessing, PreprocessingArgs
from penstock.training import Training, TrainingArgs
from penstock.tuning import Tuning, TuningArgs


class PipelineArgs(TypedDict):
    """What is to be carried, and where; what is left out takes the stage's own default."""

    platform: Platform | pulumi.Input[PlatformArgs]
    """Where it runs."""
    problem: str
    """A bundled problem's name, an importable module, or a path to a `.py` file."""
    preprocessing: NotRequired[dict[str, Any]]
    """Further arguments of `Preprocessing`: raw, rows, bad_rows_allowed."""
    tuning: NotRequired[dict[str, Any]]
    """Further arguments of `Tuning`: trials, processes, epochs, time_limit_seconds, cost_limit_usd,
    usd_per_process_hour, storage."""
    training: NotRequired[dict[str, Any]]
    """Further arguments of `Training`: epochs, strategy, precision, xla, parameter_servers, workers, restarts,
    evaluator, tensorboard_port, sign_key."""
    comparison: NotRequired[dict[str, Any] | None]
    """Further arguments of `Comparison`: minimum_gain. Default: none, every model that is trained is served."""
    endpoint: NotRequired[dict[str, Any]]
    """Further arguments of `Endpoint`: port, traffic, rollout, min_replicas, max_replicas, idle_seconds, monitoring,
    token_file, certificate, private_key, verify_key, grpc_port."""
    keep: NotRequired[Sequence[str]]
    """Kinds of artifacts that survive the stack: raw, dataset, study, models. Default: none."""


class Pipeline(pulumi.ComponentResource):
    """From raw files to a served model; every stage is done once for the same inputs."""

    endpoint: pulumi.Output[str]
    """URL of the model: append `:predict`."""
    console: pulumi.Output[str]
    """The endpoint's page for people."""
    model_digest: pulumi.Output[str]
    """Digest of the model that the endpoint serves."""
    dataset_digest: pulumi.Output[str]
    """Digest of the dataset that the model was trained on."""
    study_digest: pulumi.Output[str]
    """Digest of the study that the hyperparameters come from."""
    rows: pulumi.Output[dict[str, Any]]
    """Rows in the raw files, and where each of them went."""
    report: pulumi.Output[str]
    """Page for people of the dataset's statistics."""
    study_report: pulumi.Output[str]
    """Page for people of the study."""
    model_card: pulumi.Output[str]
    """Page for people of the model."""
    metrics: pulumi.Output[dict[str, Any]]
    """The trained model's values on validation and test rows."""
    decision: pulumi.Output[dict[str, Any]]
    """Whether it serves, why, and the numbers behind it; empty where every model that is trained is served."""
    tensorboard: pulumi.Output[str]
    """URL of the training's curves, live; empty where there is no such page."""

    def __init__(self, name: str, args: PipelineArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:index:Pipeline", name, None, opts)
        args = native(args)
        problem, child = args["problem"], pulumi.ResourceOptions(parent=self)
        platform = made(args["platform"], model_name(problem))
        store = platform.storage(f"{name}-store", list(args.get("keep", ())), child)
        common: dict[str, Any] = {"platform": platform, "store": store, "problem": problem}

        dataset = Preprocessing(
            f"{name}-preprocess", PreprocessingArgs(**common, **args.get("preprocessing", {})), child
        )
        study = Tuning(
            f"{name}-tune",
            TuningArgs(**common, dataset=_sealed(dataset), **args.get("tuning", {})),
            child,
        )
        model = Training(
            f"{name}-train",
            TrainingArgs(**common, dataset=_sealed(dataset), study=_sealed(study), **args.get("training", {})),
            child,
        )
        chosen, self.decision = _sealed(model), pulumi.Output.from_input({})
        comparison = args.get("comparison")
        if comparison is not None:
            better = Comparison(
                f"{name}-compare",
                ComparisonArgs(**common, dataset=_sealed(dataset), candidate=chosen, **comparison),
                child,
            )
            chosen, self.decision = _sealed(better), better.decision
        served = Endpoint(
            f"{name}-serve",
            EndpointArgs(
                platform=platform,
                model=chosen,
                model_name=model_name(problem),
                **args.get("endpoint", {}),
            ),
            child,
        )
        self.endpoint, self.console = served.model_url, pulumi.Output.concat(served.url, "/")
        self.model_digest = pulumi.Output.from_input(chosen["digest"])
        self.dataset_digest, self.study_digest = dataset.digest, study.digest
        self.rows, self.metrics = dataset.counts, model.metrics
        self.report, self.study_report = dataset.report, study.report
        self.model_card = platform.page(pulumi.Output.concat(chosen["path"], "/card.html"))
        self.tensorboard = model.tensorboard
        self.register_outputs({key: getattr(self, key) for key in Pipeline.__annotations__})


def _sealed(stage: Preprocessing | Tuning | Training | Comparison) -> ArtifactArgs:
    return {"path": stage.path, "digest": stage.digest}
