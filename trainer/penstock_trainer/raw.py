"""The raw files of a bundled problem, as an artifact.

python -m penstock_trainer raw --problem flights --artifacts artifacts
"""

from pathlib import Path

from penstock_trainer import artifacts
from penstock_trainer.errors import InputError
from penstock_trainer.problem import load_problem
from penstock_trainer.stages import Stage, code_digest


def run_stage(reference: str, root: Path, rows: int | None, shards: int) -> None:
    """Write the raw files as `shards` files, `rows` of them spread evenly or all when None, and seal them."""
    problem = load_problem(reference)
    if problem.raw is None:
        raise InputError(f"problem {problem.name!r} bundles no raw data; name your own files in `raw`")
    stage = Stage("raw", root, {}, {"rows": rows, "shards": shards}, code_digest("raw", problem, problem.raw))
    manifest = stage.finished()
    if manifest:
        stage.report(manifest, reused=True)
        return
    with artifacts.building(root, stage.kind, stage.key) as directory:
        written = problem.raw(directory, rows, shards)
        print(f"{written:,} rows written", flush=True)
        manifest = stage.seal(directory, counts={"rows": written})
    stage.report(manifest, reused=False)
