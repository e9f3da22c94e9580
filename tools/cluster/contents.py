"""The project's images as their Dockerfiles say, built by Debian's buildah: without a daemon, without a registry.

Both bases are made here. Debian 12's own Python 3.11 stands in for `python:3.11-slim`. Of Beam's image there is what
ours takes of it: the program that Dataflow's workers start, built from Beam's Go module.
"""

import json
import os
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import go_build
from common import PROJECT, ToolError, run, say

from cluster import packages

BUILDS = ("trainer", "serving")
PACKAGES = ("python3-venv", "python-is-python3", "ca-certificates")
UNUSED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
BOOT = (PROJECT / "tools" / "beam", "github.com/apache/beam/sdks/v2/python/container")
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
"""This machine's, by which pip knows the package index; the image keeps Debian's own."""
MEGA = 1_000_000


@dataclass(frozen=True)
class Built:
    """One image as a node takes it in."""

    name: str
    """With the digest, as a pod names it."""
    archive: Path
    pulled_mb: float
    """What a node without any of it downloads."""
    base_mb: float
    """How much of that is the base's."""


def missing() -> str:
    """Why the images cannot be built here; empty where they can."""
    if os.geteuid() != 0:
        return "building the images needs root"
    absent = [tool for tool in ("buildah", "mmdebstrap") if not shutil.which(tool)]
    return f"the images are built by {' and '.join(absent)}: `apt-get install {' '.join(absent)}`" if absent else ""


def prepare() -> dict[str, Built]:
    """The images by the folders whose Dockerfiles they are; built where the cache does not have them."""
    if why := packages.missing() or missing():
        raise ToolError(why)
    return {name: _image(name) for name in BUILDS}


def _image(name: str) -> Built:
    base = go_build.cached("image-base", [*PACKAGES, *UNUSED], _base) / "base.tar"
    copied = BUILDS if name == "serving" else (name,)
    sources = [path for each in copied for path in sorted((PROJECT / each / f"penstock_{each}").rglob("*.*"))]
    sources = [path for path in sources if path.suffix != ".pyc"]
    recipe = [PROJECT / name / "Dockerfile", *sorted((PROJECT / name).glob("requirements*.txt"))]

    def make(folder: Path) -> None:
        say(f"building the {name} image from its Dockerfile: up to 10 minutes")
        _build(name, base, folder)

    folder = go_build.cached(f"image-{name}", [Path(__file__), PROJECT / ".dockerignore", *recipe, *sources], make)
    return Built(archive=folder / "image.tar", **json.loads((folder / "image.json").read_text()))


def _base(folder: Path) -> None:
    say("making the images' base of Debian's packages: 2 minutes")
    unused = [f"--dpkgopt=path-exclude={pattern}" for pattern in UNUSED]
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", *unused]
    run([*command, "bookworm", folder / "base.tar"], "making the images' base")


def _build(name: str, base: Path, folder: Path) -> None:
    # Not in /tmp, which may be memory.
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        place = Path(temporary)
        boot = place / "beam" / "opt" / "apache" / "beam" / "boot"
        boot.parent.mkdir(parents=True)
        go_build.build(*BOOT, boot)
        buildah = _Buildah(place / "store")
        buildah.import_("python", base)
        buildah.import_("beam", place / "beam")
        buildah.run(
            *("bud", "--pull-never", "--format", "oci", "--timestamp", "0", "--file", f"{name}/Dockerfile"),
            *("--volume", f"{AUTHORITIES}:{AUTHORITIES}:ro", "--tag", name),
            *(f"--build-arg={argument.upper()}=localhost/{argument}" for argument in ("python", "beam")),
            str(PROJECT),
        )
        (place / "oci").mkdir()
        for image in ("python", name):
            buildah.run("push", "--quiet", f"localhost/{image}", f"oci:{place / 'oci' / image}")
        described = _named(place / "oci" / name, f"registry.test/penstock-{name}")
        sizes = {"pulled_mb": _size(place / "oci" / name), "base_mb": _size(place / "oci" / "python")}
        with tarfile.open(folder / "image.tar", "w") as archive:
            archive.add(place / "oci" / name, arcname=".")
    (folder / "image.json").write_text(json.dumps({"name": described, **sizes}))


class _Buildah:
    """buildah with a store of its own."""

    def __init__(self, store: Path) -> None:
        self._store = store

    def run(self, command: str, *arguments: str) -> None:
        # Neither needs a runtime or an overlay, which a container may not have.
        own = ["--root", str(self._store), "--runroot", f"{self._store}-run", "--storage-driver", "vfs"]
        isolated = {"BUILDAH_ISOLATION": "chroot"}
        run(["buildah", *own, command, *arguments], f"buildah {command}", isolated, cwd=PROJECT)

    def import_(self, name: str, content: Path) -> None:
        """Makes an image of a tar or a folder."""
        self.run("from", "--name", name, "scratch")
        self.run("add", "--quiet", name, str(content), "/")
        self.run("commit", "--quiet", "--rm", "--timestamp", "0", name, f"localhost/{name}")


def _named(layout: Path, repository: str) -> str:
    """Has a node know the image by its digest."""
    index = json.loads((layout / "index.json").read_text())
    name = f"{repository}@{index['manifests'][0]['digest']}"
    index["manifests"][0]["annotations"] = {"io.containerd.image.name": name}
    (layout / "index.json").write_text(json.dumps(index))
    return name


def _size(layout: Path) -> float:
    index = json.loads((layout / "index.json").read_text())
    blob = layout / "blobs" / index["manifests"][0]["digest"].replace(":", "/")
    layers = json.loads(blob.read_text())["layers"]
    return round(sum(layer["size"] for layer in layers) / MEGA, 1)
