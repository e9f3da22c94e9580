"""Whether a project can give what an environment asks for, before it is asked: quotas, interfaces, machines of a zone.

What tables can tell (which machine holds which accelerator, which region offers it) is told by the settings themselves.
"""

from collections.abc import Iterator
from typing import Any

from penstock.gcp import accelerators
from penstock.gcp.environment import Environment
from penstock.gcp.google import Google

EMULATOR = "PENSTOCK_GOOGLE_ENDPOINT"
"""Environment variable that names another endpoint than Google's, which takes no sign-in."""
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


def needed_apis(environment: Environment) -> list[str]:
    """The interfaces that the project must have enabled."""
    further = {
        "dataflow": environment.beam == "dataflow",
        "sqladmin": environment.study_database,
        "servicenetworking": environment.study_database,
        "notebooks": environment.notebook,
        "pubsub": environment.budget is not None,
        **dict.fromkeys(("billingbudgets", "cloudbuild", "cloudfunctions", "eventarc"), environment.budget is not None),
    }
    names = [*APIS, *(name for name, wanted in further.items() if wanted)]
    return sorted(f"{name}.googleapis.com" for name in names)


def needed_quotas(environment: Environment) -> dict[str, int]:
    """How much of each regional quota the environment takes at its peak."""
    accelerator = environment.accelerator
    if accelerator is None:
        return {}
    shape = accelerators.shape(accelerator.type, accelerator.count, accelerator.topology)
    spot = accelerator.provisioning == "spot"
    return {f"PREEMPTIBLE_{shape.quota}" if spot else shape.quota: accelerator.max_nodes * shape.chips_per_node}


def problems(environment: Environment) -> list[str]:
    """Everything that the project lacks, in words; raises PenstockError where Google cannot be asked."""
    return [*_apis(environment), *_quotas(environment), *_machines(environment)]


def _apis(environment: Environment) -> Iterator[str]:
    google = Google("https://serviceusage.googleapis.com", EMULATOR)
    path, query = f"/v1/projects/{environment.project}/services", {"filter": "state:ENABLED"}
    enabled = {service["name"].rpartition("/")[2] for service in google.items(path, query, "services")}
    missing = [name for name in needed_apis(environment) if name not in enabled]
    if missing:
        yield f"not enabled: {', '.join(missing)}; `gcloud services enable {' '.join(missing)}`"


def _quotas(environment: Environment) -> Iterator[str]:
    needed = needed_quotas(environment)
    if not needed:
        return
    region: dict[str, Any] = (
        _compute().request("GET", f"/compute/v1/projects/{environment.project}/regions/{environment.region}", {}).json()
    )
    limits = {quota["metric"]: quota for quota in region.get("quotas", [])}
    for metric, wanted in needed.items():
        # Quotas of newer machines are Cloud Quotas' alone: what is not listed here is not known here.
        quota = limits.get(metric)
        if quota is not None and quota["limit"] - quota["usage"] < wanted:
            used = f", {quota['usage']:g} of it in use" if quota["usage"] else ""
            yield f"needs {wanted} {metric} in {environment.region}, quota {quota['limit']:g}{used}"


def _machines(environment: Environment) -> Iterator[str]:
    wanted = {environment.machine_type} if environment.trains else set[str]()
    accelerator = environment.accelerator
    if accelerator is not None:
        wanted.add(accelerators.shape(accelerator.type, accelerator.count, accelerator.topology).machine_type)
    for zone in environment.places if wanted else ():
        path = f"/compute/v1/projects/{environment.project}/zones/{zone}/machineTypes"
        offered = {each["name"] for each in _compute().items(path, {"fields": "items(name),nextPageToken"})}
        for missing in sorted(wanted - offered):
            yield f"{zone} does not offer {missing}"


def _compute() -> Google:
    return Google("https://compute.googleapis.com", EMULATOR)
