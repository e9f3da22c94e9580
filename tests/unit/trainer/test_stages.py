"""What a stage leaves behind beside its artifact."""

import json

from .conftest import run


def test_a_result_file_that_is_there_already_keeps_its_place(tmp_path, artifacts, raw):
    mounted = tmp_path / "result.json"
    mounted.write_text("x" * 10_000)
    place = mounted.stat().st_ino
    flags = ("--problem", "flights", "--artifacts", artifacts, "--rows", 6000, "--shards", 2)
    again = run("raw", *flags, folder=tmp_path)
    assert again.reused
    assert mounted.stat().st_ino == place
    assert json.loads(mounted.read_text())["digest"] == raw.digest
