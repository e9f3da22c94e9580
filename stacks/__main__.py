"""The program behind `pulumi up`: reads the stack's settings, picks the platform, and builds one pipeline."""

import sys

import pulumi
from platforms import chosen
from settings import Settings, SettingsError

from penstock import PenstockError, Pipeline, PipelineArgs
from penstock.naming import model_name
from penstock.pricing import told

OUTPUTS = (
    *("endpoint", "console", "tensorboard", "model_digest", "dataset_digest", "study_digest"),
    *("rows", "metrics", "report", "study_report", "model_card"),
)
ALREADY_REPORTED = 32  # tells Pulumi's language host that the person has seen the message


def build(s: Settings) -> None:
    """One pipeline on the stack's platform, and the stack's outputs."""
    platform = chosen(s)
    pulumi.export("model_name", model_name(s.problem))
    cost = platform.estimated_cost()
    pulumi.export("estimated_cost", cost)
    if "rows" in cost:
        # An output that stays the same is not shown; a price is, before every deployment.
        pulumi.log.info(told(cost))
    if s.promoted:
        from promotion import serve

        serve(s, platform)
        return
    stages = {
        "preprocessing": {"raw": s.raw, "rows": s.rows, "bad_rows_allowed": s.bad_rows_allowed},
        "tuning": s.tuning,
        "training": s.training,
        "comparison": s.comparison,
        "endpoint": s.endpoint(),
    }
    args = PipelineArgs(platform=platform, problem=s.problem, keep=s.keep, **stages)
    pipeline = Pipeline("flow", args)
    for output in OUTPUTS:
        pulumi.export(output, getattr(pipeline, output))
    if options := getattr(platform, "beam_options", None):
        pulumi.export("beam_options", options)
    if s.comparison is not None:
        pulumi.export("decision", pipeline.decision)


try:
    settings = Settings.from_config(pulumi.runtime.config.get_config_env())
    settings.refuse_plain(pulumi.runtime.config.is_config_secret)
    build(settings)
except (SettingsError, PenstockError) as exc:
    pulumi.log.error(str(exc))
    sys.exit(ALREADY_REPORTED)
