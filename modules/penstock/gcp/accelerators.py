"""GPUs and TPUs of Google Cloud: which machine holds how many, in which slice, where. Pure.

Read on 2026-11-29. Machines, labels and topologies are those of AI-Hypercomputer/xpk, src/xpk/core/
system_characteristics.py at 02b0c092, and with the zones of skypilot-org/skypilot-catalog, catalogs/v8/gcp/vms.csv at
006059e0; Ironwood's zone and the largest slice of v5p of docs.cloud.google.com/tpu/docs (regions-zones, v5p). Sizes of
partitions and names of quotas are from memory. What the project itself is offered is asked where credentials are there.
"""

import re
from dataclasses import dataclass
from math import prod

from penstock.errors import PenstockError


@dataclass(frozen=True)
class Gpu:
    """A GPU type: machine type by number of GPUs, and how one may be cut."""

    machines: dict[int, str]
    memory_gib: int
    mig: tuple[str, ...] = ()
    """Sizes of Multi-Instance GPU partitions; none: it cannot be cut."""
    quota: str = ""
    """Name of the regional quota; Spot machines count against `PREEMPTIBLE_<quota>`."""


@dataclass(frozen=True)
class Tpu:
    """A TPU generation: the value of GKE's label, machine type by chips a machine, and its slices."""

    label: str
    machines: dict[int, str]
    topologies: tuple[str, ...]
    quota: str
    tensorflow: bool = True
    """Whether TensorFlow, and so the trainer, runs on it."""
    largest: int = 0
    """Chips of the largest slice of three dimensions; beside `topologies` each one will do whose sides are multiples of
    four, the longest last. 0: there is no other."""
    workload_policy: bool = False
    """Whether a slice of several machines is placed by a workload policy of Compute Engine's."""


GPUS: dict[str, Gpu] = {
    "nvidia-tesla-t4": Gpu({1: "n1-standard-4", 2: "n1-standard-8", 4: "n1-standard-16"}, 16, quota="NVIDIA_T4_GPUS"),
    "nvidia-l4": Gpu(
        {1: "g2-standard-8", 2: "g2-standard-24", 4: "g2-standard-48", 8: "g2-standard-96"}, 24, quota="NVIDIA_L4_GPUS"
    ),
    "nvidia-tesla-a100": Gpu(
        {1: "a2-highgpu-1g", 2: "a2-highgpu-2g", 4: "a2-highgpu-4g", 8: "a2-highgpu-8g", 16: "a2-megagpu-16g"},
        40,
        ("1g.5gb", "2g.10gb", "3g.20gb", "7g.40gb"),
        "NVIDIA_A100_GPUS",
    ),
    "nvidia-a100-80gb": Gpu(
        {1: "a2-ultragpu-1g", 2: "a2-ultragpu-2g", 4: "a2-ultragpu-4g", 8: "a2-ultragpu-8g"},
        80,
        ("1g.10gb", "2g.20gb", "3g.40gb", "7g.80gb"),
        "NVIDIA_A100_80GB_GPUS",
    ),
    "nvidia-h100-80gb": Gpu(
        {1: "a3-highgpu-1g", 2: "a3-highgpu-2g", 4: "a3-highgpu-4g", 8: "a3-highgpu-8g"},
        80,
        ("1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "7g.80gb"),
        "NVIDIA_H100_GPUS",
    ),
    "nvidia-h200-141gb": Gpu(
        {8: "a3-ultragpu-8g"}, 141, ("1g.18gb", "1g.35gb", "2g.35gb", "3g.71gb", "7g.141gb"), "NVIDIA_H200_GPUS"
    ),
    "nvidia-b200": Gpu({8: "a4-highgpu-8g"}, 180, ("1g.23gb", "2g.45gb", "3g.90gb", "7g.180gb"), "NVIDIA_B200_GPUS"),
}

_PLANES = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBES = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8")
SIDE = 4
"""Of the cubes that larger slices of three dimensions are made of."""
TPUS: dict[str, Tpu] = {
    "tpu-v5e": Tpu(
        "tpu-v5-lite-podslice",
        {1: "ct5lp-hightpu-1t", 4: "ct5lp-hightpu-4t", 8: "ct5lp-hightpu-8t"},
        _PLANES,
        "TPU_LITE_PODSLICE_V5",
    ),
    "tpu-v5p": Tpu("tpu-v5p-slice", {4: "ct5p-hightpu-4t"}, _CUBES, "TPU_PODSLICE_V5P", largest=16 * 16 * 24),
    "tpu-v6e": Tpu(
        "tpu-v6e-slice", {1: "ct6e-standard-1t", 4: "ct6e-standard-4t", 8: "ct6e-standard-8t"}, _PLANES, "TPU_V6E"
    ),
    "tpu-ironwood": Tpu(
        "tpu7x",
        {1: "tpu7x-standard-1t", 4: "tpu7x-standard-4t"},
        ("1x1x1", *_CUBES),
        "TPU_7X",
        tensorflow=False,
        largest=16 * 24 * 24,
        workload_policy=True,
    ),
}

_OFFERED = {
    "nvidia-tesla-t4": (
        "us-central1-abcf us-east1-bcd us-east4-abc us-west1-ab us-west2-bc us-west3-b us-west4-ab "
        "northamerica-northeast1-c southamerica-east1-abc europe-west1-bcd europe-west2-ab europe-west3-b "
        "europe-west4-abc europe-central2-bc me-west1-bc asia-east1-ac asia-east2-ac asia-northeast1-ac "
        "asia-northeast3-bc asia-south1-ab asia-southeast1-abc asia-southeast2-ab australia-southeast1-ac"
    ),
    "nvidia-l4": (
        "us-central1-abc us-east1-bcd us-east4-ac us-west1-abc us-west4-ac northamerica-northeast1-bc "
        "northamerica-northeast2-ab europe-west1-bc europe-west2-ab europe-west3-ab europe-west4-abc europe-west6-bc "
        "me-central2-ac asia-east1-abc asia-northeast1-abc asia-northeast3-ab asia-south1-abc asia-southeast1-abc"
    ),
    "nvidia-tesla-a100": (
        "us-central1-abcf us-east1-b us-west1-b us-west3-b us-west4-b europe-west4-ab me-west1-ac asia-northeast1-ac "
        "asia-northeast3-ab asia-southeast1-abc"
    ),
    "nvidia-a100-80gb": "us-central1-ac us-east4-c us-east5-ab europe-west4-a asia-southeast1-c",
    "nvidia-h100-80gb": (
        "us-central1-abc us-east4-abc us-east5-a us-west1-ab us-west4-a europe-north1-c europe-west1-bc "
        "europe-west3-c europe-west4-bc europe-west8-c europe-west9-c asia-east1-c asia-northeast1-b asia-south1-c "
        "asia-south2-b asia-southeast1-bc australia-southeast1-c"
    ),
    "nvidia-h200-141gb": (
        "us-central1-b us-east4-b us-east5-a us-south1-b us-west1-c europe-west1-b europe-west4-a asia-south1-b "
        "asia-south2-c"
    ),
    "nvidia-b200": (
        "us-central1-b us-east1-b us-east4-b us-south1-b us-west2-c us-west3-bc europe-north1-b europe-west4-b "
        "asia-northeast1-b asia-southeast1-b"
    ),
    "tpu-v5e": (
        "us-central1-a us-east1-bc us-east4-b us-east5-abc us-south1-ab us-west1-c us-west4-ab "
        "northamerica-northeast1-b southamerica-west1-bc europe-north1-ac europe-west1-bc europe-west3-c "
        "europe-west4-ab asia-east1-abc asia-northeast1-b asia-southeast1-b"
    ),
    "tpu-v5p": "us-central1-a us-east1-d us-east5-abc us-south1-abc europe-west1-bd europe-west4-b",
    "tpu-v6e": (
        "us-central1-abc us-east1-d us-east4-a us-east5-abc us-south1-ac us-west1-c southamerica-west1-a "
        "europe-west4-a asia-northeast1-b asia-south1-bc asia-southeast1-b"
    ),
    "tpu-ironwood": "us-central1-c",
}
"""Regions, each with the letters of its zones that have some machine with it."""
ZONES: dict[str, dict[str, str]] = {
    kind: {region: letters for region, _, letters in (each.rpartition("-") for each in offered.split())}
    for kind, offered in _OFFERED.items()
}
"""By accelerator and region."""

KINDS = (*GPUS, *TPUS)
TRAINABLE = (*GPUS, *(kind for kind, tpu in TPUS.items() if tpu.tensorflow))
"""Those that a stack's training may use."""


@dataclass(frozen=True)
class Shape:
    """The nodes that an accelerator stands on."""

    machine_type: str
    chips_per_node: int
    nodes_per_slice: int
    """1 but for a TPU slice over several machines, which come and go together."""
    quota: str


def shape(kind: str, count: int = 1, topology: str | None = None) -> Shape:
    """The machine for `count` GPUs a node, or for a TPU slice; raises PenstockError for what Google does not offer."""
    if kind in GPUS:
        return _gpu(kind, count, topology)
    if kind not in TPUS:
        raise PenstockError(f"accelerator {kind!r} is not known; known are {', '.join(KINDS)}")
    tpu = TPUS[kind]
    if topology not in tpu.topologies and not _cubes(topology or "", tpu.largest):
        larger = f", or AxBxC of multiples of {SIDE} from small to large, {tpu.largest:,} chips at most"
        known = f"{', '.join(tpu.topologies)}{larger if tpu.largest else ''}"
        raise PenstockError(f"{kind} has no topology {topology!r}; it has {known}")
    chips = prod(int(side) for side in str(topology).split("x"))
    # Larger slices are made of machines with four chips.
    per_node = chips if chips in tpu.machines else 4
    return Shape(tpu.machines[per_node], per_node, max(1, chips // per_node), tpu.quota)


def _gpu(kind: str, count: int, topology: str | None) -> Shape:
    gpu = GPUS[kind]
    if topology is not None:
        raise PenstockError(f"topology {topology!r} is for TPUs; {kind} is a GPU")
    if count not in gpu.machines:
        offered = ", ".join(str(number) for number in gpu.machines)
        raise PenstockError(f"no machine has {count} {kind}; there are machines with {offered}")
    return Shape(gpu.machines[count], count, 1, gpu.quota)


def _cubes(topology: str, largest: int) -> bool:
    """Whether it is a slice of whole cubes."""
    if not re.fullmatch(r"[1-9]\d{0,2}(x[1-9]\d{0,2}){2}", topology):
        return False
    sides = [int(side) for side in topology.split("x")]
    return not any(side % SIDE for side in sides) and sides == sorted(sides) and prod(sides) <= largest


def offering(kind: str, region: str) -> tuple[str, ...]:
    """The zones of a region that are known to offer an accelerator."""
    return tuple(f"{region}-{letter}" for letter in ZONES[kind].get(region, ""))


def partition(kind: str, size: str) -> str:
    """A valid size of Multi-Instance GPU partition; raises PenstockError for one that the GPU cannot be cut into."""
    sizes = GPUS[kind].mig if kind in GPUS else ()
    if size not in sizes:
        raise PenstockError(
            f"{kind} cannot be cut into {size!r}" + (f"; it can into {', '.join(sizes)}" if sizes else "")
        )
    return size


def selectors(kind: str, topology: str | None = None) -> dict[str, str]:
    """The node labels by which a pod finds the accelerator."""
    if kind in TPUS:
        return {
            "cloud.google.com/gke-tpu-accelerator": TPUS[kind].label,
            "cloud.google.com/gke-tpu-topology": str(topology),
        }
    return {"cloud.google.com/gke-accelerator": kind}
