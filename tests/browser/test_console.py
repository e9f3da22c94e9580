"""What a person sees at `/`, in light and in dark, with a mouse, a keyboard or a screen reader."""

import random
import re
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

REQUESTS = 10
SHADE = "(node) => getComputedStyle(node).backgroundColor"


def rows(seed: int, scale: float) -> list[dict[str, Any]]:
    """400 rows as the training rows of the contract tests' model are, but for the distance."""
    chance = random.Random(seed)
    return [
        {
            **{name: chance.choice(["UA", "B6", "EWR"]) for name in ("carrier", "origin", "dest", "engine")},
            "temp": chance.uniform(0, 100),
            "seats": chance.randint(0, 100),
            "distance": scale * chance.uniform(0, 100),
            "month": chance.randint(1, 12),
        }
        for _ in range(400)
    ]


def tiles(page: Page) -> dict[str, float]:
    """The live figures, all of one moment."""
    found = (text.split("\n") for text in page.locator("#live > div").all_inner_texts())
    return {name: float(value.replace(",", "")) for value, name in found}


@pytest.fixture(scope="session")
def server(serve) -> Any:
    """A server to which miles came as kilometres, twice."""
    server = serve("flights", "--window-seconds", "1").wait_until_ready()
    deadline = time.monotonic() + 60
    for seed in range(2):
        server.predict({"instances": rows(seed, 1.609)})
        while server.client.get("/v1/models/flights/skew").json()["status"] not in ("moved", "skew")[seed:]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    return server


@pytest.fixture(scope="session")
def console(server) -> str:
    """The page's address."""
    return f"{server.url}/"


def test_what_moved_is_said_and_drawn_first(page):
    assert page.locator("#verdict").inner_text().startswith("Skewed in the 400 rows from ")
    assert page.locator("#verdict li").first.inner_text().startswith("mean of `distance` moved by +1.")
    first = page.locator("#columns article").first
    assert first.locator("h3").inner_text().split() == ["distance", "skewed"]
    assert first.locator("svg rect.was").count() == first.locator("svg rect.now").count() == 24
    label = first.locator("svg").get_attribute("aria-label")
    assert re.fullmatch(r"distance: training rows beside rows received, from 0\.\d+ to 99\.\d+", label)
    carrier = page.locator("#columns article", has_text="carrier")
    assert carrier.locator("h3").inner_text().split("\n") == ["carrier", "as learnt"]
    assert "% → " in carrier.inner_text()
    page.locator("#columns article summary").first.click()
    assert "mean shift" in first.inner_text()


def test_versions_and_live_figures_are_those_of_the_server(page, server):
    expect(page.locator("#versions td")).to_have_count(5)
    assert page.locator("#changing").inner_text() == ""
    version = page.locator("#versions tr").nth(1).inner_text().split("\t")
    assert version[0] == "1"
    assert version[1].strip() == server.client.get("/v1/models/flights/attestation").json()["digest"]
    assert [cell.strip() for cell in version[2:4]] == ["available", "100 %"]
    before = tiles(page)
    assert before["rows answered"] >= 800
    assert server.predict({"instances": [{}]}).status_code == 400
    for _ in range(REQUESTS - 1):
        server.predict({"instances": rows(9, 1.0)[:1]})
    rate = page.locator("#live > div", has_text="requests/s now").locator("b")
    expect(rate).not_to_have_text("0", timeout=20_000)
    assert 0 < tiles(page)["requests/s now"] <= REQUESTS, "the page asks every two seconds"
    expect(page.locator("#live b").first).to_have_text(f"{before['requests'] + REQUESTS:,.0f}", timeout=20_000)
    after = tiles(page)
    assert after["rows answered"] == before["rows answered"] + REQUESTS - 1
    assert after["refused or failed"] == before["refused or failed"] + 1
    assert 0 < after["ms, median request"] <= after["ms, 99th percentile"]


def test_a_row_is_answered_as_by_rest_with_the_keyboard_alone(page, server):
    page.get_by_role("spinbutton", name="distance", exact=True).fill("250.5")
    page.get_by_role("textbox", name="carrier", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#answer")).to_contain_text("ms)")
    row = server.client.get("/openapi.json").json()["components"]["schemas"]["Row"]["examples"][0]
    (expected,) = server.predict({"instances": [{**row, "distance": 250.5}]}).json()["predictions"]
    assert float(page.locator("#answer").inner_text().split()[0]) == pytest.approx(expected, abs=1e-4)


def test_a_refused_row_shows_the_server_s_own_words(page):
    page.get_by_role("spinbutton", name="month", exact=True).fill("99999999")
    with page.expect_response("**:predict") as answer:
        page.get_by_role("button", name="Predict").click()
    assert answer.value.status == 400
    expect(page.locator("#answer.bad")).to_have_text(answer.value.json()["error"])


def test_the_page_is_as_light_or_dark_as_its_reader_s_screen(page, scheme):
    shades = {
        part: sum(map(int, re.findall(r"\d+", page.locator(part).first.evaluate(SHADE)))) / 3
        for part in ("body", "section", "input")
    }
    assert all((shade > 200) if scheme == "light" else (shade < 60) for shade in shades.values()), shades


def test_every_text_stands_out_from_what_is_behind_it(page, contrasts):
    """WCAG 2.1 AA: a contrast of at least 4.5."""
    expect(page.locator("#versions td")).to_have_count(5)
    found = contrasts(page)
    assert len(found) > 100
    assert [(ratio, text) for ratio, text in found if ratio < 4.5] == []


def test_every_field_picture_and_section_has_a_name(page):
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("input, svg[role=img], section")].filter((node) =>
          !(node.labels?.[0]?.textContent || node.getAttribute("aria-label") || node.getAttribute("aria-labelledby")
            || node.querySelector("h2"))).map((node) => node.outerHTML.slice(0, 80))"""
    )
    assert unnamed == []
    assert page.locator("h1").inner_text() == page.title() == "flights"
    assert page.locator("html").get_attribute("lang") == "en"


@pytest.mark.parametrize("width", [320, 768])
def test_a_narrow_screen_scrolls_in_one_direction_only(page, width):
    page.set_viewport_size({"width": width, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
