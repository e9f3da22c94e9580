"""One node, seen from inside: containerd, kube-proxy and kubelet in namespaces of their own.

Run as a process, `python -m cluster.node FOLDER/node.json`. It joins control groups and leaves for namespaces of its
own, and starts the three; when one of them ends, the node does. Killing it is cutting a machine's power: nothing in
it goes on.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common import run

from cluster import network
from cluster.control_groups import CONTROLLERS, HIERARCHIES, join

SOCKET = "/run/containerd.sock"
KUBELET = Path("/var/lib/kubelet")
DOMAIN = "cluster.local"
OWN_FILES = {
    # kubelet sets these for the whole machine, which is not its own here.
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
PRIVATE = ("/var/lib", "/run", "/var/log")
"""What is the machine's own of these, a node neither sees nor changes."""


@dataclass(frozen=True)
class Node:
    """What a node is made of; all paths are the machine's."""

    index: int
    name: str
    folder: str
    group: str
    """Of its control groups."""
    components: str
    """Folder with kubelet and kube-proxy."""
    sandbox: str
    """The image of every pod's sandbox."""
    archives: list[str]
    """Images that it has from the start."""
    mounts: list[str]
    """What every container sees of the machine."""
    authority: str
    certificate: str
    key: str
    kubeconfig: str
    proxy_kubeconfig: str

    def write(self) -> Path:
        """The file that the node's process reads."""
        target = Path(self.folder) / "node.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(asdict(self)))
        return target


def leave(file: Path, node: Node) -> None:
    """Becomes the process that holds the node's namespaces."""
    join(node.group)
    spaces = ["--mount", "--net", "--pid", "--uts", "--cgroup", "--propagation", "private"]
    own = [sys.executable, "-m", "cluster.node", str(file), "inside"]
    os.execvp("unshare", ["unshare", *spaces, "--fork", "--kill-child", "--mount-proc", *own])


def live(node: Node) -> None:
    """Starts the node, as the first process of its namespaces, and lasts as long as it does."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    folder = Path(node.folder)
    _hide_the_machine(node.name)
    _give_disk(folder / "kubelet")
    _address(node.index)
    containerd = _start(folder, "containerd", ["containerd", "--config", str(_containerd(node, folder))])
    while subprocess.run(["ctr", "-a", SOCKET, "version"], capture_output=True, check=False).returncode != 0:
        if containerd.poll() is not None:
            sys.exit("containerd ended")
        time.sleep(0.1)
    for archive in node.archives:
        run(["ctr", "-a", SOCKET, "-n", "k8s.io", "images", "import", archive], f"importing {Path(archive).name}")
    proxy = [f"{node.components}/kube-proxy", *_flags(_proxy_flags(node))]
    kubelet = [f"{node.components}/kubelet", *_flags(_kubelet_flags(node, _kubelet(node, folder)))]
    lasting = {containerd.pid, _start(folder, "kube-proxy", proxy).pid, _start(folder, "kubelet", kubelet).pid}
    # The first process of a namespace is left all orphans; each has to be waited for.
    while os.wait()[0] not in lasting:
        pass
    sys.exit(f"a part of {node.name} ended; see the logs in {folder}")


def _hide_the_machine(name: str) -> None:
    run(["hostname", name], "naming the node")
    subprocess.run(["umount", "--lazy", "/sys/fs/cgroup"], capture_output=True, check=False)
    _mount("tmpfs", "tmpfs", HIERARCHIES)
    for controller, chosen in CONTROLLERS.items():
        place = HIERARCHIES / controller
        place.mkdir()
        _mount("cgroup", "cgroup", place, chosen)
    for private in PRIVATE:
        _mount("tmpfs", "tmpfs", Path(private))
    Path("/run/sys").mkdir()
    for file, value in OWN_FILES.items():
        own = Path("/run/sys") / Path(file).name
        own.write_text(f"{value}\n")
        run(["mount", "--bind", own, f"/proc/sys/{file}"], f"hiding {file}")


def _give_disk(folder: Path) -> None:
    """What pods write is on the machine's disk, though kubelet knows it by its usual, short name."""
    folder.mkdir(exist_ok=True)
    KUBELET.mkdir()
    run(["mount", "--bind", folder, KUBELET], "mounting kubelet's folder")


def _mount(kind: str, source: str, place: Path, chosen: str = "") -> None:
    how = ["-o", chosen] if chosen else []
    run(["mount", "-t", kind, *how, source, place], f"mounting {place}")


def _address(index: int) -> None:
    run(["ip", "link", "set", "lo", "up"], "starting the loopback interface")
    while not Path("/sys/class/net/eth0").exists() and _no_link():
        time.sleep(0.05)
    run(["ip", "address", "add", f"{network.node_address(index)}/24", "dev", "eth0"], "addressing the node")
    run(["ip", "link", "set", "eth0", "up"], "connecting the node")
    run(["ip", "route", "add", "default", "via", network.GATEWAY], "routing")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _no_link() -> bool:
    return subprocess.run(["ip", "link", "show", "eth0"], capture_output=True, check=False).returncode != 0


def _containerd(node: Node, folder: Path) -> Path:
    """Its configuration; JSON's texts, numbers and lists are TOML's."""
    base = json.loads(subprocess.run(["ctr", "oci", "spec"], capture_output=True, check=True).stdout)
    base["mounts"] += [
        {"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]} for path in node.mounts
    ]
    (folder / "base.json").write_text(json.dumps(base))
    (folder / "cni").mkdir(exist_ok=True)
    addresses = {"type": "host-local", "dataDir": "/run/addresses", "subnet": network.pod_range(node.index)}
    # Routed and not bridged: what a bridge carries does not come by kube-proxy's rules.
    plugin = {"type": "ptp", "ipam": {**addresses, "routes": [{"dst": "0.0.0.0/0"}]}}
    listed = {"cniVersion": "0.4.0", "name": "pods", "plugins": [plugin]}
    (folder / "cni" / "pods.conflist").write_text(json.dumps(listed))
    programs = Path(str(shutil.which("containerd"))).parents[1]
    cri = "io.containerd.grpc.v1.cri"
    tables: dict[str, dict[str, Any]] = {
        "grpc": {"address": SOCKET},
        'plugins."io.containerd.internal.v1.opt"': {"path": "/run/containerd-opt"},
        f'plugins."{cri}"': {
            "sandbox_image": node.sandbox,
            "tolerate_missing_hugetlb_controller": True,
            "disable_hugetlb_controller": True,
            "disable_apparmor": True,
            "netns_mounts_under_state_dir": True,
            "restrict_oom_score_adj": True,
            "stream_server_address": "127.0.0.1",
        },
        f'plugins."{cri}".cni': {"bin_dir": f"{programs}/lib/cni", "conf_dir": f"{folder}/cni"},
        f'plugins."{cri}".containerd': {"snapshotter": "overlayfs", "default_runtime_name": "runc"},
        f'plugins."{cri}".containerd.runtimes.runc': {
            "runtime_type": "io.containerd.runc.v2",
            "base_runtime_spec": f"{folder}/base.json",
        },
        f'plugins."{cri}".containerd.runtimes.runc.options': {"BinaryName": f"{programs}/sbin/runc"},
    }
    lines = ["version = 2", f'root = "{folder}/containerd"', 'state = "/run/containerd"', "oom_score = 0"]
    for name, entries in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in entries.items())]
    target = folder / "containerd.toml"
    target.write_text("\n".join(lines) + "\n")
    return target


def _kubelet(node: Node, folder: Path) -> Path:
    content = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.node_address(node.index),
        "readOnlyPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": node.authority},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "tlsCertFile": node.certificate,
        "tlsPrivateKeyFile": node.key,
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        # Each node takes the machine's processors for its own, so limits would hold back where nobody else works.
        "cpuCFSQuota": False,
        "resolvConf": "",
        "clusterDNS": [network.GATEWAY],
        "clusterDomain": DOMAIN,
        "podLogsDir": "/var/log/pods",
        "volumePluginDir": f"{folder}/volume-plugins",
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "50Mi"},
        "nodeStatusUpdateFrequency": "3s",
        "nodeLeaseDurationSeconds": 8,
    }
    target = folder / "kubelet.json"
    target.write_text(json.dumps(content, indent=1))
    return target


def _kubelet_flags(node: Node, configuration: Path) -> dict[str, Any]:
    named = {"hostname-override": node.name, "node-ip": network.node_address(node.index)}
    return {"config": configuration, "kubeconfig": node.kubeconfig, **named}


def _proxy_flags(node: Node) -> dict[str, Any]:
    # The machine's limits of connections are not its to set.
    untouched = {"conntrack-max-per-core": 0, "conntrack-tcp-timeout-established": "0s"}
    untouched |= {"conntrack-tcp-timeout-close-wait": "0s"}
    local = {"healthz-bind-address": "127.0.0.1", "metrics-bind-address": "127.0.0.1"}
    own = {"kubeconfig": node.proxy_kubeconfig, "hostname-override": node.name, "cluster-cidr": "10.244.0.0/16"}
    return {**own, "proxy-mode": "iptables", **untouched, **local}


def _flags(flags: dict[str, Any]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]


def _start(folder: Path, name: str, command: list[str]) -> "subprocess.Popen[bytes]":
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


if __name__ == "__main__":
    described = Path(sys.argv[1])
    itself = Node(**json.loads(described.read_text()))
    if sys.argv[2:] == ["inside"]:
        live(itself)
    else:
        leave(described, itself)
