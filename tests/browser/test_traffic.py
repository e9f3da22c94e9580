"""The page of an endpoint of several versions: who answers how much, and who only in the shadow."""

import re
import shutil

import pytest
from playwright.sync_api import expect

BODY = {"instances": [1.0, 2.0, 5.0]}
REQUESTS = 60


@pytest.fixture(scope="module")
def console(endpoint) -> str:
    """The page's address, once the shadow has been compared with a few answers."""
    for key in range(REQUESTS):
        assert endpoint.predict(BODY, **{"x-request-key": str(key)}).status_code == 200
    endpoint.until(lambda: (endpoint.traffic().get("comparison") or {}).get("compared", 0) > 5)
    return f"http://127.0.0.1:{endpoint.port}/"


def test_every_version_is_shown_with_its_digest_its_share_and_what_it_has_answered(page, endpoint, contrasts):
    expect(page.locator("#versions tr")).to_have_count(4)
    shown = [row.split("\t") for row in page.locator("#versions tr").all_inner_texts()[1:]]
    digests = [version["digest"] for _, version in sorted(endpoint.versions.items())]
    assert [[cell.strip() for cell in row[:4]] for row in shown] == [
        [number, digest, "available", part]
        for number, digest, part in zip("123", digests, ("70 %", "30 %", "in the shadow"), strict=True)
    ]
    answered = [int(row[4].strip().replace(",", "")) for row in shown]
    assert answered[0] > answered[1] > 0
    assert (sum(answered[:2]) >= REQUESTS, answered[2]) == (True, 0), "a shadow answers nobody"
    assert "tolerance\t1e-6" in page.locator("#metrics").inner_text(), "not rounded to 0"
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#answer")).to_contain_text("ms)")
    assert float(page.locator("#answer").inner_text().split()[0]) in (3.5, 4.5), "version 1's answer, or version 2's"
    assert page.locator("#state").inner_text() == "ready"
    assert [(ratio, text) for ratio, text in contrasts(page) if ratio < 4.5] == []


def test_it_fits_a_narrow_screen(page):
    page.set_viewport_size({"width": 320, "height": 700})
    expect(page.locator("#versions tr")).to_have_count(4)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_a_number_that_there_is_none_of_is_a_dash_and_the_page_goes_on(page):
    def without_numbers(route):
        gates = {"skew": {"value": None, "limit": None, "broken": False}}
        rollout = {"candidate": "2", "percent": 50, "gates": gates, "events": []}
        route.fulfill(json={**route.fetch().json(), "rollout": rollout})

    page.route("**/traffic", without_numbers)
    expect(page.locator("#changing")).to_contain_text("at 50 %, skew \N{EN DASH} of \N{EN DASH}.", timeout=20_000)
    assert page.locator("#state").inner_text() == "ready"


def test_a_page_whose_version_answers_nobody_any_more_says_so(page, endpoint, contrasts):
    said = page.locator("#changing")
    expect(said).to_contain_text("answers compared")
    expect(said).not_to_contain_text("load it again")
    try:
        endpoint.follow(traffic={"1": 0, "2": 100, "3": 0})
        old = "This page is of version 1, which clients are not answered by any more: load it again."
        expect(said).to_contain_text(old, timeout=20_000)
        assert [(ratio, text) for ratio, text in contrasts(page) if ratio < 4.5] == []
    finally:
        endpoint.follow(traffic={"1": 70, "2": 30, "3": 0})
    expect(said).not_to_contain_text("load it again", timeout=20_000)


def test_a_rollout_and_a_version_that_was_refused_are_told(page, endpoint, tmp_path, contrasts):
    said = page.locator("#changing")
    expect(said).to_contain_text(re.compile(r"Version 3 in the shadow: [\d,]+ answers compared, 0 failed, "))
    rollout = {"steps": [50, 100], "step_seconds": 3600, "step_requests": 1000}
    forged = shutil.copytree(endpoint.versions["1"]["path"], tmp_path / "forged")
    (forged / "schema.json").write_text("{}")
    endpoint.versions["4"] = {"path": str(forged), "digest": endpoint.versions["1"]["digest"]}
    try:
        endpoint.follow(latest="2", rollout=rollout)
        expect(said).to_contain_text("Rollout: version 2 is at 50 %", timeout=20_000)
        expect(said).to_contain_text(re.compile(r": version 2 begun, 50 %$"))
        endpoint.follow(latest="4")
        refusal = re.compile(r"Version 4 was refused: .*schema\.json has digest sha256:")
        expect(said).to_contain_text(refusal, timeout=20_000)
        refused = page.locator("#versions tr").last.inner_text().split("\t")
        assert [cell.strip() for cell in refused] == ["4", "", "refused", "none", "0"]
        assert [(ratio, text) for ratio, text in contrasts(page) if ratio < 4.5] == []
    finally:
        del endpoint.versions["4"]
        endpoint.follow(latest="2", traffic={"1": 70, "2": 30, "3": 0})
