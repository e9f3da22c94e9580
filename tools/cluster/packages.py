"""Debian's packages that a node runs pods with, unpacked into the user's cache and never installed."""

import hashlib
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

import go_build
from common import ToolError, run, say

PACKAGES = {
    "containerd=1.6.20~ds1-1+deb12u3": "8669d264eeb0fcdb4a0b1ba436ab88ec5dafde4a66e1278ec279d830db4c2216",
    "runc=1.1.5+ds1-1+deb12u1": "a00351f8c0318de0b424ecf5cd0fdb69880a89f3511cae4f6fff7de3e57881c5",
    "containernetworking-plugins=1.1.1+ds1-3+b5": "4cac8143474d1249b19f7b0e80b8d0daaa6dfdaa8bd514bc468d38d4a108099f",
    "iptables=1.8.9-2": "2928d3ca6ca8a3dc3f423f6752822b1f3614a5ba609ff7806bcba4449ffe90e1",
    "libip4tc2=1.8.9-2": "f2c48b367f9ec13f9aa577e7ccf81b371ce5d5fe22dddf9d7aa99f1e0bb7cfc4",
    "libip6tc2=1.8.9-2": "be88db3dfa2fe3345ea343207f7c75345602686121e579023d021c348b9b4f4d",
    "libxtables12=1.8.9-2": "cb841d66950a43af4a398625313d2f3da9065299c9738538de6c2c3495857040",
    "libseccomp2=2.5.4-1+deb12u1": "108fe67957ca7cf9ba51d801118a1b37d404bea7b6e365025cd00779e9eca38d",
}
TABLES = tuple(f"ip{six}tables{suffix}" for six in ("", "6") for suffix in ("", "-save", "-restore"))


def prepare() -> Path:
    """The folder that the packages are unpacked in; `usr/sbin` has iptables by its usual names."""
    return go_build.cached("kubernetes-node", [Path(__file__)], _unpack)


def environment(root: Path) -> dict[str, str]:
    """With which what is in the folder finds itself."""
    libraries = root / "usr/lib/x86_64-linux-gnu"
    return {
        "PATH": f"{root}/usr/sbin:{root}/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LD_LIBRARY_PATH": f"{libraries}:{root}/lib/x86_64-linux-gnu",
        "XTABLES_LIBDIR": f"{libraries}/xtables",
    }


def missing() -> str:
    """Why the packages cannot be had here; empty where they can."""
    if platform.machine() != "x86_64":
        return f"the packages of its nodes are for x86_64; this is {platform.machine()}"
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        system = {}
    if (system.get("ID"), system.get("VERSION_ID")) != ("debian", "12"):
        return f"its nodes are made of Debian 12's packages; this is {system.get('PRETTY_NAME', 'another system')}"
    absent = [tool for tool in ("apt-get", "dpkg-deb") if not shutil.which(tool)]
    return f"its nodes are made of Debian's packages, and there is no {' and no '.join(absent)}" if absent else ""


def unpack(packages: Mapping[str, str], folder: Path) -> None:
    """Fetches packages, SHA-256 by `name=version`, and unpacks them into a folder."""
    archives = folder / "archives"
    archives.mkdir()
    command = ["apt-get", "download", *packages]
    # apt gives the download up to a user of its own, who may not write everywhere.
    unboxed = ["-o", "APT::Sandbox::User=root"]
    try:
        run([*command, *unboxed], "fetching Debian's packages", cwd=archives)
    except ToolError:
        run(["apt-get", "update"], "reading Debian's lists of packages")
        run([*command, *unboxed], "fetching packages of Debian 12", cwd=archives)
    for archive in sorted(archives.iterdir()):
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found not in packages.values():
            raise ToolError(f"{archive.name} has SHA-256 {found}, which is not among those expected")
        run(["dpkg-deb", "--extract", archive, folder], f"unpacking {archive.name}")
    shutil.rmtree(archives)


def _unpack(folder: Path) -> None:
    say("fetching containerd, runc and the network plugins of Debian 12 for the test cluster's nodes, once: 36 MB")
    unpack(PACKAGES, folder)
    for name in TABLES:
        (folder / "usr/sbin" / name).unlink(missing_ok=True)
        (folder / "usr/sbin" / name).symlink_to("xtables-legacy-multi")
