"""The local target: jobs and services are supervised processes of this machine."""

from penstock.local.platform import LocalPlatform

__all__ = ["LocalPlatform"]
