import sys
import venv

import pytest

from penstock.errors import PenstockError
from penstock.local import programs
from penstock.platform import Program


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment with something that is called penstock_trainer, and somebody's package."""
    folder = tmp_path_factory.mktemp("project") / "trainer" / ".venv"
    venv.create(folder, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    for name in ("penstock_trainer/core.py", "parcels/problem.py", "parcels/columns.py"):
        file = packages / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("A = 1\n")
        (file.parent / "__init__.py").touch()
    return folder


def problem_file(environment):
    return next(environment.glob("lib/python*/site-packages/parcels")) / "columns.py"


def test_a_trainer_that_is_nowhere_is_told_with_the_way_to_make_one(tmp_path, monkeypatch):
    monkeypatch.delenv("PENSTOCK_TRAINER", raising=False)
    with pytest.raises(PenstockError) as caught:
        programs.find(Program.TRAINER, tmp_path, None)
    told = str(caught.value)
    assert f"{tmp_path}/trainer/.venv" in told
    assert "pip install 'penstock-trainer[tensorflow,beam," in told
    assert "LocalPlatform(trainer=...)" in told
    assert "PENSTOCK_TRAINER" in told


def test_an_environment_that_is_named_but_none_is_told_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("PENSTOCK_SERVING", "elsewhere")
    with pytest.raises(PenstockError, match="elsewhere is no Python environment"):
        programs.find(Program.SERVER, tmp_path, None)


def test_the_named_environment_comes_before_the_variable_and_that_before_the_project_s(environment, monkeypatch):
    project = environment.parents[1]
    monkeypatch.delenv("PENSTOCK_TRAINER", raising=False)
    assert programs.find(Program.TRAINER, project, None).python == environment / "bin/python"
    monkeypatch.setenv("PENSTOCK_TRAINER", sys.prefix)
    assert str(programs.find(Program.TRAINER, project, None).python) == f"{sys.prefix}/bin/python"
    assert programs.find(Program.TRAINER, project, environment).python == environment / "bin/python"


def test_what_is_installed_has_a_digest_that_changes_with_the_problem_s_package(environment):
    found = programs.find(Program.TRAINER, environment.parents[1], None)
    alone, before = found.fingerprint(), found.fingerprint(["parcels.problem"])
    assert before == found.fingerprint(["parcels.problem"]) != alone
    problem_file(environment).write_text("A = 2\n")
    assert found.fingerprint(["parcels.problem"]) != before
    assert found.fingerprint() == alone


def test_a_problem_s_package_that_is_not_installed_is_told_with_the_way_to_install_it(environment):
    found = programs.find(Program.TRAINER, environment.parents[1], None)
    with pytest.raises(PenstockError, match=r"has no module 'letters', which the setting `problem` names") as caught:
        found.fingerprint(["letters.problem"])
    assert f"{found.python} -m pip install" in str(caught.value)


def test_an_environment_without_the_program_is_told_with_what_to_install(environment):
    with pytest.raises(PenstockError, match=r"has no penstock_serving: .* -m pip install 'penstock-serving'"):
        programs.find(Program.SERVER, environment.parents[1], environment).fingerprint()
