"""Penstock: Pulumi components that carry a table of raw data to a served TensorFlow model."""

from penstock.arguments import KubernetesPlatformArgs, LocalPlatformArgs, PlatformArgs
from penstock.comparison import Comparison, ComparisonArgs
from penstock.endpoint import Endpoint, EndpointArgs
from penstock.errors import PenstockError, ServiceFailed, StageFailed, StageInterrupted
from penstock.local import LocalPlatform
from penstock.monitoring import Monitoring, MonitoringArgs
from penstock.pipeline import Pipeline, PipelineArgs
from penstock.platform import Artifact, ArtifactArgs, Job, Platform, Program, Resources, Role, Service
from penstock.preprocessing import Preprocessing, PreprocessingArgs
from penstock.training import Training, TrainingArgs
from penstock.tuning import Tuning, TuningArgs

__all__ = [
    "Artifact",
    "ArtifactArgs",
    "Comparison",
    "ComparisonArgs",
    "Endpoint",
    "EndpointArgs",
    "Job",
    "KubernetesPlatformArgs",
    "LocalPlatform",
    "LocalPlatformArgs",
    "Monitoring",
    "MonitoringArgs",
    "PenstockError",
    "Pipeline",
    "PipelineArgs",
    "Platform",
    "PlatformArgs",
    "Preprocessing",
    "PreprocessingArgs",
    "Program",
    "Resources",
    "Role",
    "Service",
    "ServiceFailed",
    "StageFailed",
    "StageInterrupted",
    "Training",
    "TrainingArgs",
    "Tuning",
    "TuningArgs",
]
