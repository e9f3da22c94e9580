"""Real nodes: kubelets with containerd's pods, each in namespaces of its own, on a network of their own."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from common import PROJECT, ToolError, run

from cluster import build, contents, control_groups, image, network, packages, router
from cluster.node import DOMAIN, SOCKET, Node
from cluster.processes import PATIENCE_SECONDS

if TYPE_CHECKING:
    from cluster.control_plane import ControlPlane

PROXY = "to-nodes.sock"
IMPORT_SECONDS = 900.0
"""How long a node may take to unpack images with content, of some gigabytes."""
PROGRAMS = ("unshare", "nsenter", "ip", "mount", "hostname")


def missing() -> str:
    """What this machine lacks for them, in words; empty where it lacks nothing."""
    if not sys.platform.startswith("linux"):
        return f"real nodes need Linux; this is {sys.platform}"
    if os.geteuid() != 0:
        return "real nodes need root, for namespaces and control groups of their own"
    if PROJECT.is_relative_to("/tmp"):
        return f"pods have a /tmp of their own, where they do not see this checkout, {PROJECT}"
    absent = [program for program in PROGRAMS if not shutil.which(program)]
    if absent:
        return f"real nodes need {', '.join(absent)} (Debian's util-linux, iproute2, mount, hostname)"
    spaces = ["unshare", "--mount", "--net", "--pid", "--uts", "--cgroup", "--fork", "--mount-proc", "true"]
    if subprocess.run(spaces, capture_output=True, check=False).returncode != 0:
        return (
            "real nodes need namespaces of their own, and this root may not make them (a container without privileges?)"
        )
    return packages.missing() or control_groups.missing()


class Kubelets:
    """The nodes `node-0`, `node-1`, ... of one control plane."""

    def __init__(self, plane: "ControlPlane", furnished: bool = False) -> None:
        self._plane, self._furnished = plane, furnished
        self._folder = plane.folder / "nodes"
        self._group = control_groups.group(plane.folder)
        self._server = f"https://{network.GATEWAY}:{network.SERVER_PORT}"

    def start(self, count: int, binaries: build.Binaries) -> None:
        """Returns once all nodes are ready."""
        self._binaries = binaries
        self._root = packages.prepare()
        router.stand_for_the_outside(self._plane)
        control_groups.sweep()
        self._folder.mkdir(mode=0o755)
        self._images: dict[str, str] = {}
        self._archives: list[str] = []
        for name, made in image.images(binaries.pause / "pause").items():
            target = self._folder / f"{name}.tar"
            target.write_bytes(made.archive)
            self._images[name] = made.name
            self._archives.append(str(target))
        self._mounts = image.mounted()
        if self._furnished:
            built = contents.prepare()
            self._images |= {name: made.name for name, made in built.items()}
            self._archives += [str(made.archive) for made in built.values()]
            self._mounts = []
        self._connect()
        for index in range(count):
            self.start_node(index)
        for index in range(count):
            self.wait(index)

    def start_node(self, index: int) -> None:
        """Starts a node, for the first time or after its power was cut; it registers itself."""
        name = f"node-{index}"
        authority = self._plane.authority
        if not authority.path(f"{name}.crt").exists():
            address = network.node_address(index)
            authority.sign(name, f"system:node:{name}", ("system:nodes",), addresses=(address,))
        folder = self._folder / name
        # What a node had on its disk would come back with it; here it is a new machine of the old name.
        shutil.rmtree(folder, ignore_errors=True)
        described = Node(
            index=index,
            name=name,
            folder=str(folder),
            group=f"{self._group}/{name}",
            components=str(self._binaries.kubernetes),
            sandbox=self._images["pause"],
            archives=self._archives,
            mounts=[str(path) for path in self._mounts],
            authority=str(authority.path("ca.crt")),
            certificate=str(authority.path(f"{name}.crt")),
            key=str(authority.path(f"{name}.key")),
            kubeconfig=str(authority.kubeconfig(name, self._server)),
            proxy_kubeconfig=str(authority.path("kube-proxy.kubeconfig")),
        ).write()
        environment = {**packages.environment(self._root), "PYTHONPATH": f"{PROJECT}/tools:{PROJECT}/modules"}
        command = ["-m", "cluster.node", str(described)]
        self._plane.processes.start(name, Path(sys.executable), arguments=command, environment=environment)
        self._plug_in(index)

    def wait(self, index: int) -> None:
        """Returns once a node is ready, and NetworkPolicies are enforced on it."""
        name = f"node-{index}"
        path = '{.status.conditions[?(@.type=="Ready")].status}'
        asked = ("get", "node", name, "--ignore-not-found", "--output", f"jsonpath={path}")
        patience = IMPORT_SECONDS if self._furnished else PATIENCE_SECONDS
        self._plane.processes.wait(name, lambda: self._plane.kubectl(*asked) == "True", patience)
        router.start(self._plane, index)

    def cut(self, index: int) -> None:
        """Cuts a node's power."""
        first = self._first(index)
        self._plane.processes.kill(f"node-{index}")
        while psutil.pid_exists(first):
            time.sleep(0.05)

    def kill(self, index: int, uid: str) -> None:
        """Kills the processes of a pod, as the kernel does where memory is short; its sandbox stays."""
        for pid in control_groups.members(f"{self._group}/node-{index}", uid):
            if psutil.Process(pid).cmdline() != list(image.SANDBOX):
                os.kill(pid, signal.SIGKILL)

    def images(self) -> dict[str, str]:
        """The names of the images that every node has."""
        return dict(self._images)

    def load(self, made: image.Image, *nodes: int) -> str:
        """Has nodes take in another image; its name."""
        target = self._folder / f"{made.name.rpartition(':')[2]}.tar"
        target.write_bytes(made.archive)
        self._archives.append(str(target))
        programs = packages.environment(self._root)
        for index in nodes:
            command = ["ctr", "-a", SOCKET, "-n", "k8s.io", "images", "import", target]
            run([*self.enter(index), *command], f"importing {made.name} on node-{index}", programs)
        return made.name

    def route_to_services(self) -> None:
        """Lets who asks from the nodes' network reach Services by their addresses, which nodes alone know."""
        way = ["ip", "route", "replace", network.SERVICES, "via", network.node_address(0)]
        run([*self.beside(), *way], "routing to the Services")

    def enter(self, index: int) -> list[str]:
        """The beginning of a command that runs on a node."""
        return ["nsenter", f"--target={self._first(index)}", "--mount", "--net", "--pid", "--uts"]

    def beside(self) -> list[str]:
        """The beginning of a command that runs on the nodes' network, as their gateway."""
        return [str(shutil.which("nsenter")), f"--net=/proc/{self._plane.processes.pids()['network']}/ns/net"]

    def start_beside(self, name: str, command: list[str], user: str, groups: tuple[str, ...]) -> None:
        """Starts a program there, with a kubeconfig by which it is `user`."""
        self._plane.authority.sign(name, user, groups)
        environment = {"KUBECONFIG": str(self._plane.authority.kubeconfig(name, self._server))}
        nsenter, *arguments = [*self.beside(), *command]
        self._plane.processes.start(name, Path(nsenter), arguments=arguments, environment=environment)

    def _connect(self) -> None:
        authority, processes = self._plane.authority, self._plane.processes
        proxy = self._plane.folder / PROXY
        carry = {"server-port": self._plane.ports["server"], "proxy": proxy}
        environment = {"PYTHONPATH": f"{PROJECT}/tools:{PROJECT}/modules"}
        processes.start(
            "network", Path(sys.executable), carry, arguments=["-m", "cluster.network"], environment=environment
        )
        processes.wait("network", proxy.exists)
        for name in ("coredns", "kube-proxy"):
            authority.sign(name, f"system:{name}", ("system:masters",))
        names = authority.kubeconfig("coredns", self._server)
        authority.kubeconfig("kube-proxy", self._server)
        configuration = self._folder / "Corefile"
        asked = f"kubernetes {DOMAIN} {{\n  kubeconfig {names}\n  ttl 1\n }}"
        configuration.write_text(f".:53 {{\n errors\n {asked}\n cache 1\n}}\n")
        server = [f"--net=/proc/{processes.pids()['network']}/ns/net", str(self._binaries.coredns / "coredns")]
        command = [*server, "-conf", str(configuration)]
        processes.start("coredns", Path(str(shutil.which("nsenter"))), arguments=command)

    def _plug_in(self, index: int) -> None:
        inside = ["nsenter", f"--net=/proc/{self._plane.processes.pids()['network']}/ns/net", "ip"]
        cable = f"node{index}"
        subprocess.run([*inside, "link", "delete", cable], capture_output=True, check=False)
        other = ["peer", "name", "eth0", "netns", str(self._first(index))]
        run([*inside, "link", "add", cable, "type", "veth", *other], f"connecting node-{index}")
        run([*inside, "link", "set", cable, "master", network.BRIDGE, "up"], f"connecting node-{index}")
        way = [network.pod_range(index), "via", network.node_address(index)]
        run([*inside, "route", "replace", *way], f"routing to the pods of node-{index}")

    def _first(self, index: int) -> int:
        """The first process of a node's namespaces, by the machine's number."""
        name = f"node-{index}"
        holder = psutil.Process(self._plane.processes.pids()[name])
        for _ in range(200):
            if holder.name() == "unshare" and (children := holder.children()):
                return children[0].pid
            time.sleep(0.05)
        raise ToolError(f"{name} did not start; its log is {self._plane.folder}/logs/{name}.log")
