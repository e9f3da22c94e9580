"""docs/reuse.md does what it says."""

import json
import re
import shlex
import shutil

import pytest
import yaml
from packaging.requirements import Requirement

from tests.reuse.conftest import CHECKOUT, PACKAGE, Program

PAGE = (CHECKOUT / "docs/reuse.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]


def test_every_example_is_in_the_table_and_says_what_it_is_in_40_lines_of_program():
    listed = re.findall(r"^\| \[(\w+)\]\(\.\./examples/(\w+)/__main__\.py\)", PAGE, flags=re.MULTILINE)
    assert sorted(name for name, _ in listed) == sorted(each.name for each in (CHECKOUT / "examples").iterdir())
    for name, folder in listed:
        assert name == folder
        docstring, _, program = (CHECKOUT / f"examples/{name}/__main__.py").read_text()[3:].partition('"""')
        assert "pulumi up" in docstring
        assert 10 <= len(program.strip().splitlines()) <= 40


@pytest.fixture
def previewed(tmp_path, environments, repository):
    """What a program would make, by name; the problem lies beside it under a name."""

    def preview(program, problem):
        shutil.copytree(CHECKOUT / "examples/existing_model", tmp_path / "project")
        (tmp_path / "project/__main__.py").write_text(program)
        shutil.copy(repository / PACKAGE / "late.py", tmp_path / "project" / problem)
        shutil.copytree(repository / "data", tmp_path / "project/data")
        steps = json.loads(Program(tmp_path / "project", environments).run("preview", "--json"))["steps"]
        return {step["urn"].rpartition("::")[2] for step in steps if step["op"] == "create"}

    return preview


def test_the_python_program_makes_a_model_and_an_endpoint(previewed):
    (program,) = blocks("python")
    assert {"late-model", "late-server"} <= previewed(program, "late.py")


def test_the_program_of_the_readme_of_modules_makes_a_pipeline_from_raw_files_to_an_endpoint(previewed):
    (program,) = re.findall(r"^```python\n(.*?)^```", (CHECKOUT / "modules/README.md").read_text(), flags=re.M | re.S)
    made = {f"flow-{each}" for each in ("preprocess-dataset", "tune-study", "train-model", "serve-server")}
    assert made <= previewed(program, "problem.py")


def test_the_yaml_program_is_one_that_the_schema_allows():
    (text,) = blocks("yaml")
    program, schema = yaml.safe_load(text), json.loads((CHECKOUT / "modules/schema.json").read_text())
    ((name, resource),) = program["resources"].items()
    known = schema["resources"][resource["type"]]
    assert set(known["requiredInputs"]) <= resource["properties"].keys() <= known["inputProperties"].keys()
    for property_, value in resource["properties"].items():
        if "$ref" in (of := known["inputProperties"][property_]):
            assert value.keys() <= schema["types"][of["$ref"].rpartition("/")[2]]["properties"].keys()
    ((_, output),) = program["outputs"].items()
    assert output.startswith(f"${{{name}.")
    assert output.rpartition(".")[2].rstrip("}") in known["properties"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one(command):
    program, *arguments = shlex.split(command)
    if arguments[:3] == ["-m", "pip", "install"]:
        for wanted in map(Requirement, arguments[3:]):
            declared = (CHECKOUT / str(wanted.url).rpartition("=")[2] / "pyproject.toml").read_text()
            assert f'name = "{wanted.name}"' in declared
            assert all(f"\n{extra} = [" in declared for extra in wanted.extras)
    elif program == "copier":
        assert (CHECKOUT / arguments[1] / "copier.yml").is_file()
    else:
        assert program.endswith("python")
        assert (CHECKOUT / arguments[0]).is_file()
