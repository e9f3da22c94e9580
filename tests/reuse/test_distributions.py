"""The wheels: complete metadata, nothing but their package, and public names that a foreign program may rely on."""

import json
import subprocess
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata

from tests.reuse.conftest import CHECKOUT, DISTRIBUTIONS, run_uv

NAMES = Path(__file__).parent / "public_names.txt"
# Run in the foreign environment, isolated from the folder it is run in.
ASK = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    found[name] = {"file": module.__file__, "names": sorted(f"{name}.{each}" for each in module.__all__)}
print(json.dumps(found))
"""
MODULES = ("penstock", "penstock.kubernetes", "penstock.gcp", "penstock.gitops")


@pytest.fixture(scope="module")
def seen(foreign):
    """What a foreign program finds."""
    done = subprocess.run(
        [foreign / "bin/python", "-I", "-c", ASK, *MODULES], cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_s_metadata_is_whole_and_true(name, wheels):
    with zipfile.ZipFile(wheels[name]) as wheel:
        files = wheel.namelist()
        (raw,) = [wheel.read(each) for each in files if each.endswith(".dist-info/METADATA")]
    metadata = Metadata.from_email(raw, validate=True)
    assert metadata.description_content_type == "text/markdown"
    assert f"# {metadata.name}" in (metadata.description or "").splitlines()
    assert metadata.summary
    assert metadata.license_expression == "Apache-2.0"
    assert metadata.requires_python == ">=3.10,<3.14"
    assert metadata.keywords
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (10, 11, 12, 13)} <= set(
        metadata.classifiers or ()
    )
    # Whoever installs it gets one package, typed, and the licence; nothing else lands on the path.
    tops = {each.partition("/")[0] for each in files}
    assert tops == {DISTRIBUTIONS[name], f"{DISTRIBUTIONS[name]}-{metadata.version}.dist-info"}
    assert f"{DISTRIBUTIONS[name]}/py.typed" in files
    assert any(each.endswith("/licenses/LICENSE") for each in files)


def test_a_fresh_environment_outside_the_checkout_imports_it_from_there(seen, foreign):
    assert all(str(foreign) in each["file"] for each in seen.values())


def test_the_public_names_are_those_on_record(seen):
    """A name that is gone breaks somebody's program; one that is new is a promise, hence written down."""
    found = {name for each in seen.values() for name in each["names"]}
    recorded = set(NAMES.read_text().split())
    assert not recorded - found, "these names are public, and gone"
    assert not found - recorded, f"write these into {NAMES.name}, if they are to stay"


@pytest.mark.parametrize(("folder", "package"), DISTRIBUTIONS.items())
def test_pip_installs_it_from_the_git_repository(folder, package, tmp_path):
    if subprocess.run(["git", "rev-parse"], cwd=CHECKOUT, capture_output=True, check=False).returncode != 0:
        pytest.skip("this is no clone")
    wanted = f"{package.replace('_', '-')} @ git+file://{CHECKOUT}#subdirectory={folder}"
    run_uv("pip", "install", "--target", tmp_path, "--no-deps", wanted)
    assert (tmp_path / package / "py.typed").is_file()
    source = json.loads(next(tmp_path.glob("*.dist-info/direct_url.json")).read_text())
    assert (source["subdirectory"], source["vcs_info"]["vcs"]) == (folder, "git")


def test_every_public_name_can_be_imported_and_says_what_it_is():
    """In the environment with every extra: those of Google Cloud are imported when they are asked for.

    Of a name without a docstring the reference has nothing.
    """
    for name in NAMES.read_text().split():
        module, _, attribute = name.rpartition(".")
        found = getattr(__import__(module, fromlist=[attribute]), attribute)
        assert (found.__doc__ or "").strip(), name
        assert not found.__doc__.startswith(f"{attribute}("), f"{name}: what a dataclass gives itself"
