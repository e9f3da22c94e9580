"""docs/training.md does what it says: its roles, started by hand, end in a model and leave nobody behind."""

import os
import re
import socket
import subprocess
from pathlib import Path

PROJECT = Path(__file__).parents[3]


def test_the_page_s_roles_started_by_hand_end_in_a_model(dataset, tmp_path):
    (commands,) = re.findall(r"```sh\n(.*?)```", (PROJECT / "docs/training.md").read_text(), re.DOTALL)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    for place, each in enumerate(sockets, start=1):
        commands = commands.replace(f"2340{place}", str(each.getsockname()[1]))
        each.close()
    environment = {**os.environ, "ROOT": str(tmp_path), "DATASET": dataset.path}
    done = subprocess.run(
        ["bash", "-e", "-c", f"{commands}\nwait || true"],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "epoch 2 of 2" in done.stdout
    assert "ps-0 listens on" in done.stdout
    assert len(list((tmp_path / "models").glob("[0-9a-f]*/manifest.json"))) == 1
    assert not list((tmp_path / "models").glob(".*"))
