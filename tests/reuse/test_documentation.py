"""docs/reuse.md does what it says."""

import json
import os
import re
import shlex
import shutil

import go_programs
import pytest
import yaml
from packaging.requirements import Requirement

from tests.reuse.conftest import CHECKOUT, PACKAGE, Program, consuming
from tests.reuse.test_own_repository import ROW, asked

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


def test_the_yaml_program_serves_a_model_through_the_real_engine(tmp_path, environments, foreign, carried):
    (text,) = blocks("yaml")
    model, written = carried.artifact("flow-train-model"), yaml.safe_load(text)
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text(text)
    with consuming(folder, environments, foreign) as program:
        host = go_programs.program("pulumi-language-yaml")
        program.environment["PATH"] = os.pathsep.join([str(host.parent), program.environment["PATH"]])
        endpoint = written["resources"]["late"]["properties"]
        endpoint |= {"model": model, "port": program.port, "modelNam": "late"}
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump(written))
        assert "modelNam" in program.run("preview", expected=1), "the host knows the schema"
        del endpoint["modelNam"]
        endpoint["platform"] = {"local": {"serving": "nowhere"}}
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump(written))
        said = program.run("preview", expected=1)
        assert "property arguments has a problem: the serving environment is not there" in said
        assert "Traceback" not in said
        assert 'File "' not in said
        endpoint["platform"] = {"local": {}}
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump(written))
        program.up()
        assert asked(program.outputs()["url"], ROW)[1] == model["digest"]
        assert "unchanged" in program.up()


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
