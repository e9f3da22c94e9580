"""Builds the images of a stack on Google Cloud, pushes them to the repository that its file names them in, and writes
their digests there.

images.py STACK

Each step is an ordinary command of Docker's. Not run against a registry where this was written.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import google_stack
import settings_check
from common import PROJECT, ToolError, say
from settings import SettingsError

from penstock.gcp.environment import Environment

BASES = PROJECT / "tools" / "images.json"
"""Digests of the images that ours are built on; null: not looked up yet."""
IMAGES = {"trainer": "trainer_image", "serving": "server_image"}
"""By the folder whose Dockerfile it is: the setting that names it."""
ARGUMENT = re.compile(r"^ARG (PYTHON|BEAM)=(\S+)$", re.MULTILINE)
PINNED = re.compile(r"^sha256:[0-9a-f]{64}$")


def docker(*arguments: str) -> str:
    """Runs Docker; its standard output. What it says besides is for the person."""
    try:
        done = subprocess.run(["docker", *arguments], cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=False)
    except OSError as exc:
        raise ToolError(f"cannot run docker: {exc.strerror}") from exc
    if done.returncode != 0:
        raise ToolError(f"`docker {' '.join(arguments)}` failed (exit code {done.returncode})")
    return done.stdout.strip()


def digest_of(image: str, name: str) -> str:
    """The digest by which a registry knows a local image under `name`."""
    known: list[str] = json.loads(docker("image", "inspect", "--format", "{{json .RepoDigests}}", image))
    found = [each.rpartition("@")[2] for each in known if each.startswith(f"{name}@")]
    if not found or not PINNED.match(found[0]):
        raise ToolError(f"docker knows no digest of {image} at {name}; it knows {known}")
    return found[0]


def bases(folder: str) -> dict[str, str]:
    """The build arguments by which an image's bases are pinned; a digest that is not known is looked up and kept."""
    recorded: dict[str, str | None] = json.loads(BASES.read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    for argument, image in ARGUMENT.findall((PROJECT / folder / "Dockerfile").read_text(encoding="utf-8")):
        name = image.rpartition(":")[0]
        digest = recorded.get(image)
        if digest is None:
            docker("pull", "--quiet", image)
            digest = recorded[image] = digest_of(image, name)
            BASES.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        found[argument] = f"{name}@{digest}"
    return found


def build(folder: str, place: str) -> str:
    """Builds and pushes one image; its name by digest."""
    pinned = [part for name, value in bases(folder).items() for part in ("--build-arg", f"{name}={value}")]
    dockerfile = f"{folder}/Dockerfile"
    made = docker("build", "--quiet", "--platform", "linux/amd64", "-f", dockerfile, *pinned, ".")
    name = f"{place}/{folder}"
    # The repository's tags never move: what is built again to the same image is pushed again under the same tag.
    tagged = f"{name}:{made.rpartition(':')[2][:12]}"
    docker("tag", made, tagged)
    docker("push", "--quiet", tagged)
    return f"{name}@{digest_of(tagged, name)}"


def write(file: Path, names: Mapping[str, str]) -> None:
    """Puts the names into a stack's file; all else in it stays as it is, its comments too."""
    text = file.read_text(encoding="utf-8")
    for setting, name in names.items():
        text, count = re.subn(rf"^(\s+{setting}:) \S+", rf"\g<1> {name}", text, flags=re.MULTILINE)
        if count != 1:
            raise ToolError(f"{file} has {count} lines `{setting}: ...`; expected one below `penstock:gcp`")
    file.write_text(text, encoding="utf-8")


def made(environment: Environment) -> dict[str, str]:
    """All of it but the writing: the images' names by setting."""
    named = {folder: getattr(environment, setting) for folder, setting in IMAGES.items()}
    places = {folder: name.partition("@")[0].rpartition("/")[0] for folder, name in named.items()}
    return {setting: build(folder, places[folder]) for folder, setting in IMAGES.items()}


def main() -> None:
    """Names the images in the end."""
    match sys.argv[1:]:
        case [stack]:
            pass
        case arguments:
            raise ToolError(f"images.py takes STACK; not {' '.join(arguments)!r}")
    environment = google_stack.chosen(settings_check.check(stack))
    if environment is None:
        raise ToolError(f"stack {stack} is not on Google Cloud, whose repository the images are for")
    names = made(environment)
    write(PROJECT / "stacks" / f"Pulumi.{stack}.yaml", names)
    for setting, name in names.items():
        say(f"{setting}: {name}")


if __name__ == "__main__":
    try:
        main()
    except (ToolError, SettingsError) as exc:
        sys.exit(f"error: {exc}")
