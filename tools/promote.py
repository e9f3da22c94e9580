"""Moves digests from one stack's file to another's, so that a commit is a promotion.

promote.py SOURCE TARGET [MODEL_DIGEST]      prints the commit's message

The images of both programs go along; the model does where TARGET serves one that another stack has made, by the digest
given, which is SOURCE's output `model_digest`. Every other line stays as it is.
"""

import re
import sys
from pathlib import Path

import settings_check
from common import ToolError
from settings import SettingsError

IMAGES = ("trainer_image", "server_image")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def moved(source: str, target: str, model: str | None) -> tuple[str, dict[str, str]]:
    """`target`, the text of a stack's file, with the digests of `source`'s, and what each field is now."""
    lines = target.splitlines(keepends=True)
    wanted = {name: _image(source, name) for name in IMAGES}
    if model is not None:
        if not DIGEST.fullmatch(model):
            raise ToolError(f"{model!r} is no digest: expected sha256: and 64 hexadecimal digits")
        wanted["model"] = model
    changed: dict[str, str] = {}
    for at, line in enumerate(lines):
        for name, value in wanted.items():
            found = re.match(rf"(\s+{name}: *)(\S+)(.*)", line, re.DOTALL)
            if found and found.group(2) != value:
                lines[at] = f"{found.group(1)}{value}{found.group(3)}"
                changed[name] = value
    missing = [name for name in wanted if not re.search(rf"^\s+{name}:", target, re.MULTILINE)]
    if missing:
        raise ToolError(f"the target names no {', '.join(missing)}: there is nothing to move the digest to")
    return "".join(lines), changed


def message(source: str, target: str, changed: dict[str, str]) -> str:
    """The commit's."""
    rows = [f"{name}: {value.rpartition('@')[2]}" for name, value in changed.items()]
    return "\n".join([f"Promote {source} to {target}", "", *rows])


def _image(source: str, name: str) -> str:
    found = re.search(rf"^\s+{name}: *(\S+)", source, re.MULTILINE)
    if not found or not DIGEST.search(found.group(1)):
        raise ToolError(f"the source names no {name} by digest")
    return found.group(1)


def promote(source: str, target: str, model: str | None) -> str:
    """Writes the target's file where something changes; the commit's message, empty where nothing does."""
    files = {stack: settings_check.config_file(stack) for stack in (source, target)}
    texts = {stack: _text(file) for stack, file in files.items()}
    text, changed = moved(texts[source], texts[target], model)
    if not changed:
        return ""
    before = texts[target]
    files[target].write_text(text, encoding="utf-8")
    try:
        settings_check.check(target)
    except SettingsError:
        files[target].write_text(before, encoding="utf-8")
        raise
    return message(source, target, changed)


def _text(file: Path) -> str:
    if not file.exists():
        raise ToolError(f"there is no file of a stack at {file}")
    return file.read_text(encoding="utf-8")


def main() -> None:
    """`promote.py SOURCE TARGET [MODEL_DIGEST]`."""
    match sys.argv[1:]:
        case [source, target]:
            print(promote(source, target, None))
        case [source, target, model]:
            print(promote(source, target, model))
        case arguments:
            raise ToolError(f"promote.py takes SOURCE TARGET [MODEL_DIGEST]; not {' '.join(arguments)!r}")


if __name__ == "__main__":
    try:
        main()
    except (ToolError, SettingsError) as exc:
        sys.exit(f"error: {exc}")
