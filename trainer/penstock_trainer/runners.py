"""Beam's runners by the names a user gives. The one that is named runs, or the run fails: Beam itself, left to choose,
would look for Prism's binary, try to download it, and fall back in silence.
"""

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, StandardOptions
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.util import Reshuffle

from penstock_trainer import capacity, files
from penstock_trainer.errors import InputError

BEAM_NAMES: Mapping[str, str] = {"in-process": "FnApiRunner", "prism": "PrismRunner", "dataflow": "DataflowRunner"}
NEEDED = ("project", "region", "temp_location", "sdk_container_image")
BYTES_PER_PROCESS = 512 << 20  # a process costs seconds to start: less than this is done sooner without it
MEMORY_PER_PROCESS = 5 << 28
"""1.25 GiB: what one takes at most, docs/measurements.md, and a little more."""
WORKER = """#!/bin/sh
exec '{python}' -m penstock_trainer.prism_worker "$@"
"""


def processes_for(size: int) -> int:
    """How many processes side by side are worth their start for raw files of so many bytes; at most one a core that
    this one may use, and no more than there is memory for.
    """
    return max(1, min(capacity.cores(), capacity.memory() // MEMORY_PER_PROCESS, size // BYTES_PER_PROCESS))


def scratch_name(runner: str, options: Sequence[str], key: str, local: Path) -> str:
    """Where the workers of a runner leave what they make: `local`, or for Dataflow a folder below `temp_location`."""
    if runner != "dataflow":
        return str(local)
    found = PipelineOptions(list(options)).get_all_options(drop_default=True)
    return f"{found['temp_location'].rstrip('/')}/penstock-{key}"


def is_in_process(options: Sequence[str]) -> bool:
    """Whether the in-process runner computes: it answers nothing until it is done, and its workers print where the user
    reads.
    """
    return PipelineOptions(list(options)).view_as(StandardOptions).runner == BEAM_NAMES["in-process"]


def environments_for(options: Sequence[str]) -> int:
    """Over how many environments a pipeline's work is to be `spread`: Prism starts one process for each, which does all
    of that environment's steps. The other runners have as many processes as they are told for one.
    """
    parsed = PipelineOptions(list(options))
    if parsed.view_as(StandardOptions).runner != BEAM_NAMES["prism"]:
        return 1
    return max(1, int(parsed.view_as(PortableOptions).sdk_worker_parallelism))


def spread(elements: Any, name: str, step: Callable[[], beam.PTransform], environments: int) -> Mapping[str, Any]:
    """`step`, which returns collections by name, on all elements, dealt out among so many environments."""
    if environments == 1:
        return elements | f"Spread {name}" >> Reshuffle() | f"Make of {name}" >> step()
    hands = [str(place) for place in range(environments)]
    dealt = elements | f"Deal {name}" >> beam.ParDo(_Deal(environments)).with_outputs(*hands)
    made: list[Mapping[str, Any]] = []
    for place, hand in enumerate(hands):
        own = step()
        if place:  # what is hinted at does not matter, but that steps of different hints are in different environments
            own = own.with_resource_hints(min_ram=f"{place}MB")
        made.append(dealt[hand] | f"Spread {name} {hand}" >> Reshuffle() | f"Make of {name} {hand}" >> own)
    return {key: [each[key] for each in made] | f"All {key} of {name}" >> beam.Flatten() for key in made[0]}


class _Deal(beam.DoFn):
    """Elements in turn to `hands` outputs, named by their numbers."""

    def __init__(self, hands: int):
        self.hands = hands

    def setup(self) -> None:
        self.next = 0

    def process(self, element: Any) -> Iterator[Any]:
        yield TaggedOutput(str(self.next), element)
        self.next = (self.next + 1) % self.hands


def check_reach(runner: str, paths: Sequence[str], problem: str = "") -> None:
    """Raise InputError where the runner's workers are on machines that do not reach a raw file or the problem."""
    local = [path for path in paths if not path.startswith(files.SCHEME)]
    if runner == "dataflow" and problem.endswith(".py"):
        raise InputError(
            f"runner 'dataflow': its workers have what is in their image, and the problem is the file {problem}; make "
            "it a module of a package that the image holds"
        )
    if runner == "dataflow" and local:
        raise InputError(f"runner 'dataflow': its workers do not reach {local[0]}; raw files must begin with gs://")


def beam_options(runner: str, processes: int, given: Sequence[str], scratch: Path) -> list[str]:
    """Beam's options for a runner: those it needs from us, and after them `given`, Beam's own as the user spells them.

    `in-process` computes in `processes` processes; `prism` in as many that Prism starts, whose binary is on PATH or
    `given` as `--prism_location`; `dataflow` on Google Cloud. `scratch` may take a file.

    Raises:
        InputError: `given` names another runner, or lacks what the runner needs.
    """
    found = PipelineOptions(list(given)).get_all_options(drop_default=True)
    if found.get("runner") not in (None, BEAM_NAMES[runner]):
        raise InputError(f"the runner is {runner!r}, and Beam's options name {found['runner']!r}")
    options = [f"--runner={BEAM_NAMES[runner]}"]
    if runner == "in-process" and processes > 1:
        options += ["--direct_running_mode=multi_processing", f"--direct_num_workers={processes}"]
    if runner == "prism":
        location = found.get("prism_location") or shutil.which("prism")
        if not location or not Path(location).is_file():
            raise InputError(
                f"runner 'prism': there is no {location or 'prism on PATH'}; `tools/python tools/go_programs.py prism` "
                "builds one and prints where it is; name it by `-- --prism_location=PATH`"
            )
        worker = scratch / "worker"
        worker.write_text(WORKER.format(python=sys.executable))
        worker.chmod(0o755)
        options += [f"--prism_location={location}", f"--sdk_worker_parallelism={processes}"]
        options += ["--environment_type=PROCESS"]
        options += [f'--environment_config={{"command": "{worker}"}}']
    if runner == "dataflow":
        lacking = [name for name in NEEDED if not found.get(name)]
        if lacking:
            raise InputError(f"runner 'dataflow' needs Beam's option --{lacking[0]}; give Beam's options after `--`")
        if not found["temp_location"].startswith(files.SCHEME):
            raise InputError(
                f"runner 'dataflow': --temp_location is {found['temp_location']}; it must begin with gs://"
            )
        # Workers load this package and the problem from the image, not from the launcher's session.
        options += ["--experiments=use_runner_v2", "--sdk_location=container"]
    return [*options, *given]
