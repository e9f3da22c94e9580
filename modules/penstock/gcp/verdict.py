"""Whether a project can give what an environment asks for, before it is asked: quotas, interfaces, machines of a zone.

What tables can tell (which machine holds which accelerator, which region offers it) is told by the settings themselves.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.gcp import accelerators
from penstock.gcp.environment import NODE_DISK_GIB, NOTEBOOK_MACHINE, SERVER_MACHINE, SYSTEM_MACHINE, Environment
from penstock.gcp.google import Google
from penstock.gcp.prices import DATAFLOW_WORKER

EMULATOR = "PENSTOCK_GOOGLE_ENDPOINT"
"""Environment variable that names another endpoint than Google's, which takes no sign-in."""
SPOT = "PREEMPTIBLE_"
"""How the quotas of Spot machines begin."""
CPU_QUOTAS = {
    "e2": "CPUS",
    "n1": "CPUS",
    "n2": "N2_CPUS",
    "n2d": "N2D_CPUS",
    "c2": "C2_CPUS",
    "c2d": "C2D_CPUS",
    "c3": "C3_CPUS",
    "t2d": "T2D_CPUS",
}
"""Regional quotas by the family of machines whose name ends in its number of processors."""
NAMES = {"fields": "items(name),nextPageToken"}
ALL_GPUS = "GPUS_ALL_REGIONS"
"""The project's quota for GPUs wherever they are, beside the regional one of their kind."""
APIS = (
    "artifactregistry",
    "cloudresourcemanager",
    "compute",
    "container",
    "iam",
    "logging",
    "monitoring",
    "run",
    "storage",
)


def needed_apis(environment: Environment, keyed: bool = False) -> list[str]:
    """The interfaces that the project must have enabled; `keyed`: for an endpoint with a key to verify models by."""
    further = {
        "cloudkms": environment.encryption_key is not None,
        "dataflow": environment.beam == "dataflow",
        "sqladmin": environment.study_database,
        "servicenetworking": environment.study_database,
        "notebooks": environment.notebook,
        "secretmanager": keyed and environment.endpoint == "cloud-run",
        "pubsub": environment.budget is not None,
        **dict.fromkeys(("billingbudgets", "cloudbuild", "cloudfunctions", "eventarc"), environment.budget is not None),
    }
    names = [*APIS, *(name for name, wanted in further.items() if wanted)]
    return sorted(f"{name}.googleapis.com" for name in names)


@dataclass(frozen=True)
class Quotas:
    """How much of each quota an environment takes at its peak."""

    needed: dict[str, int]
    """Without it machines, or their disks, are refused."""
    instead: dict[str, int]
    """Of the ordinary machines that stand in for Spot ones, where there are none."""
    uncounted: tuple[str, ...] = ()
    """Machines whose processors are not counted: their family's quota is not known here."""


def needed_quotas(environment: Environment) -> Quotas:
    """What is asked for; of machines whose family's quota is not known, the accelerators and the disks only."""
    needed, instead = Counter[str](), Counter[str]()
    nodes = environment.nodes
    needed.update(_processors(SYSTEM_MACHINE, nodes.get("system", 0)))
    needed.update(_processors(SERVER_MACHINE, nodes.get("serving", 0)))
    needed.update(_processors(NOTEBOOK_MACHINE, int(environment.notebook)))
    _ladder(needed, instead, environment.rungs, _processors(environment.machine_type, nodes.get("training", 0)))
    if environment.trains and environment.beam == "dataflow":
        # The machines that Dataflow takes by itself are N1's.
        needed[CPU_QUOTAS["n1"]] += int(DATAFLOW_WORKER[0]) * environment.max_beam_workers
    machines = [environment.machine_type] if "training" in nodes else []
    accelerator = environment.accelerator
    if accelerator is not None and "accelerated" in nodes:
        machines.append(accelerator.shape.machine_type)
        devices = {accelerator.shape.quota: accelerator.nodes * accelerator.shape.chips_per_node}
        processors = _processors(accelerator.shape.machine_type, accelerator.nodes)
        _ladder(needed, instead, accelerator.rungs, {**devices, **processors})
        if accelerator.type in accelerators.GPUS:
            (instead if accelerator.rungs[0] == "spot" else needed)[ALL_GPUS] = devices[accelerator.shape.quota]
    needed["SSD_TOTAL_GB"] = NODE_DISK_GIB * sum(nodes.values())
    uncounted = tuple(machine for machine in machines if not _processors(machine, 1))
    return Quotas({metric: n for metric, n in needed.items() if n}, dict(instead), uncounted)


def _ladder(needed: Counter[str], instead: Counter[str], rungs: Sequence[str], wanted: Mapping[str, int]) -> None:
    for metric, amount in wanted.items():
        if rungs[0] != "spot":
            needed[metric] += amount
            continue
        needed[_spot(metric)] += amount
        instead[metric] += amount


def _spot(metric: str) -> str:
    """The quota that Spot machines take instead."""
    return f"{SPOT}CPUS" if metric.endswith("CPUS") else f"{SPOT}{metric}"


def _processors(machine_type: str, count: int) -> dict[str, int]:
    """Processors of so many machines by their quota; none for a family that has no regional one."""
    family, _, size = machine_type.partition("-")
    size = size.rpartition("-")[2]
    return {CPU_QUOTAS[family]: count * int(size)} if family in CPU_QUOTAS and size.isdecimal() and count else {}


def problems(environment: Environment) -> list[str]:
    """Everything that the project lacks, in words; raises PenstockError where Google cannot be asked."""
    return verdict(environment)[0]


def verdict(environment: Environment, keyed: bool = False, running: bool = False) -> tuple[list[str], list[str]]:
    """What the project lacks, and what it lacks for a case that may never come; PenstockError where Google cannot be
    asked.

    `running`: the environment is there already, so what is in use may be its own, and is counted against no quota.
    """
    short, remarks = _quotas(environment, running)
    return [*_apis(environment, keyed), *short, *_machines(environment)], remarks


def _apis(environment: Environment, keyed: bool) -> Iterator[str]:
    google = Google("https://serviceusage.googleapis.com", EMULATOR)
    path, query = f"/v1/projects/{environment.project}/services", {"filter": "state:ENABLED"}
    enabled = {service["name"].rpartition("/")[2] for service in google.items(path, query, "services")}
    missing = [name for name in needed_apis(environment, keyed) if name not in enabled]
    if missing:
        yield f"not enabled: {', '.join(missing)}; `gcloud services enable {' '.join(missing)}`"


def _quotas(environment: Environment, running: bool) -> tuple[list[str], list[str]]:
    region: dict[str, Any] = (
        _compute().request("GET", f"/compute/v1/projects/{environment.project}/regions/{environment.region}", {}).json()
    )
    limits = {quota["metric"]: quota for quota in region.get("quotas", [])}
    quotas = needed_quotas(environment)
    if ALL_GPUS in {**quotas.needed, **quotas.instead}:
        project: dict[str, Any] = _compute().request("GET", f"/compute/v1/projects/{environment.project}", {}).json()
        limits |= {quota["metric"]: quota for quota in project.get("quotas", []) if quota["metric"] == ALL_GPUS}
    needed, instead = Counter(quotas.needed), dict(quotas.instead)
    for metric in quotas.instead:
        if _spot(metric) in limits and not limits[_spot(metric)]["limit"]:
            # A project without a quota for Spot machines takes them from the ordinary one.
            needed.pop(_spot(metric), None)
            needed[metric] += instead.pop(metric)
            if environment.accelerator and metric == environment.accelerator.shape.quota and ALL_GPUS in instead:
                needed[ALL_GPUS] += instead.pop(ALL_GPUS)
    remarks = {metric: amount + needed[metric] for metric, amount in instead.items()}
    place = environment.region
    unused = {metric: {**quota, "usage": 0} for metric, quota in limits.items()}
    within = {metric: n for metric, n in needed.items() if running and n <= limits.get(metric, {"limit": 0})["limit"]}
    return (
        list(_short(needed, unused if running else limits, place)),
        [
            *(f"unless this environment itself has them: {each}" for each in _short(within, limits, place)),
            *(f"where there is no Spot machine: {each}" for each in _short(remarks, limits, place)),
            *_unasked([each for each in {**needed, **remarks} if each not in limits], quotas.uncounted, place),
        ],
    )


def _short(needed: Mapping[str, int], limits: Mapping[str, Any], region: str) -> Iterator[str]:
    for metric, wanted in needed.items():
        quota = limits.get(metric)
        if quota is not None and quota["limit"] - quota["usage"] < wanted:
            used = f", {quota['usage']:g} of it in use" if quota["usage"] else ""
            where = "" if metric == ALL_GPUS else f" in {region}"
            yield f"needs {wanted} {metric}{where}, quota {quota['limit']:g}{used}"


def _unasked(metrics: Sequence[str], machines: Sequence[str], region: str) -> Iterator[str]:
    """Quotas of newer machines are Cloud Quotas' alone: what Compute Engine does not list is not known here."""
    names = [*metrics, *(f"processors of {machine}" for machine in machines)]
    if names:
        yield (
            f"not compared with a quota, as Compute Engine lists none of that name in {region}: {', '.join(names)}; "
            f"look at IAM & Admin > Quotas in the console"
        )


def _machines(environment: Environment) -> Iterator[str]:
    nodes = environment.nodes
    types = {"system": SYSTEM_MACHINE, "training": environment.machine_type, "serving": SERVER_MACHINE}
    if environment.accelerator is not None:
        types["accelerated"] = environment.accelerator.shape.machine_type
    there = {each["name"] for each in _compute().items(f"/compute/v1/projects/{environment.project}/zones", NAMES)}
    for zone in environment.places:
        wanted = {types[what] for what in nodes}
        if environment.notebook and zone == environment.places[0]:
            wanted.add(NOTEBOOK_MACHINE)
        if not wanted:
            continue
        if zone not in there:
            known = sorted(each for each in there if each.startswith(f"{environment.region}-"))
            yield f"there is no zone {zone}; in {environment.region} there are {', '.join(known)}"
            continue
        offered = _offered(environment.project, zone, "machineTypes")
        if environment.accelerator is not None and environment.accelerator.type in accelerators.GPUS:
            # A machine that takes GPUs may stand where there are none.
            wanted.add(environment.accelerator.type)
            offered |= _offered(environment.project, zone, "acceleratorTypes")
        for missing in sorted(wanted - offered):
            yield f"{zone} does not offer {missing}"


def _offered(project: str, zone: str, what: str) -> set[str]:
    path = f"/compute/v1/projects/{project}/zones/{zone}/{what}"
    return {each["name"] for each in _compute().items(path, NAMES)}


def _compute() -> Google:
    return Google("https://compute.googleapis.com", EMULATOR)
