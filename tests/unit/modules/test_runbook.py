"""docs/runbook.md has an entry for every alarm and for every message that stops a deployment."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.errors import PenstockError
from penstock.gcp.dashboard import CloudRun, OnCluster
from penstock.gcp.environment import Budget

CHECKOUT = Path(__file__).resolve().parents[3]
RUNBOOK = (CHECKOUT / "docs/runbook.md").read_text(encoding="utf-8")
ENTRIES = [
    [part.strip() for part in span.split("…") if part.strip()]
    for cell in re.findall(r"^\| (.+?) \|", RUNBOOK, re.MULTILINE)
    for span in re.findall(r"`([^`]+)`", cell)
]
TOLD_BY_STAGES = (
    *("artifacts", "beam_pipeline", "checkpoints", "clusters", "compare", "csv_blocks", "dataset", "export"),
    *("google_sign_in", "loop", "membership", "parquet_blocks", "preprocess", "raw", "runners", "signing"),
    *("statistics", "study", "study_limits", "study_storage", "train", "tune"),
)
"""Of the trainer, what raw files, machines and earlier artifacts do to a run. What a problem's file or a command line
does wrong is told to who writes it (docs/problem.md), before anything is deployed."""
ENDING = {"Preempted", "RuntimeError", "Unreachable"}
"""Errors of these stages that are nobody's input, and end them all the same."""
TOLD_BY_THE_SERVER = ("access", "grpc_server", "handover", "plan", "schema", "seal", "supervisor")
"""Of the server, what keeps it from starting. What a request does wrong is told to its sender (docs/rest.md)."""
WORDS = 12
"""A message whose pieces are all shorter than this is another's words, which are passed on."""


def messages() -> Iterator[tuple[str, list[str]]]:
    """Where an error of ours is raised that stops a deployment, and the fixed pieces of its message."""
    files = [*(CHECKOUT / "modules/penstock").rglob("*.py"), *(CHECKOUT / "stacks").glob("*.py")]
    files += [*(CHECKOUT / "tools").glob("*.py"), *(CHECKOUT / "tools/cluster").glob("*.py")]
    files += [CHECKOUT / f"trainer/penstock_trainer/{name}.py" for name in TOLD_BY_STAGES]
    files += [CHECKOUT / f"serving/penstock_serving/{name}.py" for name in TOLD_BY_THE_SERVER]
    for file in sorted(files):
        looked = ours() | (ENDING if file.parent.name == "penstock_trainer" else set())
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and _name(node.exc.func) in looked:
                pieces = [piece for argument in node.exc.args for piece in _pieces(argument)]
                if any(len(piece) >= WORDS for piece in pieces):
                    yield f"{file.relative_to(CHECKOUT)}:{node.lineno}", pieces


def ours() -> set[str]:
    """The names of all errors that are shown to a person as they are."""
    import penstock.command.interrupted
    import penstock.kubernetes.api  # noqa: F401 (for its errors)

    found, looked = [PenstockError], {"SettingsError", "InputError", "PlanError", "ToolError"}
    while found:
        each = found.pop()
        looked.add(each.__name__)
        found += each.__subclasses__()
    return looked


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _pieces(argument: ast.expr) -> list[str]:
    """The fixed pieces of an f-string or a text."""
    if isinstance(argument, ast.Constant):
        return [argument.value] if isinstance(argument.value, str) else []
    if isinstance(argument, ast.JoinedStr):
        return [piece for value in argument.values for piece in _pieces(value)]
    return []


MESSAGES = dict(messages())


def plain(place: str) -> str:
    """A message's fixed pieces, without marks of code."""
    return " ".join(" ".join(MESSAGES[place]).replace("`", "").split())


def fits(entry: list[str], place: str) -> bool:
    """Whether all words of an entry are those of a message."""
    return all(part in plain(place) for part in entry)


@pytest.mark.parametrize("place", MESSAGES)
def test_every_error_message_has_an_entry(place):
    assert [entry for entry in ENTRIES if fits(entry, place)], plain(place)


def test_every_alarm_has_an_entry():
    for alarm in (*CloudRun("service").alarms(), *OnCluster("cluster", "namespace").alarms()):
        assert f"| `{alarm}` (Google Cloud) |" in RUNBOOK


def alarms() -> dict[str, str]:
    """The rows of the alarms, by their first cell."""
    (section,) = re.findall(r"^## Alarms$(.*?)^## ", RUNBOOK, re.MULTILINE | re.DOTALL)
    return {line.split(" | ")[0].removeprefix("| "): line for line in section.splitlines() if line.startswith("| ")}


def test_every_alert_of_the_server_and_its_monitor_has_an_entry():
    metrics = (CHECKOUT / "serving/penstock_serving/metrics.py").read_text(encoding="utf-8")
    bad = set(re.findall(r'"(penstock_(?:skew|unobserved)\w*)"', metrics))
    assert len(bad) >= 3
    for name in bad:
        assert [each for each in alarms() if f"`{name}`" in each], name
    (webhook,) = (line for each, line in alarms().items() if "webhook" in each)
    (told,) = re.findall(r"read `(\w+)`", webhook)
    assert f'"{told}"' in (CHECKOUT / "serving/penstock_serving/skew/monitor.py").read_text(encoding="utf-8")


def test_every_way_in_which_a_server_that_has_started_says_that_it_is_not_ready_has_an_entry():
    tree = ast.parse((CHECKOUT / "serving/penstock_serving/app.py").read_text(encoding="utf-8"))
    (answer,) = (node for node in ast.walk(tree) if getattr(node, "name", "") == "_readyz")
    assigned = [node for node in ast.walk(answer) if isinstance(node, ast.Assign)]
    values = [node.value for node in assigned if getattr(node.targets[0], "id", "") == "state"]
    states = {each.value for value in values for each in ast.walk(value) if isinstance(each, ast.Constant)}
    assert states > {"ready", "loading", "stopping"}, "a server's life without a fault"
    for state in states - {"ready", "loading", "stopping"}:
        assert f"`/readyz` says `{state}`" in alarms()


def test_the_budget_s_entry_names_a_setting_that_there_is():
    (setting,) = re.findall(r"`gcp\.budget\.(\w+)`", alarms()["budget"])
    assert setting in Budget.model_fields


def test_every_check_of_a_deployed_stack_has_an_entry():
    (section,) = re.findall(r"^## `penstock verify`$(.*?)^## ", RUNBOOK, re.MULTILINE | re.DOTALL)
    files = (CHECKOUT / "modules/penstock/verification").glob("test_*.py")
    checks = {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)}
    assert set(re.findall(r"`(test_\w+)`", section)) == checks


def test_no_entry_fits_so_many_messages_that_it_would_hide_a_missing_one():
    assert len(MESSAGES) > 50
    for entry in ENTRIES:
        assert sum(fits(entry, place) for place in MESSAGES) <= 6, entry
