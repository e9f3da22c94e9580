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


def test_the_readme_is_short_enough_to_be_read():
    assert len((CHECKOUT / "README.md").read_text(encoding="utf-8").splitlines()) < 150
