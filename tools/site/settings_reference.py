"""Fills the page of the settings from the schema in stacks/, read and not imported."""

from pathlib import Path
from typing import Any

import griffe  # pyright: ignore[reportMissingImports]: it is in the pages' environment
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE, PLACE = "reference/settings.md", "<!-- settings -->"
SCHEMAS = (
    ("", "stacks", "settings", "Settings"),
    ("cluster", "stacks", "cluster_settings", "ClusterSettings"),
    ("cluster.machines.ROLE", "stacks", "cluster_settings", "MachineSettings"),
    ("gcp", "modules", "penstock.gcp.environment", "Environment"),
    ("gcp.accelerator", "modules", "penstock.gcp.environment", "Accelerator"),
    ("gcp.budget", "modules", "penstock.gcp.environment", "Budget"),
    ("gcp.budget.stages", "modules", "penstock.gcp.environment", "Stages"),
    ("monitoring", "stacks", "monitoring_settings", "MonitoringSettings"),
    ("rollout", "stacks", "rollout_settings", "Rollout"),
)
PASSED_ON = {
    "cluster": "penstock.kubernetes.cluster_args.ClusterArgs",
    "cluster.machines.ROLE": "penstock.kubernetes.pods.Machine",
}
"""What takes a setting under its own name, and describes it there."""


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with its tables; MkDocs calls it for every page."""
    if page.file.src_uri != PAGE:
        return markdown
    return markdown.replace(PLACE, tables())


def tables() -> str:
    """All settings, with their types, defaults and descriptions."""
    return "\n".join(_table(*schema) for schema in SCHEMAS)


def _table(prefix: str, folder: str, module: str, name: str) -> str:
    found = _loaded(folder, f"{module}.{name}")
    said = _descriptions(prefix)
    lines = [f"## {prefix or 'A stack'}", "", "| setting | type | default | |", "|---|---|---|---|"]
    for each in found.attributes.values():
        if each.annotation is None or "property" in each.labels or each.name.startswith(("_", "model_config")):
            continue
        text = str(each.docstring.value) if each.docstring else said.get(each.name, "")
        default = "required" if each.value is None else f"`{each.value}`"
        # Within marks of code a bar is no end of a cell.
        cells = (f"`{each.name}`", f"`{each.annotation}`", default, text.replace("\n", " ").replace("|", "\\|"))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _loaded(folder: str, path: str) -> Any:
    return griffe.load(path, search_paths=[ROOT / folder], allow_inspection=False)


def _descriptions(prefix: str) -> dict[str, str]:
    """What `Pulumi.yaml` says of a setting, or what takes it."""
    if prefix in PASSED_ON:
        found = _loaded("modules", PASSED_ON[prefix]).attributes
        return {name: each.docstring.value for name, each in found.items() if each.docstring}
    if prefix:
        return {}
    declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    return {name: entry["description"] for name, entry in declared.items()}
