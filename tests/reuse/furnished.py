"""`python -m venv FOLDER` for a repository made from the template: what is of others, gigabytes, is there already."""

import sys
import venv
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
LIKE = {"trainer": "trainer/.venv", "serving": ".tools/serving-slim"}
"""By folder, the checkout's environment that has the same of others; `.venv` for the program's, whose pip all have."""


def packages(environment: Path) -> Path:
    """Where an environment has its packages."""
    return next(environment.glob("lib/python*/site-packages"))


def furnish(environment: Path, like: Path) -> None:
    """Links, one by one, what another environment has of others, and pip: nothing of Penstock's is among it."""
    there = packages(environment) / "others"
    there.mkdir()
    found = {each.name: each for each in packages(CHECKOUT / ".venv").glob("pip*")}
    found |= {each.name: each for each in packages(like).iterdir() if not each.name.startswith(("penstock", "pip"))}
    for name, each in found.items():
        if each.suffix != ".pth":
            (there / name).symlink_to(each)
    there.with_suffix(".pth").write_text(f"{there}\n")


if __name__ == "__main__":
    assert sys.argv[1:3] == ["-m", "venv"]
    target = Path(sys.argv[3]).absolute()
    venv.main(["--without-pip", str(target)])
    furnish(target, CHECKOUT / LIKE.get(target.parent.name, ".venv"))
