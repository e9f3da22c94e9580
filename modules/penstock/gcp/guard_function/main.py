"""The function that a budget's messages call: `main.py` and its entry point are where Google's buildpack looks."""

from typing import Any

import functions_framework

from penstock.gcp import guarding


@functions_framework.cloud_event
def guard(event: Any) -> None:
    """One message of a budget."""
    guarding.handle(event.data)
