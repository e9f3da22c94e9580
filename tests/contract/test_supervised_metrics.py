"""What Prometheus is told by an endpoint of several workers: the counts of all, whichever one it asks."""

import os
import signal

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

REQUESTS = 30


@pytest.fixture
def endpoint(supervised):
    """An endpoint with two workers."""
    endpoint = supervised()
    endpoint.plan(replicas={"lowest": 2, "highest": 2})
    endpoint.start()
    return endpoint.until(lambda: endpoint.status()["ready"] == 2)


def scraped(endpoint) -> dict[tuple[str, ...], float]:
    """One scrape, over a connection of its own, so that any worker may answer it: samples by name and sorted labels."""
    text = httpx.get(f"http://127.0.0.1:{endpoint.port}/metrics").text
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    return {
        (s.name, *(s.labels[label] for label in sorted(s.labels))): s.value
        for family in families
        for s in family.samples
    }


def test_every_worker_tells_the_counts_of_all_which_never_go_down(endpoint, load):
    for _ in range(REQUESTS):
        httpx.post(f"http://127.0.0.1:{endpoint.port}{load.PATH}", json=load.BODY).raise_for_status()
    answered = ("penstock_requests_total", "200", "predict")
    endpoint.until(lambda: scraped(endpoint).get(answered) == REQUESTS)
    found = [scraped(endpoint) for _ in range(20)]
    assert {each[answered] for each in found} == {REQUESTS}
    last = found[-1]
    assert last["penstock_rows_total", endpoint.NAME, "1"] == 3 * REQUESTS
    assert last["penstock_request_duration_seconds_count", endpoint.NAME, "1"] == REQUESTS
    assert last["penstock_request_duration_seconds_bucket", "+Inf", endpoint.NAME, "1"] == REQUESTS
    assert last["penstock_ready", endpoint.NAME, "1"] == 1
    scrapes = ("penstock_requests_total", "200", "metrics")
    counts = [each.get(scrapes, 0.0) for each in found]  # a scrape is counted when it has been answered
    assert counts == sorted(counts)

    victim = endpoint.workers()[0]
    os.kill(victim, signal.SIGKILL)
    endpoint.until(lambda: endpoint.status()["ready"] == 2 and victim not in endpoint.workers())
    after = scraped(endpoint)
    assert after[answered] == REQUESTS
    assert after["process_cpu_seconds_total",] >= last["process_cpu_seconds_total",]
    endpoint.follow(latest="2", replicas={"lowest": 2, "highest": 2})
    endpoint.predict(load.BODY).raise_for_status()
    endpoint.until(lambda: scraped(endpoint)[answered] == REQUESTS + 1)
    rows = [value for (name, *_), value in scraped(endpoint).items() if name == "penstock_rows_total"]
    assert sum(rows) == 3 * (REQUESTS + 1)  # of both versions: workers with the first may answer for a moment yet
    # The worker that took over had asked itself before: nobody has counted or observed that.
    assert '"event": "rehearsed"' in endpoint.log
    assert scraped(endpoint)["penstock_observed_rows", endpoint.NAME, "2"] <= 3


def test_requests_that_are_not_answered_yet_are_told_by_their_number(endpoint, load):
    in_flight = ("penstock_requests_in_flight",)
    asked = [load.half_asked(endpoint.port, load.PATH) for _ in range(7)]
    endpoint.until(lambda: scraped(endpoint)[in_flight] == 7)
    assert [load.answer_to(connection) for connection in asked] == [load.ANSWER] * 7
    endpoint.until(lambda: scraped(endpoint)[in_flight] == 0)


def test_a_scrape_of_an_endpoint_without_its_supervisor_or_that_is_ending_is_answered(endpoint):
    endpoint.processes[-1].terminate()
    while endpoint.processes[-1].poll() is None:
        try:
            assert scraped(endpoint)
        except httpx.TransportError:
            break
    assert endpoint.processes[-1].wait(30) == 0
