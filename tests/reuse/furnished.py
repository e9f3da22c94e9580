"""`python -m venv FOLDER` for a repository made from the template: its pip takes the locks' versions, and what is two
gigabytes is there already."""

import sys
import venv
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def constrain(folder: Path, member: str) -> None:
    """The versions of a lock, without the hashes that would have to be known of everything."""
    lines = (CHECKOUT / member / "requirements.txt").read_text(encoding="utf-8").splitlines()
    (folder / "versions.txt").write_text("\n".join(line.rstrip(" \\") for line in lines if line[:1].isalnum()))
    (folder / "pip.conf").write_text(f"[install]\nconstraint = {folder / 'versions.txt'}\n")


def furnish(packages: Path) -> None:
    """What the checkout's trainer has of others, linked one by one: not the trainer itself."""
    there = packages / "others"
    there.mkdir()
    for each in next((CHECKOUT / "trainer/.venv").glob("lib/python*/site-packages")).iterdir():
        if not each.name.startswith(("penstock", "_penstock", "__editable__", "pip")) and each.suffix != ".pth":
            (there / each.name).symlink_to(each)
    (packages / "others.pth").write_text(f"{there}\n")


if __name__ == "__main__":
    assert sys.argv[1:3] == ["-m", "venv"]
    target = Path(sys.argv[3]).absolute()
    venv.main([str(target)])
    constrain(target, target.parent.name if target.parent.name in ("trainer", "serving") else "modules")
    if target.parent.name == "trainer":
        furnish(next(target.glob("lib/python*/site-packages")))
