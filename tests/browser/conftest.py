"""The console page of a real server in a real browser: the system's chromium, driven by Playwright."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

# The servers and models of the contract tests.
_spec = importlib.util.spec_from_file_location("contract", Path(__file__).parents[1] / "contract" / "conftest.py")
assert _spec
assert _spec.loader
contract = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(contract)
models, serve = contract.models, contract.serve

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
