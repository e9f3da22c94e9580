"""What other languages say to a component: a platform in words, and numbers that have all become floats on the way."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import pulumi
from typing_extensions import NotRequired, TypedDict

from penstock.errors import PenstockError
from penstock.platform import Platform

A = TypeVar("A")


class LocalPlatformArgs(TypedDict):
    """The machine that deploys: jobs are processes, endpoints servers on its loopback address."""

    project: NotRequired[str]
    """Folder that relative paths start at. Default: the Pulumi project's."""
    home: NotRequired[str]
    """Folder for artifacts, logs and state. Default: what PENSTOCK_HOME names, else `.penstock` in the project."""
    trainer: NotRequired[str]
    """Environment, or its Python, with penstock-trainer. Default: PENSTOCK_TRAINER, else `trainer/.venv`."""
    serving: NotRequired[str]
    """Environment, or its Python, with penstock-serving. Default: PENSTOCK_SERVING, else `serving/.venv`."""


class KubernetesPlatformArgs(TypedDict):
    """An existing cluster, in one namespace of the stack's own."""

    trainer_image: str
    """Image with `python -m penstock_trainer`, by digest."""
    serving_image: str
    """Image with `python -m penstock_serving`, by digest."""
    kubeconfig: NotRequired[str]
    """Path of a kubeconfig. Default: what KUBECONFIG names, else `~/.kube/config`."""
    context: NotRequired[str]
    """Context of the kubeconfig. Default: its current one."""
    namespace: NotRequired[str]
    """Namespace to make. Default: `penstock-` and the stack's name."""
    storage_class: NotRequired[str]
    """Storage class of the artifacts' claim. Default: the cluster's."""
    storage_gib: NotRequired[int]
    """Size of the claim, in GiB. Default: 50."""
    data_claim: NotRequired[str]
    """A claim with raw files, mounted read-only at `/data`. Default: none."""
    artifacts_claim: NotRequired[str]
    """A claim for artifacts that is there already and stays, such as on a bucket. Default: one is made."""
    queue: NotRequired[str]
    """A Kueue ClusterQueue whose quota jobs wait for; the namespace gets a LocalQueue of that name. Default: none."""
    database_image: NotRequired[str]
    """PostgreSQL's image, by digest, for a `Tuning` whose storage is `postgresql`. Default: none."""
    timeout_minutes: NotRequired[float]
    """For how long one job is waited for. Default: a day."""


class PlatformArgs(TypedDict):
    """Where it runs: one of these. A cluster and Google Cloud are for a `Pipeline`, one in a stack."""

    local: NotRequired[LocalPlatformArgs]
    """The machine that deploys."""
    kubernetes: NotRequired[KubernetesPlatformArgs]
    """An existing cluster."""
    gcp: NotRequired[dict[str, Any]]
    """A project on Google Cloud, by the settings that docs/gcp.md has under `gcp`."""


def native(args: A) -> A:
    """The arguments as a Python program would have given them: whole numbers are `int`."""
    return cast(A, _whole(args))


def made(platform: Platform | pulumi.Input[PlatformArgs], model: str) -> Platform:
    """The platform itself, where it is given in words; `model` is the served model's name.

    Raises:
        PenstockError: the words name no platform, or more than one, or what they say of it is wrong.
    """
    if isinstance(platform, pulumi.Output) or hasattr(platform, "__await__"):
        raise PenstockError("argument 'platform' is known only after the deployment has begun; it must be plain")
    if not isinstance(platform, Mapping):
        return cast(Platform, platform)
    words = cast("Mapping[str, Mapping[str, Any]]", platform)
    if len(words) != 1 or next(iter(words)) not in PlatformArgs.__annotations__:
        raise PenstockError(
            f"argument 'platform' is {dict(words)!r}: expected one of {', '.join(PlatformArgs.__annotations__)}, "
            "for example {'local': {}}"
        )
    ((kind, said),) = words.items()
    # Imported for those who use it: what runs on this machine alone needs no cloud's SDK.
    if kind == "local":
        from penstock.local import LocalPlatform

        return LocalPlatform(**said)
    stack = pulumi.get_stack()
    if kind == "kubernetes":
        from penstock.kubernetes import ClusterArgs, KubernetesPlatform
        from penstock.kubernetes.api import default_kubeconfig

        given: dict[str, Any] = {"namespace": f"penstock-{stack}".lower(), "kubeconfig": default_kubeconfig(), **said}
        args = ClusterArgs(**given)
        return KubernetesPlatform(stack, args)
    from pydantic import ValidationError

    from penstock.gcp.environment import Environment
    from penstock.gcp.platform import GcpPlatform

    try:
        environment = Environment(**said)
    except ValidationError as exc:
        wrong = [f"'platform.gcp.{'.'.join(map(str, each['loc']))}': {each['msg']}" for each in exc.errors()]
        raise PenstockError("\n".join(wrong)) from exc
    return GcpPlatform(stack, environment, model)


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_whole(item) for item in cast("list[Any]", value)]
    return value
