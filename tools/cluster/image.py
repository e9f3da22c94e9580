"""Images without content: what a pod of the test cluster runs is the host's own, mounted read-only.

So manifests run as they are; what an image itself must hold, contents.py makes.
"""

import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import PROJECT, run

FOLDERS = ("tmp", "etc", "proc", "dev", "sys", "run")
LINKS = {name: f"usr/{name}" for name in ("bin", "sbin", "lib", "lib64")}
SANDBOX = ("/pause",)
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIGURATION = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class Image:
    """One image, and the archive by which a node has it."""

    name: str
    """With the digest, as a pod names it."""
    archive: bytes

    @classmethod
    def made(cls, repository: str, layer: bytes, **runs: Any) -> "Image":
        """An image of one layer, and what its configuration says of running it."""
        layers = {"type": "layers", "diff_ids": [_digest(layer)]}
        content = {"architecture": "amd64", "os": "linux", "config": runs, "rootfs": layers}
        configuration = json.dumps(content).encode()
        described = {"config": _described(CONFIGURATION, configuration), "layers": [_described(LAYER, layer)]}
        manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, **described}).encode()
        name = f"{repository}@{_digest(manifest)}"
        listed = {**_described(MANIFEST, manifest), "annotations": {"io.containerd.image.name": name}}
        index = json.dumps({"schemaVersion": 2, "manifests": [listed]}).encode()
        blobs = {f"blobs/sha256/{_digest(blob)[7:]}": blob for blob in (layer, configuration, manifest)}
        files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index, **blobs}
        return cls(name, _archive(files))


def images(pause: Path) -> dict[str, Image]:
    """The sandbox of every pod, which runs the program `pause`, and the project's two images."""
    holds = _archive({"pause": pause.read_bytes()})
    found = {"pause": Image.made("registry.test/pause", holds, Entrypoint=list(SANDBOX))}
    for name in ("trainer", "serving"):
        found[name] = bare(f"penstock-{name}", f"{PROJECT}/{name}/.venv/bin")
    return found


def bare(name: str, programs: str) -> Image:
    """An image whose containers find what they run in the machine's folder `programs`, and then in its usual ones."""
    layer = _archive({}, folders=FOLDERS, links=LINKS)
    return Image.made(f"registry.test/{name}", layer, Env=[f"PATH={programs}:/usr/local/bin:/usr/bin:/bin"])


def of_program(name: str, program: Path) -> Image:
    """An image that holds one program, which needs nothing else, and runs it as nobody in particular."""
    holds = _archive({name: program.read_bytes()})
    return Image.made(f"registry.test/{name}", holds, Entrypoint=[f"/{name}"], User="65532")


def mounted() -> list[Path]:
    """What of the host every container has: its programs, the interpreter, and the two environments."""
    _compile(PROJECT / "trainer/.venv")
    homes = {_home(PROJECT / name / ".venv") for name in ("trainer", "serving")} | {Path(sys.base_prefix)}
    own = [*sorted(homes), PROJECT / "trainer", PROJECT / "serving"]
    return [Path("/usr"), *(path for path in own if not path.is_relative_to("/usr"))]


def _compile(environment: Path) -> None:
    """Leaves bytecode in an environment that is new: no container may, and each would spend half a minute without."""
    if not any(environment.glob("lib/*/site-packages/tensorflow/__pycache__")):
        imports = [environment / "bin/python", "-c", "import tensorflow, keras, optuna, apache_beam"]
        run(imports, "compiling the trainer's environment", {"PYTHONDONTWRITEBYTECODE": ""})


def _home(environment: Path) -> Path:
    return (environment / "bin" / "python").resolve().parent.parent


def _described(kind: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _archive(
    files: Mapping[str, bytes], folders: tuple[str, ...] = (), links: Mapping[str, str] | None = None
) -> bytes:
    """A tar whose bytes depend on nothing but what is in it."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in folders:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            archive.addfile(entry)
        for name, to in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, to, 0o777
            archive.addfile(entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()
