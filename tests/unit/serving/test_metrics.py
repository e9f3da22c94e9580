"""What Prometheus is told of one version, and for how long."""

import json

from penstock_serving.metrics import Metrics, VersionMetrics


def gauges(metrics: Metrics) -> list[str]:
    return [line for line in metrics.render().decode().splitlines() if line.startswith("penstock_skew")]


def test_a_retired_version_is_judged_no_more_and_the_others_are():
    metrics = Metrics()
    old, new = (VersionMetrics(metrics, "flights", version, f"sha256:{version}") for version in "12")
    for version in (old, new):
        version.judged({"distance": {"psi": 2.5}}, {"distance": True})
    old.retire()
    for version in (old, new):  # the window that was open when it was retired is finished and judged later
        version.judged({"distance": {"psi": 3.5}}, {"distance": True})
    assert gauges(metrics) == [
        'penstock_skew_excess{column="distance",measure="psi",model="flights",version="2"} 3.5',
        'penstock_skewed{column="distance",model="flights",version="2"} 1.0',
    ]


def test_a_snapshot_has_the_latest_verdict_and_nothing_of_a_version_that_is_retired():
    metrics = Metrics()
    version = VersionMetrics(metrics, "flights", "1", "sha256:1")

    def skew() -> list[float]:
        found = metrics.snapshot()["largest"]
        return [value for key, value in found.items() if json.loads(key)[0] == "penstock_skew_excess"]

    assert skew() == []
    for value in (2.5, 3.5):
        version.judged({"distance": {"psi": value}}, {"distance": True})
        version.rows.inc()
        assert skew() == skew() == [value]
    assert 2.0 in metrics.snapshot()["counts"].values()
    version.retire()
    assert skew() == []
