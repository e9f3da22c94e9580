"""GPUs and TPUs of Google Cloud: which machine holds how many, in which slice, where. Pure.

Written down on 2026-11-23 from memory of Google's public documentation, without a look online: what the project itself
is offered is asked where credentials are there.
"""

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
TPUS: dict[str, Tpu] = {
    "tpu-v5e": Tpu(
        "tpu-v5-lite-podslice",
        {1: "ct5lp-hightpu-1t", 4: "ct5lp-hightpu-4t", 8: "ct5lp-hightpu-8t"},
        _PLANES,
        "TPU_LITE_PODSLICE_V5",
    ),
    "tpu-v5p": Tpu("tpu-v5p-slice", {4: "ct5p-hightpu-4t"}, _CUBES, "TPU_PODSLICE_V5P"),
    "tpu-v6e": Tpu(
        "tpu-v6e-slice", {1: "ct6e-standard-1t", 4: "ct6e-standard-4t", 8: "ct6e-standard-8t"}, _PLANES, "TPU_V6E"
    ),
    "tpu-ironwood": Tpu("tpu7x", {4: "tpu7x-standard-4t"}, _CUBES, "TPU_7X", tensorflow=False, workload_policy=True),
}

REGIONS: dict[str, tuple[str, ...]] = {
    "nvidia-tesla-t4": (
        "us-central1",
        "us-east1",
        "us-east4",
        "us-west1",
        "europe-west1",
        "europe-west4",
        "asia-east1",
    ),
    "nvidia-l4": ("us-central1", "us-east1", "us-east4", "us-west1", "us-west4", "europe-west1", "europe-west4"),
    "nvidia-tesla-a100": ("us-central1", "us-east1", "us-west1", "europe-west4", "asia-southeast1"),
    "nvidia-a100-80gb": ("us-central1", "us-east4", "us-east5", "europe-west4", "asia-southeast1"),
    "nvidia-h100-80gb": ("us-central1", "us-east4", "us-east5", "us-west1", "europe-west4", "asia-southeast1"),
    "nvidia-h200-141gb": ("us-central1", "us-east4", "us-south1", "us-west1", "europe-west1"),
    "nvidia-b200": ("us-central1", "us-east1", "us-east4", "us-west2", "us-west3", "europe-west4"),
    "tpu-v5e": ("us-central1", "us-south1", "us-west1", "us-west4", "europe-west4"),
    "tpu-v5p": ("us-central1", "us-east5", "europe-west4"),
    "tpu-v6e": ("us-central1", "us-central2", "us-east1", "us-east5", "us-south1", "europe-west4", "asia-northeast1"),
    "tpu-ironwood": ("us-central1", "us-east5", "europe-west4"),
}
"""Regions known to offer each; offered in some of their zones only."""

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
    if topology not in tpu.topologies:
        raise PenstockError(f"{kind} has no topology {topology!r}; it has {', '.join(tpu.topologies)}")
    chips = prod(int(side) for side in topology.split("x"))
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
