"""One control plane in one folder: its keys, its state, its logs."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import ToolError

from cluster import build, control_groups, jobset, network
from cluster import kubelets as real
from cluster.certificates import Authority
from cluster.processes import HOST, Processes, free_ports

USERS = {
    "admin": ("admin", ("system:masters",)),
    "kube-controller-manager": ("system:kube-controller-manager", ()),
    "kube-scheduler": ("system:kube-scheduler", ()),
    "kwok": ("kwok", ("system:masters",)),
}
PORTS: tuple[str, ...] = (
    *("etcd", "peer", "server", "kube-controller-manager", "kube-scheduler"),
    *("webhooks", "health", "kueue-webhooks", "kueue-health"),
)
RANGES = {"allocate-node-cidrs": "true", "cluster-cidr": "10.244.0.0/14", "node-cidr-mask-size": 24}
WATCHING = {"allocate-node-cidrs": "false", "node-monitor-period": "1s", "node-monitor-grace-period": "10s"}
GROUPS_SECONDS = 10.0
NODES_SECONDS = 120.0
"""For so long made-up nodes may take until all are ready."""
LOST_SECONDS = 5
"""For so long a pod may be on a node that is not ready before it is made anew elsewhere."""
AUDIT = "audit.jsonl"
KUBECONFIG_FLAGS = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")


def missing() -> str:
    """What this machine lacks for a control plane, in words; empty where it lacks nothing."""
    return "" if sys.platform.startswith("linux") else f"a test cluster needs Linux; this is {sys.platform}"


class ControlPlane:
    """etcd, API server, controllers and scheduler, the JobSet controller, and nodes, made up or real.

    `bound`: it dies with the calling process. `audited`: a user each of whose requests is written down.
    """

    def __init__(self, folder: Path, bound: bool, audited: str = "") -> None:
        self.folder, self._audited = folder, audited
        self.processes = Processes(folder, bound)
        self.kubeconfig = folder / "pki" / "admin.kubeconfig"

    def start(self, nodes: Sequence[dict[str, Any]], kubelets: int = 0, furnished: bool = False) -> None:
        """Returns once the API server, the controllers, their webhooks and all nodes are ready: kwok's `nodes`, or so
        many `kubelets`, whose images have their real content where they are `furnished`."""
        if self.folder.exists():
            raise ToolError(f"there is a cluster in {self.folder} already; `make cluster-down` ends it")
        if why := missing() or (real.missing() if kubelets else ""):
            raise ToolError(why)
        binaries = build.prepare()
        self.folder.mkdir(parents=True, mode=0o700)
        self._components = binaries.kubernetes
        self.kubelets = real.Kubelets(self, furnished) if kubelets else None
        try:
            self._sign()
            self._store_and_server()
            self._controllers()
            jobset.install(self, binaries.jobset)
            if self.kubelets is not None:
                self.kubelets.start(kubelets, binaries)
                return
            self._kwok(binaries.kwok)
            if nodes:
                self.apply(nodes)
                # `kubectl wait` would ask for each by itself, five a second.
                asked = ("get", "nodes", '-o=jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}')
                ready = ["True"] * len(nodes)
                self.processes.wait("kwok", lambda: self.kubectl(*asked).split() == ready, NODES_SECONDS)
        except BaseException:
            self.processes.end()
            raise

    def stop(self) -> None:
        """Ends every process and removes the folder, and the control groups that nodes had."""
        self.processes.end()
        control_groups.sweep()
        group, until = control_groups.group(self.folder), time.monotonic() + GROUPS_SECONDS
        while control_groups.of(group) and time.monotonic() < until:
            time.sleep(0.05)  # the last process of one may be ending still
            control_groups.sweep()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """What kubectl answers the administrator; its cache is in the cluster's folder."""
        done = subprocess.run(
            [self._components / "kubectl", f"--kubeconfig={self.kubeconfig}", *arguments],
            input=text,
            env={**os.environ, "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ToolError(f"kubectl {' '.join(arguments)} failed:\n{done.stderr.strip()}")
        return done.stdout

    def apply(self, objects: Sequence[dict[str, Any]]) -> None:
        """Makes objects what they are described as."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--server-side", "-f", "-", text=json.dumps(listed))

    def _sign(self) -> None:
        # All at once: a port is free until it is listened on, and not all are at once.
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self._store, self._peer, self.server = (f"https://{HOST}:{self.ports[name]}" for name in PORTS[:3])
        self.authority = Authority(self.folder / "pki")
        self.authority.sign("etcd", "etcd", addresses=(HOST,))
        self.authority.sign("kube-apiserver", "kube-apiserver", addresses=(HOST, network.GATEWAY))
        self.authority.sign("kubelet-client", "kubelet-client", ("system:masters",))
        self.authority.sign("service-accounts", "service-accounts")
        self.authority.sign("front-proxy", "front-proxy")
        for name, (user, groups) in USERS.items():
            self.authority.sign(name, user, groups)
            self.authority.kubeconfig(name, self.server)

    def _store_and_server(self) -> None:
        at = self.authority.path
        signed = {"cert-file": at("etcd.crt"), "key-file": at("etcd.key"), "trusted-ca-file": at("ca.crt")}
        self.processes.start(
            "etcd",
            self._components / "etcd",
            # Its data lives no longer than the cluster: waiting for the disk would buy nothing.
            {"name": "penstock", "data-dir": self.folder / "etcd", "unsafe-no-fsync": "true", "log-level": "warn"},
            {"listen-client-urls": self._store, "advertise-client-urls": self._store},
            {"listen-peer-urls": self._peer, "initial-advertise-peer-urls": self._peer},
            {"initial-cluster": f"penstock={self._peer}"},
            {**signed, "client-cert-auth": "true", "peer-client-cert-auth": "true"},
            {f"peer-{flag}": file for flag, file in signed.items()},
        )
        self.start_server()

    def start_server(self) -> None:
        """Starts the API server, for the first time or after it was killed."""
        at = self.authority.path
        own = {"certfile": at("kube-apiserver.crt"), "keyfile": at("kube-apiserver.key")}
        self.processes.start(
            "kube-apiserver",
            self._components / "kube-apiserver",
            {"etcd-servers": self._store, "etcd-cafile": at("ca.crt")},
            {f"etcd-{flag}": file for flag, file in own.items()},
            {"bind-address": HOST, "advertise-address": HOST, "secure-port": self.ports["server"]},
            {"endpoint-reconciler-type": "none", "service-cluster-ip-range": network.SERVICES},
            {"tls-cert-file": own["certfile"], "tls-private-key-file": own["keyfile"]},
            {"client-ca-file": at("ca.crt"), "authorization-mode": "Node,RBAC", "allow-privileged": "true"},
            {"service-account-issuer": "https://kubernetes.default.svc.cluster.local"},
            {f"service-account-{flag}": at("service-accounts.key") for flag in ("key-file", "signing-key-file")},
            self._aggregation(),
            self._audit() if self._audited else {},
            self._way_to_nodes() if self.kubelets else {},
        )
        self.processes.wait("kube-apiserver", self._server_is_ready)

    def asked(self) -> list[dict[str, Any]]:
        """The requests of the user who is audited, once they are answered, as the API server's audit log has them."""
        return [json.loads(line) for line in (self.folder / AUDIT).read_text().splitlines()]

    def _audit(self) -> dict[str, Any]:
        rules = [{"level": "Metadata", "users": [self._audited]}, {"level": "None"}]
        stages = ["RequestReceived", "ResponseStarted"]
        content = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": stages, "rules": rules}
        policy = self.folder / "audit.json"
        policy.write_text(json.dumps(content))
        return {"audit-policy-file": policy, "audit-log-path": self.folder / AUDIT}

    def _aggregation(self) -> dict[str, Any]:
        """The flags by which an API server of another's is told who asks."""
        at = self.authority.path
        headers = {"username-headers": "X-Remote-User", "group-headers": "X-Remote-Group"}
        headers |= {"extra-headers-prefix": "X-Remote-Extra-", "allowed-names": "front-proxy"}
        asking = {"proxy-client-cert-file": at("front-proxy.crt"), "proxy-client-key-file": at("front-proxy.key")}
        named = {f"requestheader-{flag}": value for flag, value in headers.items()}
        return {"requestheader-client-ca-file": at("ca.crt"), **named, **asking}

    def _way_to_nodes(self) -> dict[str, Any]:
        """The flags by which it reaches kubelets, on the network that is theirs alone."""
        at, proxy = self.authority.path, {"udsName": str(self.folder / real.PROXY)}
        connection = {"proxyProtocol": "HTTPConnect", "transport": {"uds": proxy}}
        content = {
            "apiVersion": "apiserver.k8s.io/v1beta1",
            "kind": "EgressSelectorConfiguration",
            "egressSelections": [{"name": "cluster", "connection": connection}],
        }
        file = self.folder / "egress.json"
        file.write_text(json.dumps(content))
        lost = {f"default-{why}-toleration-seconds": LOST_SECONDS for why in ("not-ready", "unreachable")}
        client = {"client-certificate": at("kubelet-client.crt"), "client-key": at("kubelet-client.key")}
        client |= {"certificate-authority": at("ca.crt"), "preferred-address-types": "InternalIP"}
        return {"egress-selector-config-file": file, **lost, **{f"kubelet-{flag}": to for flag, to in client.items()}}

    def stop_server(self) -> None:
        """Kills the API server."""
        self.processes.kill("kube-apiserver")

    def _server_is_ready(self) -> bool:
        try:
            return self.kubectl("get", "--raw", "/readyz") == "ok"
        except ToolError:
            return False

    def _controllers(self) -> None:
        at = self.authority.path
        own: dict[str, tuple[dict[str, Any], ...]] = {
            "kube-controller-manager": (
                {"service-account-private-key-file": at("service-accounts.key"), "root-ca-file": at("ca.crt")},
                {"use-service-account-credentials": "true", "kube-api-qps": 500, "kube-api-burst": 1000},
                WATCHING if self.kubelets else RANGES,
                {"flex-volume-plugin-dir": self.folder / "volume-plugins"},
            ),
            "kube-scheduler": ({"kube-api-qps": 1000, "kube-api-burst": 2000},),
        }
        for name, flags in own.items():
            known = {flag: at(f"{name}.kubeconfig") for flag in KUBECONFIG_FLAGS}
            common = {"bind-address": HOST, "secure-port": self.ports[name], "leader-elect": "false"}
            self.processes.start(name, self._components / name, known, common, *flags)

    def _kwok(self, binaries: Path) -> None:
        self.processes.start(
            "kwok",
            binaries / "kwok",
            {"kubeconfig": self.authority.path("kwok.kubeconfig"), "config": build.SOURCES / "stages.yaml"},
            {"manage-all-nodes": "false", "manage-nodes-with-annotation-selector": "kwok.x-k8s.io/node=fake"},
            {"cidr": "10.248.0.0/14", "node-ip": HOST, "node-lease-duration-seconds": 40},
        )
