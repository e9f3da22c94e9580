"""The platform that a stack's settings choose."""

import os
from pathlib import Path

import pulumi
from settings import Settings

from penstock import LocalPlatform, Platform
from penstock.kubernetes import KubernetesPlatform
from penstock.naming import model_name

PROJECT = Path(__file__).resolve().parent.parent


def chosen(s: Settings) -> Platform:
    """Where the pipeline runs."""
    stack = pulumi.get_stack()
    if s.gcp is not None and s.platform == "gcp":
        # Imported for those who use it: what runs on this machine alone needs no cloud's SDK.
        from penstock.gcp.platform import GcpPlatform

        return GcpPlatform(stack, s.gcp, model_name(s.problem), PROJECT)
    if s.cluster is not None and s.platform == "cluster":
        return KubernetesPlatform(stack, s.cluster.args(stack, PROJECT), PROJECT)
    home = Path(os.environ.get("PENSTOCK_HOME") or PROJECT / ".penstock")
    return LocalPlatform(PROJECT, home, stack)
