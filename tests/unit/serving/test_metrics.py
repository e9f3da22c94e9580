"""What Prometheus is told of one version, and for how long."""

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
