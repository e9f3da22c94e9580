"""A repository made from the template, on an existing cluster: previewed by the commands of its README."""

import re
import shlex

import pytest

from tests.google.conftest import CHECKOUT, Stack
from tests.reuse.conftest import PACKAGE, from_template

DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def stack(tmp_path, schemas):
    """The repository as a project of the engine, with the stand-in provider."""
    folder = from_template(tmp_path / PACKAGE, package=PACKAGE)
    (folder / ".venv").symlink_to(CHECKOUT / ".venv")
    return Stack(folder, schemas, "cluster")


def test_the_commands_of_its_readme_are_a_whole_pipeline_on_a_cluster(stack, kubeconfig):
    lines = re.findall(r"^    pulumi (.* cluster.*)", (stack.folder / "README.md").read_text(), re.MULTILINE)
    *commands, up = [shlex.split(line.replace("sha256:...", DIGEST)) for line in lines]
    assert up == ["up", "-s", "cluster"]
    for command in commands:
        stack.run(*command)
    made = stack.steps(KUBECONFIG=str(kubeconfig))
    assert made["kubernetes:apps/v1:Deployment flow-serve-server"] == "create"
    stages = {name.rpartition(" ")[2] for name in made if name.startswith("kubernetes:jobset.x-k8s.io")}
    assert stages == {"flow-preprocess-dataset", "flow-tune-study", "flow-train-model"}


def test_its_image_has_its_package_where_the_trainer_s_image_looks_for_it(stack):
    (source, place) = re.findall(r"^COPY (\S+) (\S+)", (stack.folder / "Dockerfile").read_text(), re.MULTILINE)[0]
    (looks,) = re.findall(r"PYTHONPATH=(\S+)", (CHECKOUT / "trainer/Dockerfile").read_text())
    assert (stack.folder / source / "late.py").is_file()
    assert place == f"{looks}/{PACKAGE}"
