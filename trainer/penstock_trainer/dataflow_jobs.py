"""A pipeline's job on Dataflow, which outlives whoever launched it: it is found again by its name and waited for, so it
is never launched a second time, nor done again because it ended while nobody looked.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from penstock_trainer import artifacts, files

DIGITS = 8


class Found(NamedTuple):
    """A job of that name."""

    result: Any
    """Beam's view of it: `state`, `wait_until_finish`."""
    active: bool
    """Whether it may still write."""


def name(key: str, scratch: str) -> str:
    """The name of a stage's job: the same for the same inputs in the same place, and no other's."""
    return f"penstock-{key}-{artifacts.digest_of(scratch).removeprefix('sha256:')[:DIGITS]}"


def found(options: Sequence[str]) -> Found | None:
    """The youngest job of the name in Beam's `options`; None: there was none, or Dataflow has forgotten it."""
    from apache_beam.runners.dataflow.dataflow_runner import DataflowPipelineResult, DataflowRunner
    from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient
    from google.cloud.dataflow_v1beta3 import types

    parsed = PipelineOptions(list(options))
    cloud, runner = parsed.view_as(GoogleCloudOptions), DataflowRunner()
    if not cloud.job_name:
        return None
    client: Any = DataflowApplicationClient(parsed)
    request = types.ListJobsRequest(project_id=cloud.project, location=cloud.region, name=cloud.job_name)
    # Beam's own look-up by name does not see a job that has not begun, and never ends where there is none.
    jobs = [job for job in client._jobs_client.list_jobs(request) if job.name == cloud.job_name]
    if not jobs:
        return None
    runner.dataflow_client = client
    ended = {f"JOB_STATE_{state}" for state in ("DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINED")}
    active = [job for job in jobs if job.current_state.name not in ended]
    youngest = max(active or jobs, key=lambda job: job.create_time)
    return Found(DataflowPipelineResult(youngest, runner, parsed), bool(active))


def delete_scratch(scratch: str, last: str, options: Sequence[str]) -> None:
    """Deletes what a job left in the folder `scratch`, unless it may still be at work there.

    `last` is the file by which its output is known to be whole: it goes first.
    """
    known = found(options)
    if known is None or not known.active:
        for path in files.find(f"{scratch}/{last}", ("",)):
            files.delete_file(path)
        files.delete_folder(scratch)
