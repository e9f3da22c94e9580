"""The console page of a real server in a real browser: the system's chromium, driven by Playwright."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import free_port

# The servers and models of the contract tests.
_spec = importlib.util.spec_from_file_location("contract", Path(__file__).parents[1] / "contract" / "conftest.py")
assert _spec
assert _spec.loader
contract = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(contract)
models, serve = contract.models, contract.serve

CONTRAST = """() => {
  const channels = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
  const linear = (c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = channels(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || ["SCRIPT", "STYLE"].includes(node.tagName)) continue;
    const [a, b] = [light(channels(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), node.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""
NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    """The browser's path."""
    found = os.environ.get("PENSTOCK_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None or not os.access(found, os.X_OK):
        pytest.exit(
            f"no browser ({found or ', '.join(NAMES)}): install one (Debian: apt-get install chromium), or name its"
            " executable in PENSTOCK_CHROMIUM",
            returncode=1,
        )
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless browser."""
    executable = chromium()
    with sync_playwright() as playwright:
        # Its own sandbox needs rights that containers do not give, and the only page it sees is ours.
        browser = playwright.chromium.launch(executable_path=executable, chromium_sandbox=False)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def endpoint(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A supervised endpoint of three versions: one answers 70 %, one 30 %, one in the shadow."""
    made = contract.Supervised(tmp_path_factory.mktemp("endpoint"), models, free_port())
    third = models / "kinds"
    made.versions["3"] = {"path": str(third), "digest": contract.Manifest.read(third).digest}
    made.plan(latest="2", traffic={"1": 70, "2": 30, "3": 0})
    try:
        yield made.start()
    finally:
        made.client.close()
        for process in made.processes:
            process.terminate()
            process.wait(30)


@pytest.fixture(params=["light", "dark"])
def scheme(request) -> str:
    """Both colour schemes."""
    return request.param


@pytest.fixture
def page(browser: Browser, console: str, scheme: str) -> Iterator[Page]:
    """The console page, loaded; a test fails if the page logged an error or reached for anything but its own server."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1100, "height": 900})  # pyright: ignore[reportArgumentType]
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    # The browser itself reports every refused request as an error; a row that the server refuses is one by design.
    refused = "the server responded with a status of 400"
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" and refused not in m.text else None)
    page.on("request", lambda sent: None if sent.url.startswith((console, "data:")) else wrong.append(sent.url))
    page.goto(console)
    page.wait_for_selector("#columns article")
    yield page
    context.close()
    assert wrong == []


@pytest.fixture
def contrasts() -> Callable[[Page], list[tuple[float, str]]]:
    """Every text that a page shows, with its contrast to what is behind it."""
    return lambda page: page.evaluate(CONTRAST)
