"""What `make cluster-up` and `make cluster-down` run, in the infrastructure environment."""

import fcntl
import sys
import time

from common import PROJECT, TOOLS, ToolError, say

from cluster import build, contents, kubelets, nodes, packages, router
from cluster.control_plane import ControlPlane
from penstock.command.project import Project

REAL = 2


def main(arguments: list[str]) -> None:
    """`python -m cluster build`, `up kwok`, `up kubelet`, `down`, or `images` (builds them; how large they are)."""
    plane = ControlPlane(Project(PROJECT).home / "cluster", bound=False)
    if arguments == ["build"]:
        # Two checks that begin at the same time need the same.
        with (TOOLS / "cluster.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            build.prepare()
            if not kubelets.missing():
                packages.prepare()
                router.binary()
    elif arguments == ["images"]:
        for name, made in contents.prepare().items():
            print(f"{name}: {made.pulled_mb} MB to pull, of which {made.base_mb} MB are the base's")
    elif arguments[:1] == ["up"] and arguments[1:] in (["kwok"], ["kubelet"]):
        begin = time.monotonic()
        if arguments[1] == "kubelet":
            plane.start([], kubelets=REAL)
        else:
            plane.start([*(nodes.cpu(index) for index in range(8)), *(nodes.gpu(index) for index in range(4))])
        say(f"the test cluster is up after {time.monotonic() - begin:.0f} s; `make cluster-down` ends it")
        print(f"export KUBECONFIG={plane.kubeconfig}")
    elif arguments == ["down"]:
        if not plane.folder.exists():
            say("there is no test cluster")
            return
        plane.stop()
        say("the test cluster is gone")
    else:
        raise ToolError(f"cluster takes build, images, down, and up with kwok or kubelet; not {' '.join(arguments)!r}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ToolError as exc:
        sys.exit(f"error: {exc}")
