"""What the pages tell people to type is there; links are the strict build's to check."""

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
MAKEFILE = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
PAGES = [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md")]
NAMED = re.compile(r"`make (?:-s )?([a-z-]+)[ `]|^(?: {4})?make ([a-z-]+)(?: [A-Z]+=.*| +#.*)?$", re.MULTILINE)
TARGETS = {
    (page.name, named[1] or named[2]) for page in PAGES for named in NAMED.finditer(page.read_text(encoding="utf-8"))
}


@pytest.mark.parametrize(("page", "target"), sorted(TARGETS))
def test_every_make_target_that_a_page_names_is_there(page, target):
    script = CHECKOUT / "benchmarks" / f"{target.removeprefix('bench-').replace('-', '_')}.py"
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE) or (target.startswith("bench-") and script.exists())


PROMISES = re.findall(r"^\| (\d+) \|(.*)\|$", (CHECKOUT / "docs/promises.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_promise_has_a_row():
    assert [int(number) for number, _ in PROMISES] == list(range(1, 20))


@pytest.mark.parametrize(("number", "row"), PROMISES, ids=[number for number, _ in PROMISES])
def test_what_shows_that_a_promise_holds_is_there(number, row):
    shown = row.rpartition(" | ")[2]
    files = re.findall(r"`(tests/[^`]+)`", shown)
    files += [f"benchmarks/{name.replace('-', '_')}.py" for name in re.findall(r"`make bench-([a-z-]+)`", shown)]
    assert files, "neither a test nor a benchmark"
    assert [file for file in files if not (CHECKOUT / file).is_file()] == []


def test_the_readme_is_short_enough_to_be_read():
    assert len((CHECKOUT / "README.md").read_text(encoding="utf-8").splitlines()) < 150
