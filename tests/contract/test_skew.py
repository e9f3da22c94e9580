"""Skew from end to end: rows posted to real servers, windows in a real folder, alerts to a real webhook."""

import json
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from penstock_trainer.artifacts import Manifest, verify

ROWS = 300


def rows(seed: int, scale: float = 1.0) -> list[dict[str, Any]]:
    """Rows as the training rows of `build_models` are; `scale` times the distance."""
    chance = random.Random(seed)
    return [
        {
            **{name: chance.choice(["UA", "B6", "EWR"]) for name in ("carrier", "origin", "dest", "engine")},
            **{name: chance.uniform(0, 100) for name in ("temp",)},
            "seats": chance.randint(0, 100),
            "distance": scale * chance.uniform(0, 100),
            "month": chance.randint(1, 12),
        }
        for _ in range(ROWS)
    ]


def wait_for(condition: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def windows(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*-*Z-*") if not path.name.startswith("."))


def judge(model: Path, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`python -m penstock_serving.skew`."""
    command = [sys.executable, "-m", "penstock_serving.skew", "--model", str(model), "--observations", str(folder)]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A URL, and what has been posted to it."""
    posted: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", posted
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def observed(serve, webhook, tmp_path_factory) -> Any:
    """A server with windows of one second, and their folder."""
    folder = tmp_path_factory.mktemp("observations")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENSTOCK_ALERT_WEBHOOK", webhook[0])
        server = serve("flights", "--observations", str(folder), "--window-seconds", "1")
    return server.wait_until_ready(), folder


def skew(server) -> dict[str, Any]:
    return server.client.get("/v1/models/flights/skew").json()


def test_skew_is_found_said_shown_counted_and_alerted_and_ends(observed, webhook, tmp_path, monkeypatch):
    server, folder = observed
    for seed in range(2):
        count = len(windows(folder))
        assert server.predict({"instances": rows(seed)}).status_code == 200
        wait_for(lambda count=count: len(windows(folder)) > count)
    quiet = wait_for(lambda: (found := skew(server)) and found["status"] == "quiet" and found)
    assert (quiet["said"], quiet["excess"] <= 1) == ([], True)
    assert judge(server.model, folder).returncode == 0
    assert webhook[1] == []

    for seed in range(2):
        count = len(windows(folder))
        server.predict({"instances": rows(10 + seed, scale=1.609)})
        wait_for(lambda count=count: len(windows(folder)) > count)
    found = wait_for(lambda: (found := skew(server)) and found["status"] == "skew" and found)
    assert [said.startswith("mean of `distance` moved by +1.") for said in found["said"]] == [True]
    assert found["digest"] == Manifest.read(server.model).digest
    assert found["columns"]["distance"]["status"] == "skew"
    assert found["columns"]["temp"]["status"] == "quiet"

    metrics = server.client.get("/metrics").text
    assert 'penstock_skewed{column="distance",model="flights",version="1"} 1.0' in metrics
    assert 'penstock_skewed{column="temp",model="flights",version="1"} 0.0' in metrics
    (line,) = [line for line in metrics.splitlines() if 'column="distance",measure="mean_shift"' in line]
    assert float(line.rpartition(" ")[2]) > 1
    assert f'penstock_observed_rows{{model="flights",version="1"}} {4 * ROWS:.1f}' in metrics

    judged = judge(server.model, folder)
    assert (judged.returncode, judged.stdout.count("\n")) == (1, 1)
    assert judged.stdout.startswith("mean of `distance` moved by +1.")
    assert judge(server.model, folder, "--skew-ignore", "distance").returncode == 0
    report = json.loads(judge(server.model, folder, "--json").stdout)
    assert report["columns"]["distance"]["measures"] == found["columns"]["distance"]["measures"]

    told = wait_for(lambda: webhook[1])
    assert [message["columns"] for message in told] == [["distance"]]
    assert told[0]["said"] == found["said"]
    assert told[0]["text"].startswith("flights version 1: mean of `distance` moved")
    page = (Path(__file__).parents[2] / "docs" / "skew.md").read_text(encoding="utf-8")
    assert told[0].keys() == json.loads(page.split("```json\n")[2].split("```")[0]).keys()

    # A job that judges on a schedule, where the servers tell nobody.
    copy = shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("alert-*"))
    monkeypatch.setenv("PENSTOCK_ALERT_WEBHOOK", webhook[0])
    assert [judge(server.model, copy, "--tell", "--name", "flights").returncode for _ in range(2)] == [1, 1]
    _, again = webhook[1]
    assert again == {**told[0], "version": (version := found["digest"][7:19]), "text": again["text"]}
    assert again["text"].startswith(f"flights version {version}: mean of `distance` moved")
    webhook[1].remove(again)

    server.predict({"instances": rows(20)})
    assert wait_for(lambda: len(webhook[1]) == 2)
    assert (webhook[1][1]["text"], webhook[1][1]["columns"]) == ("flights version 1: the skew is over", [])


def test_a_required_column_gone_missing_is_skew_though_no_row_of_it_is_answered(observed, webhook):
    server, folder = observed
    already = len(webhook[1])
    for seed in range(2):
        count = len(windows(folder))
        lacking = [{name: value for name, value in row.items() if name != "distance"} for row in rows(40 + seed)]
        assert server.predict({"instances": lacking}).status_code == 400
        wait_for(lambda count=count: len(windows(folder)) > count)
    found = wait_for(lambda: (found := skew(server)) and found["status"] == "skew" and found)
    assert [said.partition(" since ")[0] for said in found["said"]] == [
        "100 % of the rows are refused for `distance`, which is missing"
    ]
    assert (found["rows"], found["refused"]) == (0, {"distance": {"missing": ROWS}})
    assert found["columns"]["distance"]["status"] == "skew"
    metrics = server.client.get("/metrics").text
    assert 'penstock_skewed{column="distance",model="flights",version="1"} 1.0' in metrics
    assert 'penstock_skew_excess{column="distance",measure="refused",model="flights",version="1"} 20.0' in metrics
    judged = judge(server.model, folder)
    assert (judged.returncode, judged.stdout.startswith("100 % of the rows are refused for `distance`")) == (1, True)
    wait_for(lambda: len(webhook[1]) > already)
    assert [message["columns"] for message in webhook[1][already:]] == [["distance"]]
    server.predict({"instances": rows(50)})
    wait_for(lambda: len(webhook[1]) == already + 2)
    assert 'measure="refused",model="flights",version="1"} 0.0' in server.client.get("/metrics").text


def test_what_two_processes_receive_is_judged_together_and_told_once(serve, webhook, tmp_path, monkeypatch):
    monkeypatch.setenv("PENSTOCK_ALERT_WEBHOOK", webhook[0])
    arguments = ("--observations", str(tmp_path), "--window-seconds", "1", "--minimum-rows", str(ROWS))
    servers = [serve("flights", *arguments).wait_until_ready() for _ in range(2)]
    already = len(webhook[1])

    def receive(seed: int) -> None:
        """Each a half of the rows that a comparison takes."""
        half = rows(seed, scale=1.609)
        for server, own in zip(servers, (half[: ROWS // 2], half[ROWS // 2 :]), strict=True):
            count = len(windows(tmp_path))
            assert server.predict({"instances": own}).status_code == 200
            wait_for(lambda count=count: len(windows(tmp_path)) > count)

    for seed in range(3):
        receive(60 + seed)
    for server in servers:
        found = wait_for(lambda server=server: (found := skew(server)) and found["status"] == "skew" and found)
        # One whose clock strikes a moment late has what came then in the window before.
        assert found["rows"] in (ROWS, ROWS * 3 // 2), "half of them, or a third, came to the other process"
    receive(70)
    told = webhook[1][already:]
    assert [message["columns"] for message in told] == [["distance"]]


def test_every_window_is_sealed_and_holds_each_answered_row_once(observed):
    server, folder = observed
    digest = Manifest.read(server.model).digest
    manifests = [verify(path) for path in windows(folder)]
    assert {manifest.inputs["model"] for manifest in manifests} == {digest}
    assert sum(manifest.counts["rows"] for manifest in manifests) % ROWS == 0
    before = sum(manifest.counts["rows"] for manifest in manifests)
    server.predict({"instances": [*rows(30)[:5]]})
    server.predict({"instances": [{**rows(30)[0], "distance": "far"}]})
    wait_for(lambda: sum(Manifest.read(path).counts["rows"] for path in windows(folder)) == before + 5)


def test_kill_9_loses_the_open_window_and_a_drained_server_none(serve, tmp_path):
    server = serve("flights", "--observations", str(tmp_path), "--window-seconds", "3").wait_until_ready()
    server.predict({"instances": rows(1)})
    wait_for(lambda: windows(tmp_path))
    (floors,) = wait_for(lambda: [*tmp_path.glob("floors-*.json")])
    assert json.loads(floors.read_text())
    server.predict({"instances": rows(2)})
    server.process.kill()
    server.process.wait()
    assert [verify(path).counts["rows"] for path in windows(tmp_path)] == [ROWS]

    floors.write_text("{")  # it is only there to save time
    follower = serve("flights", "--observations", str(tmp_path), "--window-seconds", "3000").wait_until_ready()
    assert wait_for(lambda: skew(follower)["rows"]) == ROWS  # what was there before it
    follower.predict({"instances": rows(3)})
    assert follower.end() == 0
    assert [verify(path).counts["rows"] for path in windows(tmp_path)] == [ROWS, ROWS]


def test_what_only_saves_time_need_not_be_kept_for_a_window_to_be_judged_and_shown(serve, models, tmp_path):
    digest = Manifest.read(models / "flights").digest.removeprefix("sha256:")[:16]
    (tmp_path / f"floors-{digest}.json").mkdir()
    server = serve("flights", "--observations", str(tmp_path), "--window-seconds", "1").wait_until_ready()
    server.predict({"instances": rows(1)})
    assert wait_for(lambda: skew(server)["rows"]) == ROWS
    wait_for(lambda: "penstock_skew_excess{" in server.client.get("/metrics").text)
    wait_for(lambda: "noise floors are not kept" in server.log)


def test_without_windows_nothing_is_observed_and_the_route_says_so(serve):
    server = serve("half_plus_three", "--window-seconds", "0").wait_until_ready()
    answer = server.client.get("/v1/models/half_plus_three/skew")
    assert (answer.status_code, answer.json()) == (
        404,
        {"error": "this server observes nothing: it was started with --window-seconds 0"},
    )


def test_what_cannot_be_judged_is_exit_code_2_and_one_line(observed, models, tmp_path):
    _, folder = observed
    for model, where, arguments, said in (
        (models / "flights", tmp_path, (), "has no window of the model sha256:"),
        (models / "half_plus_three", folder, (), "has no window of the model sha256:"),
        (models / "flights", folder, ("--minimum-rows", "100000"), "rows, expected at least 100000"),
        (models / "flights", folder, ("--minimum-rows", "0"), "--minimum-rows is 0, expected 1 or more"),
        (
            models / "flights",
            folder,
            ("--skew-ignore", "monht"),
            "column 'monht' is to be ignored, but the model has: ",
        ),
        (tmp_path, folder, (), "is no sealed artifact"),
    ):
        done = judge(model, where, *arguments)
        assert done.returncode == 2, said
        assert said in done.stderr
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


def test_a_job_that_judges_on_a_schedule_does_not_fail_before_there_are_rows(models, tmp_path):
    done = judge(models / "flights", tmp_path, "--waiting-is-quiet")
    assert done.returncode == 0
    assert "has no window of the model sha256:" in done.stdout


def test_a_server_with_a_webhook_that_is_no_url_does_not_start_and_does_not_tell_it(models, refused, monkeypatch):
    monkeypatch.setenv("PENSTOCK_ALERT_WEBHOOK", "hooks.example/s3cret")
    said = refused(models / "flights")
    assert "PENSTOCK_ALERT_WEBHOOK is no URL that begins with http:// or https://" in said
    assert "s3cret" not in said
    monkeypatch.delenv("PENSTOCK_ALERT_WEBHOOK")
    assert "--window-seconds is -1.0, expected 0 (off) to 86400" in refused(
        models / "flights", "--window-seconds", "-1"
    )
