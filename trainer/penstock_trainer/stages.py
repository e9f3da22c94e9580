"""What every stage shares: its key, its result, and the paths and flags of the command line.

A stage is a function from digests to a digest: its key is derived from what goes in, so finished work is found and not
done again.
"""

import ast
import inspect
import json
import os
import resource
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from penstock_trainer.artifacts import Manifest, artifact_path, digest_of, file_digest, find, seal, write_atomically
from penstock_trainer.problem import Problem, function_digest

RESULT_BYTES = 4096
"""What a kubelet keeps of a container's last words, by which a result gets out of a pod."""


@dataclass(frozen=True)
class Stage:
    """One run of a stage: the kind of artifact it makes, and all that its outcome depends on."""

    kind: str
    root: Path
    inputs: Mapping[str, str]
    parameters: Mapping[str, Any]
    code: str

    @property
    def key(self) -> str:
        """The artifact's name: 16 hexadecimal digits of the digest of what goes in."""
        made_of = {"kind": self.kind, "inputs": self.inputs, "parameters": self.parameters, "code": self.code}
        return digest_of(made_of).removeprefix("sha256:")[:16]

    @property
    def path(self) -> Path:
        """Where the artifact is or will be."""
        return artifact_path(self.root, self.kind, self.key)

    @property
    def scratch(self) -> Path:
        """A folder for what only this run, or the one that resumes it, needs; it is no part of the artifact."""
        return self.path.with_name(f".{self.key}.scratch")

    @contextmanager
    def fresh_scratch(self) -> Iterator[None]:
        """`scratch`, emptied, for a stage that does not resume; gone afterwards, whatever happened."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        try:
            yield
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def finished(self) -> Manifest | None:
        """The artifact's manifest where an earlier run sealed it and it still verifies; says so to the person
        watching.
        """
        manifest = find(self.root, self.kind, self.key)
        if manifest:
            print(f"already done: {self.path}", flush=True)
        return manifest

    def seal(self, directory: Path, *, counts: Mapping[str, int], metrics: Mapping[str, Any] | None = None) -> Manifest:
        """Seal `directory`, in which this run's artifact was built."""
        return seal(
            directory,
            kind=self.kind,
            inputs=self.inputs,
            code=self.code,
            parameters=self.parameters,
            counts=counts,
            metrics=metrics,
        )

    def report(self, manifest: Manifest, *, reused: bool, left: tuple[Path, str] | None = None) -> None:
        """Write the result to the file that `PENSTOCK_RESULT` names, if it does, as the last act.

        Where it would be longer than `RESULT_BYTES`, the largest of the metrics are left to the artifact's manifest.

        `left`: folder and digest of what the next stage takes, where that is another artifact.
        """
        path, digest = left or (self.path, manifest.digest)
        shutil.rmtree(self.scratch, ignore_errors=True)
        result: dict[str, Any] = {
            "kind": self.kind,
            "path": str(path.resolve()),
            "digest": digest,
            "reused": reused,
            "counts": dict(manifest.counts),
            "metrics": dict(manifest.metrics),
            "peak_memory_mib": peak_memory_mib(),
        }
        while len(content := json.dumps(result).encode()) > RESULT_BYTES and result["metrics"]:
            del result["metrics"][max(result["metrics"], key=lambda name: len(json.dumps(result["metrics"][name])))]
        if os.environ.get("PENSTOCK_RESULT"):
            _leave(Path(os.environ["PENSTOCK_RESULT"]), content)
        seal = f"{self.kind} {manifest.digest[:19]}: {self.path}"
        print(f"{seal} (peak memory {result['peak_memory_mib']:,} MiB)", flush=True)


def _leave(target: Path, content: bytes) -> None:
    """Write the result; a file that is there already may be a container's mount, which nothing can be renamed over."""
    if target.exists():
        target.write_bytes(content)
    else:
        write_atomically(target, content)


def code_digest(module: str, problem: Problem | None, *functions: Any) -> str:
    """Digest of the code a stage runs: `module` of this package, all of the package it imports, and the problem's
    `functions`, where it has one, with what of the package they import themselves.
    """
    package = Path(__file__).parent
    seen: dict[str, str] = {}

    def visit(name: str) -> None:
        path = package / f"{name.replace('.', '/')}.py"
        if name not in seen and path.is_file():
            seen[name] = file_digest(path)
            follow(path.read_text())

    def follow(source: str) -> None:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{package.name}."):
                inner = str(node.module).removeprefix(package.name).removeprefix(".")
                for name in (inner, *(f"{inner}.{alias.name}".removeprefix(".") for alias in node.names)):
                    visit(name)

    visit(module)
    for function in functions:
        if function is not None and function.__name__ != "<lambda>":
            follow(textwrap.dedent(inspect.getsource(function)))
    return digest_of(
        {"modules": seen, "functions": function_digest(*functions), "problem": problem.name if problem else None}
    )


def fingerprint(problem: Problem) -> dict[str, Any]:
    """What of a problem's declaration tuning and training depend on, beside its functions."""
    return {
        "features": [repr(feature) for feature in problem.features],
        "hyperparameters": {name: repr(value) for name, value in problem.hyperparameters.items()},
        "label": problem.label.name,
        "head": problem.label.head,
        "classes": list(problem.label.classes),
    }


def write_lineage(directory: Path, manifests: Mapping[str, Manifest], upstream: Path | None = None) -> None:
    """Write the manifests of what an artifact was made from, and copy those in `upstream`'s own lineage."""
    lineage = directory / "lineage"
    if upstream and (upstream / "lineage").exists():
        shutil.copytree(upstream / "lineage", lineage)
    lineage.mkdir(exist_ok=True)
    for kind, manifest in manifests.items():
        (lineage / f"{kind}.json").write_text(json.dumps(asdict(manifest), sort_keys=True))


def peak_memory_mib() -> int:
    """The most memory this process has held resident so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))


def is_deciding_role() -> bool:
    """Whether this process is the one that seals and reports: the chief, or the only one there is."""
    return os.environ.get("PENSTOCK_ROLE", "chief") == "chief"
