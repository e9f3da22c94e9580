"""What a stack is doing: its stages with their last results, its endpoint's processes or pods, who answers how much."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil

from penstock.command.answering import answering
from penstock.command.asking import ask
from penstock.command.cloud_run import READY, CloudRun
from penstock.command.state import LOCAL_JOB, WORKLOAD, Resource, State, argument, log_folder, supervisor
from penstock.errors import PenstockError
from penstock.kubernetes import verdict
from penstock.kubernetes.api import Api
from penstock.local.identity import ProcessIdentity
from penstock.local.spec import read_json

DIGITS = 12


@dataclass(frozen=True)
class Stage:
    """One stage, and what it left."""

    name: str
    state: str
    """`sealed`, `running`, or what went wrong in the last run."""
    digest: str
    result: str
    """Rows, examples or trials; the first metric of the test rows."""
    roles: str
    """Its processes or pods that are there, by role."""


@dataclass(frozen=True)
class Version:
    """One model behind the endpoint's URL."""

    number: str
    digest: str
    share: str


@dataclass(frozen=True)
class Endpoint:
    """What answers."""

    url: str
    state: str
    replicas: str
    versions: list[Version] = field(default_factory=list[Version])
    rollout: str = ""


def stages(state: State) -> list[Stage]:
    """All stages of the stack; those on a cluster are asked of it."""
    return [_local_stage(job) if job.kind == LOCAL_JOB else _cluster_stage(job) for job in state.jobs]


def endpoint(state: State) -> Endpoint | None:
    """The endpoint, as it answers now; None where the stack has none that can be asked from here."""
    if state.service is not None:
        return _local_endpoint(state.service)
    if state.servers:
        return _cluster_endpoint(state)
    if state.cloud_run is not None:
        return _cloud_run_endpoint(CloudRun.of(state.cloud_run))
    return None


def _local_stage(job: Resource) -> Stage:
    folder = Path(job.outputs["folder"])
    known: Mapping[str, tuple[int, float]] = read_json(folder / "processes.json") or {}
    alive = {name: pid for name, (pid, started) in known.items() if ProcessIdentity(pid, started).alive()}
    outcome = read_json(folder / "outcome.json")
    if not job.outputs.get("path"):
        said = "begun, and not ended"
    else:
        said = "sealed" if (Path(job.outputs["path"]) / "manifest.json").is_file() else "its artifact is gone"
    if alive:
        said = "running"
    elif outcome and outcome["status"] != "succeeded":
        said = f"last run {outcome['status']}: {outcome['message'] or log_folder(job)}"
    roles = ", ".join(f"{name} (pid {pid})" for name, pid in sorted(alive.items()))
    return _stage(job, said, roles)


def _cluster_stage(job: Resource) -> Stage:
    api = Api(job.outputs["kubeconfig"], job.outputs["context"] or None)
    found = verdict.pods(api, job.outputs["namespace"], job.outputs["job_set"])
    roles = [f"{pod['metadata']['labels'].get(verdict.ROLE)} {pod['status'].get('phase')}" for pod in found]
    counted = {role: roles.count(role) for role in dict.fromkeys(roles)}
    return _stage(
        job, "running" if job.begun else "sealed", ", ".join(f"{count} x {role}" for role, count in counted.items())
    )


def _stage(job: Resource, said: str, roles: str) -> Stage:
    counts: dict[str, float] = job.outputs.get("counts") or {}
    metrics: dict[str, dict[str, Any]] = job.outputs.get("metrics") or {}
    result = ", ".join(f"{value:,.0f} {name}" for name, value in _counted(counts).items())
    test = metrics.get("test", {})
    figures = ", ".join(f"{name} {value:.4f}" for name, value in test.items() if isinstance(value, int | float))
    digest = _short(job.outputs.get("digest") or "")
    return Stage(job.name, said, digest, "; ".join(filter(None, [result, figures])), roles)


def _counted(counts: Mapping[str, Any]) -> Mapping[str, float]:
    """Of what a stage counted, the one figure that says how much it was."""
    for name, said in (("rows", "rows"), ("complete", "trials"), ("examples_seen", "examples seen")):
        if name in counts:
            return {said: counts[name]}
    return {}


def _local_endpoint(service: Mapping[str, Any]) -> Endpoint:
    leads = supervisor(service)
    if not leads.alive():
        return _gone(service, leads.pid)
    try:
        process = psutil.Process(leads.pid)
        children = process.children()
        since = _since(process)
    except psutil.NoSuchProcess:
        # It went between the two questions.
        return _gone(service, leads.pid)
    workers = ", ".join(str(child.pid) for child in children) or "none"
    said = f"supervisor pid {leads.pid}, workers {workers}, for {since}"
    lowest, highest = int(service["min_replicas"]), int(service["max_replicas"])
    replicas = f"{len(children)} of {lowest} to {highest}"
    if not children:
        # To ask would start one.
        return Endpoint(service["url"], said, replicas, _known(service))
    program: list[str] = service["program"]
    url = f"{service['url']}/v1/models/{service['model_name']}/traffic"
    try:
        answer = ask(
            url, token_file=argument(program, "--token-file"), certificate=argument(program, "--certificate")
        )  # fmt: skip
    except (OSError, HTTPException, ValueError) as exc:
        return Endpoint(service["url"], f"{said}; it does not answer: {exc}", replicas, _known(service))
    if answer["status"] != 200:
        return Endpoint(service["url"], f"{said}; answers with status {answer['status']}", replicas, _known(service))
    return Endpoint(service["url"], said, replicas, _answering(answer["body"]), _rollout(answer["body"]))


def _gone(service: Mapping[str, Any], pid: int) -> Endpoint:
    return Endpoint(service["url"], f"its supervisor (pid {pid}) is gone; `up` starts it again", "none")


def _known(service: Mapping[str, Any]) -> list[Version]:
    """The versions by the provider's own record."""
    found: list[dict[str, Any]] = read_json(Path(service["folder"]) / "versions.json") or []
    return [Version(str(each["number"]), _short(each["digest"]), "") for each in found]


def _answering(traffic: Mapping[str, Any]) -> list[Version]:
    return [
        Version(number, _short(each["digest"]), "shadow" if each["shadow"] else f"{each['share']:.0%}")
        for number, each in sorted(traffic["versions"].items(), key=lambda item: (len(item[0]), item[0]))
    ]


def _rollout(traffic: Mapping[str, Any]) -> str:
    said: list[str] = []
    rollout: dict[str, Any] = traffic.get("rollout") or {}
    gates: dict[str, dict[str, Any]] = rollout.get("gates") or {}
    if rollout.get("candidate"):
        said.append(f"version {rollout['candidate']} is at {rollout['percent']} %")
    said += [f"gate {name} closed" for name, gate in gates.items() if gate["broken"]]
    if traffic.get("refused"):
        said.append(f"version {traffic['refused']['version']} was refused: {traffic['refused']['error']}")
    return "; ".join(said)


def _cluster_endpoint(state: State) -> Endpoint:
    api = Api(*state.cluster)
    url, shares = str(state.outputs.get("endpoint")), state.shares or dict.fromkeys(state.servers, 1)
    space = next(iter(state.servers.values()))["metadata"]["namespace"]
    selector = {"labelSelector": f"{WORKLOAD} in ({','.join(shares)})"}
    pods = api.items(f"/api/v1/namespaces/{space}/pods", selector)
    said = [f"{pod['metadata']['name']} {pod['status'].get('phase')}" for pod in pods] or ["no pod"]
    ready = wanted = 0
    traffic: dict[str, dict[str, Any]] = {}
    for name, share in shares.items():
        made = state.servers[name]
        kind, own_name = str(made["kind"]), made["metadata"]["name"]
        live = api.get(f"/apis/{made['apiVersion']}/namespaces/{space}/{kind.lower()}s/{own_name}")
        if live is None:
            return Endpoint(url, f"{kind} {own_name} is gone from {space}", "none")
        own = [pod for pod in pods if pod["metadata"]["labels"][WORKLOAD] == name and verdict.stays(pod)]
        ready += sum(verdict.is_ready(pod) for pod in own)
        # How many there are to be Knative tells nobody but itself.
        wanted += live["spec"].get("replicas", len(own))
        said += verdict.unmet(live) if kind == "Service" else []
        try:
            told = answering(live, lambda plan: api.get(f"/api/v1/namespaces/{space}/configmaps/{plan}"))
        except PenstockError as exc:
            return Endpoint(url, str(exc), f"{ready} of {wanted} ready")
        whole = sum(shares.values()) * sum(each.weight for each in told.models.values())
        for number, each in told.models.items():
            named = name if len(shares) > 1 else number
            share_of_all = share * each.weight / whole
            traffic[named] = {"digest": each.digest, "share": share_of_all, "shadow": not each.weight}
    return Endpoint(url, ", ".join(said), f"{ready} of {wanted} ready", _answering({"versions": traffic}))


def _cloud_run_endpoint(made: CloudRun) -> Endpoint:
    replicas = f"{made.lowest} to {made.highest}"
    try:
        live = made.service()
    except PenstockError as exc:
        return Endpoint(made.url, str(exc), replicas)
    said = f"revision {live['latestReadyRevision'].rpartition('/')[2]} serves"
    condition: Mapping[str, str] = live["terminalCondition"]
    if condition["state"] != READY:
        said += f"; the one after it does not: {condition.get('message') or condition['state']}"
    return Endpoint(made.url, said, replicas, [Version("1", _short(made.digest), "100%")])


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:DIGITS]


def _since(process: psutil.Process) -> str:
    minutes = (time.time() - process.create_time()) / 60
    return f"{minutes / 60:.1f} h" if minutes >= 100 else f"{minutes:.0f} min"
