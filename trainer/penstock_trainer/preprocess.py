"""Preprocessing: raw files to a sealed dataset, by one Apache Beam pipeline over every row.

    python -m penstock_trainer preprocess --problem flights --raw data/*.csv --artifacts artifacts

About 9 seconds for the 336,776 flights on two cores, 5 of them to import TensorFlow and Beam.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from penstock_trainer import artifacts, beam_pipeline, dataflow_jobs, files, graph, report, runners, sources
from penstock_trainer.errors import InputError
from penstock_trainer.problem import Problem, load_problem
from penstock_trainer.stages import Stage, code_digest, write_lineage
from penstock_trainer.statistics import read_statistics


def run_stage(
    reference: str,
    patterns: list[str],
    root: Path,
    bad_rows_allowed: float,
    processes: int | None = None,
    runner: str = "in-process",
    given: Sequence[str] = (),
) -> None:
    """Prepare the raw files that `patterns` name and seal the dataset.

    `runner` is one of `runners.BEAM_NAMES`, `given` are Beam's own options for it. In process, `processes` work side by
    side; None: one for every `runners.BYTES_PER_PROCESS` of raw files, up to one a core.

    Raises:
        InputError: no file matches, a file lacks a column, the problem's functions do not fit its columns, or more
            than the allowed share of rows is malformed.
    """
    runners.check_reach(runner, (), reference)
    if reference.endswith(".py"):
        reference = str(Path(reference).resolve())
    problem = load_problem(reference)
    paths = find_files(patterns)
    runners.check_reach(runner, paths)
    for path in paths:
        sources.check_file(path, problem.columns, problem.header)
    graph.check(problem)
    raw = raw_manifest(paths)
    parameters = {"bad_rows_allowed": bad_rows_allowed, "columns": {n: repr(c) for n, c in problem.columns.items()}}
    if problem.label.classes:
        parameters["classes"] = list(problem.label.classes)
    if problem.header:
        parameters["header"] = list(problem.header)
    parameters |= {"derived": {n: repr(c) for n, c in problem.derived.items()}, "split": repr(problem.split)}
    code = code_digest("preprocess", problem, problem.derive, problem.label.of)
    stage = Stage("dataset", root, {"raw": raw.digest}, parameters, code)
    manifest = stage.finished()
    if manifest:
        stage.report(manifest, reused=True)
        return
    size = sum(files.size(path) for path in paths)
    processes = processes or runners.processes_for(size)
    where = runner if runner == "dataflow" else f"{processes} processes" + (" of Prism" if runner == "prism" else "")
    print(f"{len(paths)} files, {size / 1e6:,.1f} MB, {where}", flush=True)
    with (
        stage.fresh_scratch(),
        dataflow_jobs.started(stage, runner, processes, given, beam_pipeline.LAST) as (scratch, options),
        artifacts.building(root, stage.kind, stage.key) as directory,
    ):
        counts = beam_pipeline.run(problem, reference, paths, directory, scratch, options)
        print(", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items()), flush=True)
        _refuse_bad_rows(counts, bad_rows_allowed, directory, stage)
        _refuse_no_training_rows(counts, problem)
        (directory / "report.html").write_text(report.page(problem, read_statistics(directory), counts))
        write_lineage(directory, {"raw": raw})
        manifest = stage.seal(directory, counts=counts)
    stage.report(manifest, reused=False)


def find_files(patterns: list[str]) -> list[str]:
    """The raw files that the patterns name: a file, those in a folder (`sources.ENDINGS`), or a glob.

    Raises:
        InputError: a pattern matches nothing.
    """
    found: set[str] = set()
    for pattern in patterns:
        named = files.find(pattern, sources.ENDINGS)
        if not named:
            raise InputError(f"raw: {pattern!r} matches no CSV or Parquet file")
        found.update(named)
    return sorted(found)


def raw_manifest(paths: list[str]) -> artifacts.Manifest:
    """The seal of the folder the files are all of, if it has one, else one made of the files' digests."""
    folder = Path(paths[0]).parent
    if (folder / artifacts.MANIFEST).exists():
        manifest = artifacts.verify(folder)
        if {str(folder / name) for name in manifest.files} == set(paths):
            return manifest
    return artifacts.Manifest(kind="raw", files={path: files.digest(path) for path in paths}, inputs={}, code="")


def _refuse_no_training_rows(counts: Mapping[str, int], problem: Problem) -> None:
    if not counts["training"]:
        others = ", ".join(f"{counts[name]:,} {name}" for name in ("validation", "test", "unlabelled"))
        raise InputError(
            f"no row is in the training split ({others}): move the split's dates in problem {problem.name!r}, or see "
            f"why the label {problem.label.name!r} is missing"
        )


def _refuse_bad_rows(counts: Mapping[str, int], allowed: float, directory: Path, stage: Stage) -> None:
    bad, rows = counts["dead_letter"], counts["rows"]
    if not rows:
        raise InputError("the raw files hold no rows")
    if bad <= allowed * rows:
        return
    kept = stage.root / "dead_letters" / f"{stage.key}.jsonl"
    kept.parent.mkdir(exist_ok=True)
    shutil.copyfile(directory / "dead_letters.jsonl", kept)
    first = json.loads(kept.read_text().splitlines()[0])
    column = f"column {first['column']!r}, " if first["column"] else ""
    raise InputError(
        f"{bad:,} of {rows:,} rows are malformed, {bad / rows:.2%}; allowed are {allowed:.2%} (bad_rows_allowed). "
        f"The first: {first['file']} line {first['line']}, {column}value {first['value']!r}: {first['reason']}. "
        f"All: {kept}"
    )
