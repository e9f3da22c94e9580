"""A pipeline's job on Dataflow, which outlives whoever launched it: it is found again by its name and waited for, so it
is never launched a second time, nor done again because it ended while nobody looked.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.runner import PipelineState

from penstock_trainer import artifacts, files, runners
from penstock_trainer.stages import Stage

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


@contextmanager
def started(
    stage: Stage, runner: str, processes: int, given: Sequence[str], last: str
) -> Iterator[tuple[str, list[str]]]:
    """Where a stage's workers leave what they make, and Beam's options.

    A job on Dataflow goes on when this process is told to end: what it left is deleted once the artifact is sealed, or
    the job has failed, and not before. `last` is the file of that folder by which it is known to be whole.
    """
    options = runners.beam_options(runner, processes, given, stage.scratch)
    scratch = runners.scratch_name(runner, options, stage.key, stage.scratch)
    if runner != "dataflow":
        yield scratch, options
        return
    options = [f"--job_name={name(stage.key, scratch)}", *options]
    try:
        yield scratch, options
    except Exception:
        _tidy(scratch, last, options)
        raise
    _tidy(scratch, last, options)


def is_whole(job: Found, last: str) -> bool:
    """Whether a job that has ended left all that there is to be, its `last` file too."""
    return job.result.state == PipelineState.DONE and bool(files.find(last, ("",)))


def _tidy(scratch: str, last: str, options: Sequence[str]) -> None:
    try:
        _delete(scratch, last, options)
    except Exception as exc:  # noqa: BLE001 - the stage's own outcome stands
        print(f"{scratch} is not deleted: {exc}", flush=True)


def _delete(scratch: str, last: str, options: Sequence[str]) -> None:
    """Deletes what a job left, its last file first, unless it may still be at work there."""
    known = found(options)
    if known is None or not known.active:
        for path in files.find(f"{scratch}/{last}", ("",)):
            files.delete_file(path)
        files.delete_folder(scratch)
