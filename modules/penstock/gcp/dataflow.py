"""Beam on Dataflow: who its workers are, where they stand, and the options with which a pipeline finds them."""

from collections.abc import Mapping, Sequence

import pulumi
from typing_extensions import NotRequired, TypedDict

from penstock.gcp import compute

TAG = "dataflow"
"""Network tag that Google gives Dataflow's workers."""
RUN = "--labels=run="
"""How the option begins that says which run a job belongs to."""


class DataflowPreprocessingArgs(TypedDict):
    """Where a pipeline runs."""

    project: str
    """The project."""
    region: str
    """Region."""
    network: pulumi.Input[str]
    """Link of the network."""
    subnetwork: pulumi.Input[str]
    """Link of the subnetwork."""
    bucket: pulumi.Input[str]
    """Bucket for temporary files."""
    worker_service_account: pulumi.Input[str]
    """E-mail of the account that workers run as."""
    image: str
    """The trainer's image, pinned by digest: workers run the same code as the launcher."""
    max_workers: NotRequired[int]
    """Workers at most. Default: 8."""
    encryption_key: NotRequired[str | None]
    """One's own key for what the job keeps between its steps. Default: Google's."""
    labels: NotRequired[Mapping[str, str]]
    """Labels of the job and its machines."""


class DataflowPreprocessing(pulumi.ComponentResource):
    """The firewall rule that workers need among themselves, and the pipeline's options."""

    options: list[pulumi.Input[str]]
    """Beam's options: append them to a pipeline's arguments."""

    def __init__(self, name: str, args: DataflowPreprocessingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:gcp:DataflowPreprocessing", name, None, opts)
        compute.Firewall(
            f"{name}-workers",
            pulumi.ResourceOptions(parent=self),
            name=f"{name}-workers",
            network=args["network"],
            direction="INGRESS",
            allows=[{"protocol": "tcp", "ports": ["12345-12346"]}],
            source_tags=[TAG],
            target_tags=[TAG],
        )
        self.options = pipeline_options(args)
        self.register_outputs({"options": self.options})


def of_run(command: Sequence[str], run: str) -> list[str]:
    """A launcher's command by which the job bears the run's own label, as pods do, where Beam's options give it one."""
    return [f"{RUN}{run}" if argument.startswith(RUN) else argument for argument in command]


def pipeline_options(args: DataflowPreprocessingArgs) -> list[pulumi.Input[str]]:
    """Beam's options for a private, labelled job that runs the trainer's own image."""
    key = args.get("encryption_key")
    return [
        f"--project={args['project']}",
        f"--region={args['region']}",
        pulumi.Output.concat("--temp_location=gs://", args["bucket"], "/tmp/dataflow"),
        pulumi.Output.concat("--staging_location=gs://", args["bucket"], "/tmp/staging"),
        pulumi.Output.concat("--subnetwork=", args["subnetwork"]),
        "--no_use_public_ips",
        pulumi.Output.concat("--service_account_email=", args["worker_service_account"]),
        f"--sdk_container_image={args['image']}",
        f"--max_num_workers={args.get('max_workers', 8)}",
        "--experiments=use_runner_v2",
        *([f"--dataflow_kms_key={key}"] if key else []),
        *(f"--labels={key}={value}" for key, value in sorted(args.get("labels", {}).items())),
    ]
