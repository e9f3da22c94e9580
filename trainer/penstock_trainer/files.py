"""Files on this machine, or in Google Cloud Storage by `gs://bucket/...` names.

Cloud files are read in ranges, by pyarrow's client of Cloud Storage, with the machine's default credentials; where
`STORAGE_EMULATOR_HOST` is set, as Google's own clients know it, from that emulator and with none.
"""

import base64
import glob
import io
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from penstock_trainer import artifacts

SCHEME = "gs://"
BUFFER = 1 << 16
COPIED = 1 << 20
SIDE_BY_SIDE = 8


def find(pattern: str, endings: tuple[str, ...]) -> list[str]:
    """The files that `pattern` names: a file, those of a folder that end in one of `endings`, or a glob; sorted."""
    if pattern.startswith(SCHEME):
        return _find_remote(pattern.removeprefix(SCHEME).rstrip("/"), endings)
    path = Path(pattern)
    if path.is_dir():
        return sorted(str(each) for each in path.iterdir() if each.is_file() and each.name.endswith(endings))
    found = [pattern] if path.is_file() else glob.glob(pattern, recursive=True)
    return sorted(name for name in found if Path(name).is_file())


def open_file(path: str) -> BinaryIO:
    """The file's bytes, from wherever one seeks."""
    if path.startswith(SCHEME):
        return io.BufferedReader(source(path), BUFFER)  # pyright: ignore[reportReturnType]
    return Path(path).open("rb")


def create_file(path: str) -> BinaryIO:
    """The file `path`, new or written over; a cloud file is there once it is closed."""
    if path.startswith(SCHEME):
        return _cloud().open_output_stream(path.removeprefix(SCHEME))
    return Path(path).open("wb")


def fetch_folder(folder: str, directory: Path) -> None:
    """Copy all below the cloud folder into `directory`, several files side by side."""
    cloud, root = _cloud(), folder.removeprefix(SCHEME)

    def fetch(path: str) -> None:
        target = directory / path.removeprefix(f"{root}/")
        target.parent.mkdir(parents=True, exist_ok=True)
        with cloud.open_input_stream(path) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, COPIED)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(fetch, _files_below(root)))


def send_folder(directory: Path, folder: str) -> None:
    """Copy all below `directory` into the cloud folder, several files side by side."""

    def send(path: Path) -> None:
        target = f"{folder}/{path.relative_to(directory).as_posix()}"
        with path.open("rb") as source, create_file(target) as file:
            shutil.copyfileobj(source, file, COPIED)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(send, [path for path in directory.rglob("*") if path.is_file()]))


def delete_file(path: str) -> None:
    """Delete the cloud file."""
    _cloud().delete_file(path.removeprefix(SCHEME))


def delete_folder(folder: str) -> None:
    """Delete all files below the cloud folder."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(_cloud().delete_file, _files_below(folder.removeprefix(SCHEME))))


def source(path: str) -> Any:
    """What a library opens by itself: the path of a local file, an open cloud file."""
    return _cloud().open_input_file(path.removeprefix(SCHEME)) if path.startswith(SCHEME) else path


def size(path: str) -> int:
    """Of the file, in bytes."""
    if path.startswith(SCHEME):
        return _cloud().get_file_info(path.removeprefix(SCHEME)).size
    return Path(path).stat().st_size


def digest(path: str) -> str:
    """`sha256:<hex>` of the file's bytes; of a cloud file `md5:<hex>`, which its store knows: it is not read."""
    if not path.startswith(SCHEME):
        return artifacts.file_digest(Path(path))
    with _cloud().open_input_file(path.removeprefix(SCHEME)) as file:
        known = {name.decode() if isinstance(name, bytes) else name: value for name, value in file.metadata().items()}
        if known.get("md5Hash"):
            return "md5:" + base64.b64decode(known["md5Hash"]).hex()
        return artifacts.stream_digest(file)  # one that was composed of several has no MD5


def _files_below(folder: str) -> list[str]:
    from pyarrow import fs

    found = _cloud().get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    return [each.path for each in found if each.is_file]


def _find_remote(pattern: str, endings: tuple[str, ...]) -> list[str]:
    from pyarrow import fs

    cloud = _cloud()
    if not re.search(r"[*?]", pattern):
        info = cloud.get_file_info(pattern)
        if info.type == fs.FileType.File:
            return [SCHEME + pattern]
        inside = cloud.get_file_info(fs.FileSelector(pattern, allow_not_found=True))
        return sorted(SCHEME + each.path for each in inside if each.is_file and each.path.endswith(endings))
    folder, _, rest = pattern[: re.search(r"[*?]", pattern).start()].rpartition("/")  # pyright: ignore[reportOptionalMemberAccess]
    deep = "/" in pattern[len(folder) + len(rest) + 1 :]
    parts = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    wanted = re.sub(r"\\\*\\\*/|\\\*|\\\?", lambda found: parts[found[0].replace("\\", "")], re.escape(pattern))
    listed = cloud.get_file_info(fs.FileSelector(folder, recursive=deep, allow_not_found=True))
    return sorted(SCHEME + each.path for each in listed if each.is_file and re.fullmatch(wanted, each.path))


def _cloud() -> Any:
    from pyarrow import fs

    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if not emulator:
        return fs.GcsFileSystem()
    scheme, _, host = emulator.rpartition("://")
    return fs.GcsFileSystem(anonymous=True, scheme=scheme or "http", endpoint_override=host.rstrip("/"))
