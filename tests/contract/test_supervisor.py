"""A supervisor and its real workers on a loopback port: none, one or several, and changes under load."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from penstock_trainer.artifacts import Manifest, seal
from penstock_trainer.signing import SigningKey

PAGE = (Path(__file__).parents[2] / "docs" / "rollout.md").read_text(encoding="utf-8")
NAME = "half_plus_three"
PAUSE_SECONDS = 0.02
"""Between a client's requests: what is asserted is that none is lost, not how many there are."""


@pytest.fixture
def endpoint(supervised):
    """An endpoint without a plan."""
    return supervised()


def test_from_zero_to_zero_the_first_request_is_held_and_answered(endpoint, load):
    endpoint.plan(replicas={"lowest": 0, "highest": 1, "idle_seconds": 2.0})
    endpoint.start().until(lambda: not endpoint.workers())
    began = time.monotonic()
    answer = endpoint.predict(load.BODY)
    print(f"zero to answer: {time.monotonic() - began:.2f} s", file=sys.stderr)
    assert (answer.status_code, answer.json()) == (200, load.ANSWER)
    endpoint.until(lambda: not endpoint.workers())
    endpoint.processes[-1].terminate()
    assert endpoint.processes[-1].wait(10) == 0
    assert sorted(path.name for path in endpoint.own.iterdir()) == ["lock", "rollout.json"]


def test_a_version_is_loaded_split_shadowed_and_rolled_back_under_load_without_a_lost_request(endpoint, models, load):
    slow = models / "without_slim"  # TensorFlow's start takes all that a machine has, while others answer
    endpoint.versions["3"] = endpoint.versions["2"]
    endpoint.versions["2"] = {"path": str(slow), "digest": Manifest.read(slow).digest}
    endpoint.plan()
    endpoint.start()
    third = endpoint.versions["3"]["digest"]

    def compared(version: str) -> int:
        """How many answers of this version, in the shadow, have been."""
        comparison = endpoint.traffic().get("comparison") or {}
        return comparison["compared"] if comparison.get("version") == version else 0

    clients = [load(endpoint.port, PAUSE_SECONDS) for _ in range(4)]
    (first,) = endpoint.workers()
    endpoint.follow(latest="2", traffic={"1": 100, "2": 0})
    endpoint.until(lambda: compared("2") > 20)
    comparison = endpoint.traffic()["comparison"]
    assert (comparison["version"], comparison["failed"]) == ("2", 0)
    assert comparison["mean_difference"] == pytest.approx(1.0)
    assert all(set(client.by) == {endpoint.digests["1"]} for client in clients), "a shadow has answered"
    endpoint.until(lambda: first not in endpoint.workers())

    (loaded,) = endpoint.workers()
    endpoint.follow(latest="2", traffic={"1": 50, "2": 50})
    for key in map(str, range(20)):
        answers = {endpoint.predict(load.BODY, **{"x-request-key": key}).headers["x-model-digest"] for _ in range(3)}
        assert len(answers) == 1
    endpoint.follow(latest="2", traffic={"2": 100})
    # A third is loaded for the shadow of a split, and takes a share of it over while another goes into the shadow.
    endpoint.follow(latest="2", traffic={"2": 60, "1": 40, "3": 0})
    endpoint.until(lambda: compared("3") > 20)  # a kept connection may meet the last one
    assert all(client.by[third] == 0 for client in clients), "the second shadow has answered"
    endpoint.follow(latest="2", traffic={"3": 60, "1": 40, "2": 0})
    endpoint.until(lambda: compared("2") > 20 and all(client.by[third] for client in clients))
    answers = [endpoint.predict(load.BODY, **{"x-request-key": str(key)}) for key in range(20)]
    assert {answer.headers["x-model-digest"] for answer in answers} == {endpoint.digests["1"], third}
    endpoint.follow(latest="2", traffic={"1": 100})
    assert endpoint.predict(load.BODY).headers["x-model-digest"] == endpoint.digests["1"]
    # Version 1 had left the worker that answered by version 2 alone: another one came, and this one goes.
    endpoint.until(lambda: loaded not in endpoint.workers())
    ended = [client.end() for client in clients]
    assert [client.lost for client in ended] == [[]] * 4
    assert min(client.answered for client in ended) > 10


def test_a_forged_version_is_refused_by_its_file_and_the_one_before_it_goes_on(endpoint, load, models, tmp_path):
    endpoint.plan()
    endpoint.start()
    forged = tmp_path / "forged"
    forged.mkdir()
    for file in (models / "half_plus_four").rglob("*"):
        if file.is_file():
            copy = forged / file.relative_to(models / "half_plus_four")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes() + (b" " if file.name == "schema.json" else b""))
    endpoint.versions["2"]["path"] = str(forged)
    endpoint.follow(latest="2")
    assert endpoint.status()["refused"]["error"].startswith(f"{forged / 'schema.json'} has digest sha256:")
    assert endpoint.predict(load.BODY).json() == load.ANSWER
    endpoint.until(lambda: bool(endpoint.traffic()["refused"]))
    first, second = endpoint.client.get(f"/v1/models/{NAME}").json()["model_version_status"]
    assert (first["version"], first["state"]) == ("1", "AVAILABLE")
    assert (second["version"], second["state"]) == ("2", "END")
    assert "schema.json has digest" in second["status"]["error_message"]


def test_a_version_that_is_forged_and_sealed_anew_is_refused_for_want_of_the_owner_s_signature(
    supervised, load, models, tmp_path
):
    pem, pub = tmp_path / "signing.pem", tmp_path / "verifying.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", pem], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", pem, "-pubout", "-out", pub], check=True, capture_output=True)
    endpoint, owner = supervised("--verify-key", str(pub)), SigningKey(pem)
    copies = {n: Path(shutil.copytree(models / name, tmp_path / name)) for n, name in endpoint.MODELS}
    for number, copy in copies.items():
        owner.sign(copy, Manifest.read(copy))
        endpoint.versions[number]["path"] = str(copy)
    endpoint.plan()
    endpoint.start()
    forged = copies["2"]
    with (forged / "schema.json").open("ab") as tampered:
        tampered.write(b" ")
    sealed = seal(forged, kind="model", inputs=Manifest.read(forged).inputs, code="sha256:0")
    endpoint.versions["2"]["digest"] = sealed.digest
    endpoint.follow(latest="2")
    assert f"{forged / 'signature.json'} is no signature of {sealed.digest}" in endpoint.status()["refused"]["error"]
    assert endpoint.predict(load.BODY).json() == load.ANSWER
    (forged / "signature.json").unlink()
    endpoint.follow(latest="2")
    assert f"{forged} is not signed" in endpoint.status()["refused"]["error"]
    owner.sign(forged, sealed)
    endpoint.follow(latest="2")
    assert endpoint.status()["refused"] is None
    endpoint.until(lambda: endpoint.predict(load.BODY).json() == load.OTHER)


def test_workers_come_with_the_load_a_killed_one_is_replaced_and_one_too_many_loses_no_request(endpoint, load):
    endpoint.plan(replicas={"lowest": 1, "highest": 2})
    endpoint.start()
    (first,) = endpoint.workers()
    asked = [load.half_asked(endpoint.port, load.PATH) for _ in range(40)]
    endpoint.until(lambda: len(endpoint.workers()) == 2)
    assert [load.answer_to(connection) for connection in asked] == [load.ANSWER] * 40
    endpoint.until(lambda: endpoint.traffic()["replicas"]["ready"] == endpoint.status()["ready"] == 2)
    os.kill(first, signal.SIGKILL)
    endpoint.until(lambda: endpoint.status()["ready"] == 2 and first not in endpoint.workers())
    assert endpoint.predict(load.BODY).json() == load.ANSWER

    clients = [load(endpoint.port, PAUSE_SECONDS) for _ in range(4)]
    endpoint.until(lambda: all(client.answered for client in clients))
    endpoint.follow(replicas={"lowest": 1, "highest": 1})
    endpoint.until(lambda: len(endpoint.workers()) == endpoint.status()["ready"] == 1)
    answered = [client.answered for client in clients]
    endpoint.until(lambda: all(c.answered > before for c, before in zip(clients, answered, strict=True)))
    assert [client.end().lost for client in clients] == [[]] * 4, "the worker that went has lost one"


def test_a_successor_is_handed_the_socket_and_goes_on_with_the_rollout_without_a_lost_request(endpoint, load):
    rollout = {"steps": [0, 50, 100], "step_seconds": 0.5, "step_requests": 20, "score_shift": 100.0, "latency": 1e6}
    endpoint.plan(latest="1", rollout=rollout)
    endpoint.start()
    clients = [load(endpoint.port, PAUSE_SECONDS) for _ in range(4)]
    slow = {**rollout, "step_seconds": 3600}
    endpoint.follow(latest="2", rollout=slow)
    endpoint.until(lambda: endpoint.traffic()["rollout"]["candidate"] == "2")
    endpoint.start()
    before, after = endpoint.processes
    assert endpoint.traffic()["rollout"]["percent"] == 0
    before.terminate()
    assert before.wait(20) == 0
    endpoint.follow(latest="2", rollout=rollout)
    endpoint.until(lambda: endpoint.traffic()["rollout"]["stable"] == "2")
    assert after.poll() is None
    events = [event["event"] for event in endpoint.traffic()["rollout"]["events"]]
    assert events == ["serves", "begun", "advanced", "promoted"]
    ended = [client.end() for client in clients]
    assert [client.lost for client in ended] == [[]] * 4
    assert endpoint.predict(load.BODY).json() == load.OTHER


def test_a_version_that_answers_otherwise_is_rolled_back_by_itself_and_stays_away(endpoint, load):
    rollout = {"steps": [50, 100], "step_seconds": 3600, "step_requests": 20}
    endpoint.plan(latest="1", rollout=rollout)
    endpoint.start()
    endpoint.follow(latest="2", rollout=rollout)
    for number in range(200):
        endpoint.predict({"instances": [number % 7 / 7]}, **{"x-request-key": str(number)})
    endpoint.until(lambda: endpoint.traffic()["rollout"]["rejected"] == ["2"])
    event = endpoint.traffic()["rollout"]["events"][-1]
    assert (event["event"], event["version"]) == ("rolled back", "2")
    assert event["why"].startswith("score_shift ")
    endpoint.follow(latest="2", rollout=rollout)
    assert endpoint.predict(load.BODY).json() == load.ANSWER
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert json.loads(example).keys() == endpoint.traffic().keys()
    assert json.loads(example)["rollout"].keys() == endpoint.traffic()["rollout"].keys()
    assert json.loads(example)["replicas"].keys() == endpoint.traffic()["replicas"].keys()


@pytest.mark.parametrize(
    ("gate", "rival", "gates"),
    [
        ("errors", "flights", {}),  # it has other columns, so that it refuses every request
        ("latency", "half_plus_four", {"score_shift": 100.0, "latency": 0.01}),  # no version is a hundred times as fast
    ],
)
def test_a_version_that_refuses_or_is_too_slow_is_rolled_back_too(endpoint, models, load, gate, rival, gates):
    rollout = {"steps": [50, 100], "step_seconds": 3600, "step_requests": 20, **gates}
    endpoint.versions["2"] = {"path": str(models / rival), "digest": Manifest.read(models / rival).digest}
    endpoint.plan(latest="1", rollout=rollout)
    endpoint.start()
    endpoint.follow(latest="2", rollout=rollout)
    for number in itertools.count():
        if endpoint.status() and endpoint.traffic()["rollout"]["rejected"] == ["2"]:
            break
        assert number < 5000, endpoint.traffic()
        endpoint.predict(load.BODY, **{"x-request-key": str(number)})
    event = endpoint.traffic()["rollout"]["events"][-1]
    assert (event["event"], event["why"].partition(" ")[0]) == ("rolled back", gate)
    endpoint.until(
        lambda: all(endpoint.predict(load.BODY, **{"x-request-key": key}).json() == load.ANSWER for key in "abcdefgh")
    )


def test_a_version_that_receives_other_rows_than_it_was_trained_on_is_rolled_back_too(supervised, load):
    endpoint = supervised("--window-seconds", "1")
    gates = {"score_shift": 100.0, "latency": 1e6}
    rollout = {"steps": [50, 100], "step_seconds": 3600, "step_requests": 20, **gates}
    endpoint.plan(latest="1", rollout=rollout)
    endpoint.start()
    endpoint.follow(latest="2", rollout=rollout)
    answered: dict[str, str] = {}
    """The version of each key."""
    scales = {"1": 1.0, "2": 1.0}

    def ask() -> float:
        """Rows as those of training are, scaled for the keys of a version; how the skew gate was judged last."""
        for key in range(40):
            scale = scales[answered.get(str(key), "1")]
            rows = [scale * (5 * number + key / 8) for number in range(20)]
            answer = endpoint.predict({"instances": rows}, **{"x-request-key": str(key)})
            (answered[str(key)],) = (n for n, d in endpoint.digests.items() if d == answer.headers["x-model-digest"])
        return endpoint.traffic()["rollout"]["gates"].get("skew", {"value": 0.0})["value"]

    endpoint.until(lambda: ask() > 0)
    assert set(answered.values()) == {"1", "2"}
    assert max(ask() for _ in range(10)) < 1
    assert endpoint.traffic()["rollout"]["candidate"] == "2"
    scales["2"] = 1.609
    endpoint.until(lambda: ask() == 0)
    told = endpoint.traffic()["rollout"]
    assert told["rejected"] == ["2"]
    assert (told["events"][-1]["event"], told["events"][-1]["version"]) == ("rolled back", "2")
    assert re.match(r"skew of `(x|predictions)` [1-9][.\d]*, limit 1, after \d+ requests$", told["events"][-1]["why"])
    assert endpoint.predict(load.BODY).json() == load.ANSWER


def end_killed(endpoint) -> None:
    """Kill the supervisor, and wait until its workers have left the port."""
    workers, killed = endpoint.workers(), endpoint.processes.pop()
    killed.kill()
    killed.wait()
    deadline = time.monotonic() + 60
    for worker in workers:
        while Path(f"/proc/{worker}/cmdline").exists() and Path(f"/proc/{worker}/cmdline").read_bytes():
            assert time.monotonic() < deadline, endpoint.log
            time.sleep(0.05)
    with pytest.raises(httpx.ConnectError):
        endpoint.client.get("/healthz")


def test_when_the_supervisor_is_killed_its_workers_free_the_port_and_the_next_one_goes_on_with_the_rollout(
    endpoint, load
):
    rollout = {"steps": [0, 50, 100], "step_seconds": 0.0, "step_requests": 10, "score_shift": 100.0, "latency": 1e6}
    endpoint.plan(latest="1", rollout=rollout)
    endpoint.start()
    endpoint.follow(latest="2", rollout=rollout)

    def ask_until(reached) -> None:
        for number in itertools.count():
            if reached(endpoint.traffic()["rollout"] or {}):
                return
            assert number < 5000, endpoint.traffic()
            endpoint.predict(load.BODY, **{"x-request-key": str(number)})

    ask_until(lambda told: told["percent"] == 50)
    endpoint.follow(latest="2", rollout={**rollout, "step_seconds": 3600})
    before = endpoint.traffic()["rollout"]
    assert before["percent"] == 50
    end_killed(endpoint)
    endpoint.start()
    after = endpoint.traffic()["rollout"]
    for same in ("stable", "candidate", "percent", "since", "events"):
        assert after[same] == before[same], same
    endpoint.follow(latest="2", rollout=rollout)
    ask_until(lambda told: told["stable"] == "2")
    assert [event["event"] for event in endpoint.traffic()["rollout"]["events"]] == [
        "serves",
        "begun",
        "advanced",
        "promoted",
    ]
