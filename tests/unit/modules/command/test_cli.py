"""Which Pulumi CLI is taken."""

import os

from penstock.command import cli


def made(folder):
    """A CLI that says its version, with the language host beside it."""
    folder.mkdir(parents=True)
    for name in ("pulumi", cli.LANGUAGE_HOST):
        (folder / name).write_text(f"#!/bin/sh\necho v{cli.OLDEST}\n")
        (folder / name).chmod(0o755)
    return folder


def test_the_projects_own_is_known_as_built_though_it_is_on_path_by_another_name(tmp_path, monkeypatch):
    own = made(tmp_path / "tools/pulumi/bin").parent
    (own / cli.BUILT).touch()
    (tmp_path / "copy").symlink_to(tmp_path / "tools")
    monkeypatch.setenv("PATH", f"{own / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert cli.find(tmp_path / "copy/pulumi") == cli.PulumiCli(tmp_path / "copy/pulumi/bin", built=True)


def test_another_one_on_path_comes_first_and_may_fetch_plugins(tmp_path, monkeypatch):
    own = made(tmp_path / "tools/pulumi/bin").parent
    (own / cli.BUILT).write_text(cli.OLDEST)
    other = made(tmp_path / "installed")
    monkeypatch.setenv("PATH", f"{other}{os.pathsep}{os.environ['PATH']}")
    assert cli.find(own) == cli.PulumiCli(other, built=False)


def test_one_that_was_built_is_not_asked_for_its_version(tmp_path, monkeypatch):
    own = made(tmp_path / "tools/pulumi/bin").parent
    (own / "bin/pulumi").write_text("#!/bin/sh\nexit 1\n")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert cli.find(own) is None
    (own / cli.BUILT).write_text(cli.OLDEST)
    assert cli.find(own) == cli.PulumiCli(own / "bin", built=True)
    (own / cli.BUILT).write_text("3.0.0")
    assert cli.find(own) is None
