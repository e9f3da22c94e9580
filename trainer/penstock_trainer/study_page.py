"""A study as one page for people: how the best value was found, what mattered, and every trial."""

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from penstock_trainer.charts import Series, plot
from penstock_trainer.pages import Share, document, number, section, table, text


def page(name: str, results: Mapping[str, Any]) -> str:
    """The whole page, from the content of `study.json`."""
    metric, best = results["metric"], results["best"]
    trials = results["trials"]
    complete = [trial for trial in trials if trial["state"] == "COMPLETE"]
    spent = f"{results['process_seconds']:,.0f} s of processes in {results['seconds']:,.0f} s"
    if results["usd"] is not None:
        spent += f", {results['usd']:,.2f} USD"
    facts = [
        (f"best {metric}", f"{best['value']:.4f} (trial {best['number']})"),
        ("trials", _count(results)),
        ("spent", spent),
        *([("ended early", results["stopped"])] if results["stopped"] else []),
    ]
    importance = sorted(results["importance"].items(), key=lambda each: -each[1])
    shown = [(key, round(share, 3), Share(share)) for key, share in importance]
    body = section("The study", table(facts))
    body += section(
        "Best hyperparameters", table((key, _said(value)) for key, value in best["hyperparameters"].items())
    )
    body += f"<div class=columns>{section('History', _history(complete, results))}"
    body += section("Learning", _learning(trials, best["number"], metric)) + "</div>"
    why = "<p class=soft>The share of each hyperparameter in what separates good trials from others (PED-ANOVA).</p>"
    nothing = "<p>Too few finished trials to tell.</p>"
    body += section("What mattered", why + (table(shown) if shown else nothing))
    by = "".join(section(key, _by(key, complete, best["number"], metric)) for key in best["hyperparameters"])
    body += f"<h2>{text(metric)} by each hyperparameter</h2><div class=columns>{by}</div>"
    body += section("All trials", _all(trials, metric))
    return document(f"{name}: study", f"Tuning, {results['direction']} validation {metric}.", body)


def _count(results: Mapping[str, Any]) -> str:
    states = [trial["state"].lower() for trial in results["trials"]]
    return f"{', '.join(f'{states.count(s)} {s}' for s in dict.fromkeys(states))}; {results['wanted']} were wanted"


def _history(complete: list[Mapping[str, Any]], results: Mapping[str, Any]) -> str:
    better = max if results["direction"] == "maximize" else min
    points = [(trial["number"], trial["value"]) for trial in complete]
    so_far = list(accumulate((value for _, value in points), better))
    line = [(place, value) for (place, _), value in zip(points, so_far, strict=True)]
    titles = [_title(trial) for trial in complete]
    return plot([Series(line, "line"), Series(points, titles=titles)], "trial", results["metric"])


def _learning(trials: list[Mapping[str, Any]], best: int, metric: str) -> str:
    """Each trial's validation metric after each epoch; of a single epoch there is no line to draw."""
    lines = [
        Series(
            [(epoch["number"], epoch["validation"][metric]) for epoch in trial["epochs"]],
            "line" if len(trial["epochs"]) > 1 else "dots",
            "" if trial["number"] == best else "faint",
        )
        for trial in sorted(trials, key=lambda trial: trial["number"] == best)
    ]
    return plot(lines, "epoch", metric)


def _by(key: str, complete: list[Mapping[str, Any]], best: int, metric: str) -> str:
    found = [trial for trial in complete if key in trial["hyperparameters"]]
    values = [trial["hyperparameters"][key] for trial in found]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    names = [] if numeric else sorted({str(value) for value in values})
    places = values if numeric else [names.index(str(value)) for value in values]
    positive = numeric and min(values) > 0 and max(values) >= 20 * min(values)
    series = [
        Series([(place, trial["value"])], "dots", "best" if trial["number"] == best else "", [_title(trial)])
        for place, trial in zip(places, found, strict=True)
    ]
    return plot(series, key, metric, log=positive, names=names)


def _all(trials: list[Mapping[str, Any]], metric: str) -> str:
    keys = list(dict.fromkeys(key for trial in trials for key in trial["hyperparameters"]))
    header = ["trial", "state", metric, "epochs", "seconds", *keys, "why it ended"]
    rows = []
    for trial in trials:
        said = [_said(trial["hyperparameters"].get(key)) for key in keys]
        why = trial.get("ended_by") or ("its process died" if trial["state"] == "FAIL" else None)
        if "retry_of" in trial:
            why = f"{why or ''} (retry of trial {trial['retry_of']})".strip()
        state = trial["state"].lower()
        rows.append((trial["number"], state, trial["value"], len(trial["epochs"]), trial["seconds"], *said, why))
    return table(rows, header)


def _title(trial: Mapping[str, Any]) -> str:
    said = ", ".join(f"{key} {_said(value)}" for key, value in trial["hyperparameters"].items())
    return f"trial {trial['number']}: {trial['value']:.4f}; {said}"


def _said(value: Any) -> str | None:
    return number(value) if isinstance(value, float) else None if value is None else str(value)
