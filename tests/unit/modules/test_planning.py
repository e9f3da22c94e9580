import re
from pathlib import Path

import planning

CHECKOUT = Path(__file__).resolve().parents[3]


def test_the_page_s_tables_are_those_that_are_computed():
    assert planning.tables(planning.Data(), planning.Machines()) in planning.PAGE.read_text(encoding="utf-8"), (
        "run `.venv/bin/python tools/planning.py`"
    )


def test_every_rate_is_one_that_was_measured():
    text = (CHECKOUT / "docs/measurements.md").read_text(encoding="utf-8")
    for rate in (
        planning.ROWS_PER_CPU_SECOND,
        planning.VALUES_PER_CPU_SECOND,
        2 * planning.EXAMPLES_PER_CPU_SECOND,
        planning.INPUT_PER_CPU_SECOND,
    ):
        assert f"{rate:,}" in text, rate


def test_what_a_cluster_needs_to_give_pods_their_nodes_is_what_was_measured():
    text = (CHECKOUT / "docs/measurements.md").read_text(encoding="utf-8")
    measured = dict(re.findall(r"^\| [\d,]+ \| ([\d,]+) \| ([\d.]+) s \|", text, re.M))
    page = " ".join(planning.PAGE.read_text(encoding="utf-8").split())
    said = re.findall(r"([\d.]+) s for ([\d,]+)(?: pods, which is more than this job's (\d+))?", page)
    assert len(said) == 2
    for seconds, pods, _ in said:
        assert measured[pods] == seconds
    machines = planning.Machines()
    chief = 1
    assert int(said[0][2]) == chief + machines.workers + machines.servers < int(said[0][1])


def test_twice_the_workers_take_half_the_minutes_and_as_many_cpu_hours():
    once = planning.preprocessing(planning.Data(), planning.Machines())
    twice = planning.preprocessing(planning.Data(), planning.Machines(beam_workers=120))
    assert [(name, cpu, minutes / 2) for name, cpu, minutes in once] == twice
