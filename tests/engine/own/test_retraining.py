"""A problem and raw files of one's own, by the commands that README.md shows; then the same `up` on a schedule.

New raw data train a candidate, which serves only where it beats the model that does.
"""

import json
import re
import shutil
import subprocess
import urllib.request

from tests.conftest import CHECKOUT

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
(OWN_PROBLEM,) = re.findall(r"```sh\n(eval .*?)```", README, re.DOTALL)
FIRST, LATER = 400, 6000
"""Rows of the first raw file, whose stars are out of ten by mistake, and of the one that comes later."""
WRITE = """
import sys
from pathlib import Path
import pyarrow as pa, pyarrow.compute as pc, pyarrow.parquet as pq
from penstock_trainer.problems import movielens

folder, (first, later) = Path(sys.argv[1]), map(int, sys.argv[2:])
movielens.write_shards(folder, first + later, 1)
(file,) = folder.glob("*.parquet")
table = pq.read_table(file)
mistaken = pa.array(row % (len(table) // first) == 0 for row in range(len(table)))
ours, rest = table.filter(mistaken), table.filter(pc.invert(mistaken))
doubled = pc.multiply(ours["rating"], 2.0)
pq.write_table(ours.set_column(ours.schema.get_field_index("rating"), "rating", doubled), folder / "first.parquet")
pq.write_table(rest, folder / "later.parquet")
print(len(ours), len(rest))
"""
ROW = {"rated_at": "2013-06-01T21:30:00+02:00", "viewer": "9999", "film": "318", "genres": "Drama", "film_year": 1994}


def test_new_raw_data_train_a_candidate_that_serves_only_where_it_beats_the_serving_model_on_the_same_rows(project):
    """A regression over Parquet files, where the other tests have a classification over CSV files."""
    raw, folder = project.root / "raw", project.root / "data"
    for each in (raw, folder):
        each.mkdir()
    command = [CHECKOUT / "trainer/.venv/bin/python", "-c", WRITE, raw, str(FIRST), str(LATER)]
    written = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert written.split() == [str(FIRST), str(LATER)]
    shutil.copy(CHECKOUT / "trainer/penstock_trainer/problems/ratings.py", project.root / "my_problem.py")
    settings = {"promote": "better", "strategy": "local", "trials": 1, "epochs": 2}
    project.configure(**settings, minimum_gain=9)
    shutil.copy(raw / "first.parquet", folder)
    by_hand(project)
    before = project.outputs()
    assert before["rows"]["rows"] == FIRST
    assert before["model_name"] == "my_problem"
    assert set(before["metrics"]["test"]) == {"rmse", "mae", "r2"}
    assert before["decision"]["reason"] == "nothing serves yet: the candidate does from now on"
    assert project.get("/attestation")["digest"] == before["model_digest"]

    shutil.copy(raw / "later.parquet", folder)
    told = project.run("up")
    outputs = project.outputs()
    decision = outputs["decision"]
    assert outputs["rows"]["rows"] == FIRST + LATER
    assert outputs["dataset_digest"] != before["dataset_digest"], "new raw data have a new digest"
    assert not decision["promoted"], told
    assert "is not better by more than 9" in told
    assert decision["rows"] == outputs["rows"]["test"], "both answered the new dataset's test rows"
    assert decision["serving"]["digest"] == before["model_digest"]
    candidate = decision["candidate"]["digest"]
    assert candidate != before["model_digest"]
    assert outputs["model_digest"] == project.get("/attestation")["digest"] == before["model_digest"]

    project.configure(**settings, problem="my_problem.py", raw="data/*.parquet")
    told = project.run("up")
    decision, outputs = project.outputs()["decision"], project.outputs()
    assert decision["promoted"], told
    assert decision["candidate"]["metrics"]["rmse"] < decision["serving"]["metrics"]["rmse"]
    assert decision["candidate"]["digest"] == candidate, "it is trained once"
    assert outputs["model_digest"] == project.get("/attestation")["digest"] == candidate
    request = urllib.request.Request(outputs["endpoint"] + ":predict", json.dumps({"instances": [ROW]}).encode())
    with urllib.request.urlopen(request, timeout=30) as response:
        (stars,) = json.load(response)["predictions"]
    assert 1 < stars < 5


def by_hand(project):
    """README's commands; `make -s env` is run as the Makefile does, and nobody is asked."""
    target = re.search(r"^env:.*\n\t@(.*) \$\(STACK\)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert target is not None
    script = OWN_PROBLEM.replace("make -s env", f"{target[1]} local")
    assert script != OWN_PROBLEM
    own = {**project.environment(), "PULUMI_SKIP_CONFIRMATIONS": "true"}
    done = subprocess.run(["sh", "-ec", script], cwd=project.root, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
