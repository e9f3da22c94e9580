import json
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.command import cost, main
from penstock.command.project import Project
from penstock.errors import PenstockError
from penstock.gcp import prices

CHECKOUT = Project(Path(__file__).resolve().parents[4])


def test_the_project_is_found_from_any_folder_in_it():
    assert Project.around(CHECKOUT.root / "stacks").root == CHECKOUT.root


def test_outside_of_a_project_it_is_said_what_is_missing(tmp_path):
    with pytest.raises(PenstockError, match=r"there is no Pulumi.yaml in .* or above it"):
        Project.around(tmp_path)


def test_a_setting_is_the_stack_s_own_or_the_project_s_default():
    assert CHECKOUT.setting("dev", "platform") == "gcp"
    assert CHECKOUT.setting("local", "platform") == "local"
    assert CHECKOUT.setting("local", "raw") is None


def test_nothing_is_made_where_nothing_was_deployed(tmp_path, monkeypatch):
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    monkeypatch.delenv("PENSTOCK_HOME", raising=False)
    (tmp_path / "Pulumi.yaml").write_text("name: empty\nruntime: python\n")
    project = Project(tmp_path)
    cli = CHECKOUT.cli
    assert cli is not None
    assert "PULUMI_BACKEND_URL" not in project.variables(cli), "the person's own login is used"
    assert [path.name for path in tmp_path.iterdir()] == ["Pulumi.yaml"]


def test_the_state_is_the_project_s_own_for_what_is_started_with_its_variables_too(tmp_path, monkeypatch):
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path))
    project, cli = CHECKOUT, CHECKOUT.cli
    assert cli is not None
    project.prepare()
    monkeypatch.setenv("PULUMI_BACKEND_URL", project.variables(cli)["PULUMI_BACKEND_URL"])
    assert project.backend == tmp_path / "state"
    monkeypatch.setenv("PULUMI_BACKEND_URL", "gs://acme-state")
    assert project.backend is None


@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_the_cost_is_the_preview_s(stack):
    environment = cost.google_environment(CHECKOUT, stack)
    assert cost.estimated(CHECKOUT, stack) == prices.cost(environment, environment.run_hours, environment.prices)


def test_a_stack_without_an_environment_is_told(tmp_path):
    (tmp_path / "Pulumi.yaml").write_text("name: empty\nruntime: python\n")
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {empty:platform: gcp}\n")
    with pytest.raises(PenstockError, match="setting 'gcp' of stack dev does not describe an environment"):
        cost.estimated(Project(tmp_path), "dev")


def test_the_salt_goes_and_what_a_secret_needs_stays(tmp_path, monkeypatch):
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    (tmp_path / "Pulumi.yaml").write_text("name: empty\nruntime: python\n")
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text("encryptionsalt: v1:abc\nconfig:\n  empty:rows: 3\n")
    Project(tmp_path).drop_salt("dev")
    assert file.read_text() == "config:\n  empty:rows: 3\n"
    secret = "encryptionsalt: v1:abc\nconfig:\n  empty:key:\n    secure: v1:xyz\n"
    file.write_text(secret)
    Project(tmp_path).drop_salt("dev")
    assert file.read_text() == secret


@pytest.mark.parametrize(("other", "stays"), [("", False), ("encryptionsalt: v1:abc\n", True)])
def test_the_passphrase_goes_with_the_last_stack_unless_secrets_of_any_are_closed_by_it(
    tmp_path, monkeypatch, other, stays
):
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE", raising=False)
    (tmp_path / "Pulumi.yaml").write_text("name: empty\nruntime: python\n")
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n  empty:rows: 3\n")
    (tmp_path / "Pulumi.prod.yaml").write_text(other)
    project = Project(tmp_path)
    project.prepare()
    passphrase = project.home / "passphrase"
    assert passphrase.read_text()
    project.forget_passphrase()
    assert passphrase.exists() == stays


def test_secrets_are_left_out_of_a_configuration_however_deep_they_lie(tmp_path):
    (tmp_path / "Pulumi.yaml").write_text("name: empty\nruntime: python\n")
    config = {"empty:key": {"secure": "v1:x"}, "empty:deep": {"webhook": {"secure": "v1:x"}, "rows": 3}, "empty:n": 1}
    (tmp_path / "Pulumi.dev.yaml").write_text(json.dumps({"config": config}))
    project = Project(tmp_path)
    assert project.config(project.config_file("dev")) == {"empty:deep": '{"rows": 3}', "empty:n": "1"}


def test_importing_penstock_imports_nothing_of_the_command():
    program = "import sys, penstock; print([name for name in sys.modules if name.split('.')[0] in ('typer', 'rich')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_its_extra_the_command_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.delitem(sys.modules, "penstock.command.app", raising=False)
    with pytest.raises(SystemExit, match=r"the package typer is missing: `pip install 'penstock\[command\]'`"):
        main()
