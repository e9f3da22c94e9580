import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from penstock.local.identity import ProcessIdentity
from penstock.local.spec import read_json, write_json
from penstock.local.supervisor import GRACE_SECONDS, Supervisor

FOREVER = "time.sleep(600)"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


@pytest.fixture
def start(tmp_path):
    """Starts the supervisor as the provider does, and waits until its replicas run."""
    started = []

    def begin(spec, replicas):
        write_json(tmp_path / "spec.json", spec)
        command = [sys.executable, "-m", "penstock.local.supervisor", str(tmp_path / "spec.json")]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        started.append(process)
        eventually(lambda: len(read_json(spec["processes"]) or {}) == replicas)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def eventually(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def identities(spec):
    return [ProcessIdentity(*identity) for identity in (read_json(spec["processes"]) or {}).values()]


def test_the_chiefs_success_ends_the_job_and_all_other_replicas(job, replica, tmp_path):
    note = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); {FOREVER}"
    waiting = f"while not os.path.exists({str(tmp_path / 'pid')!r}): time.sleep(0.05)\ntime.sleep(0.3)"
    outcome = Supervisor(job(replica("chief", waiting), replica("worker", note))).run()
    assert outcome["status"] == "succeeded"
    assert ProcessIdentity.of(int((tmp_path / "pid").read_text())) is None


def test_a_failure_is_told_in_the_stages_own_last_error_line(job, replica):
    code = """
for line in ("error: an old one", "error: column x is not there", "a later line"):
    print(line, file=sys.stderr)
sys.exit(2)"""
    outcome = Supervisor(job(replica("chief", code), replica("worker", FOREVER))).run()
    assert outcome["status"] == "failed"
    assert outcome["message"] == "column x is not there"
    assert outcome["log"].endswith("chief-0.log")


def test_a_failure_of_ours_tells_who_failed_and_the_last_lines_of_its_log(job, replica):
    outcome = Supervisor(job(replica("chief", "raise RuntimeError('a broken invariant')"))).run()
    assert outcome["message"].startswith("chief-0 ended with exit code 1: ")
    assert "RuntimeError: a broken invariant" in outcome["message"]


def test_a_worker_that_is_killed_is_started_again_as_often_as_its_role_allows(job, replica, tmp_path, capsys):
    counter = tmp_path / "starts"
    code = f"open({str(counter)!r}, 'a').write('x'); os.kill(os.getpid(), signal.SIGKILL)"
    outcome = Supervisor(job(replica("chief", FOREVER), replica("worker", code, restarts=2))).run()
    assert counter.read_text() == "xxx"
    assert outcome["status"] == "failed"
    assert outcome["message"].startswith("worker-0 was killed by SIGKILL")
    assert "started again (1 of 2)" in capsys.readouterr().out


def test_the_loss_of_a_role_that_is_not_started_again_alone_starts_all_again_with_the_same_addresses(
    job, replica, tmp_path, capsys
):
    note = "open(f'{os.environ[\"PENSTOCK_ROLE\"]}.txt', 'a').write(os.environ['TF_CONFIG'] + '\\n')\n"
    again = "starts = open('chief.txt').read().count('\\n')\n"
    chief = note + again + "time.sleep(0.5 if starts > 1 else 600)"
    server = note + again.replace("chief", "ps") + "time.sleep(0.5)\nos.kill(os.getpid(), 9) if starts == 1 else "
    spec = job(replica("chief", chief), replica("ps", server + FOREVER), replica("worker", note + FOREVER), restarts=2)
    assert Supervisor(spec).run()["status"] == "succeeded"
    told = {name: (tmp_path / f"{name}.txt").read_text().splitlines() for name in ("chief", "ps", "worker")}
    assert [len(starts) for starts in told.values()] == [2, 2, 2]
    assert all(first == second for first, second in told.values())
    assert "ps-0 was killed by SIGKILL; all roles start again (1 of 2)" in capsys.readouterr().out


def test_all_roles_start_again_only_as_often_as_the_job_allows(job, replica, tmp_path):
    counter = tmp_path / "starts"
    code = f"open({str(counter)!r}, 'a').write('x'); sys.exit(1)"
    assert Supervisor(job(replica("chief", code), restarts=2)).run()["status"] == "failed"
    assert counter.read_text() == "xxx"


def test_wrong_input_is_not_tried_again(job, replica, tmp_path):
    counter = tmp_path / "starts"
    code = f"open({str(counter)!r}, 'a').write('x'); sys.exit(2)"
    assert Supervisor(job(replica("chief", code, restarts=5), restarts=5)).run()["status"] == "failed"
    assert counter.read_text() == "x"


def test_every_member_of_a_cluster_is_told_all_addresses_and_only_the_chief_where_to_write_the_result(
    job, replica, tmp_path
):
    write = "open(os.environ['PENSTOCK_ROLE'] + os.environ['PENSTOCK_INDEX'], 'w').write("
    write += "os.environ['TF_CONFIG'] + ' ' + os.environ['PENSTOCK_GRACE_SECONDS']"
    write += " + ' ' + os.environ.get('PENSTOCK_RESULT', '-'))\n"
    members = [replica("ps", write + FOREVER, i) for i in range(2)] + [replica("worker", write + FOREVER)]
    wait = "while len([n for n in os.listdir() if n in ('ps0', 'ps1', 'worker0')]) < 3: time.sleep(0.05)\n"
    Supervisor(job(replica("chief", write + wait + "time.sleep(0.2)"), *members)).run()
    told = {name: (tmp_path / name).read_text() for name in ("chief0", "ps0", "ps1", "worker0")}
    clusters = {text[: text.index('"task"')] for text in told.values()}
    assert len(clusters) == 1
    assert '"task": {"index": 1, "type": "ps"}' in told["ps1"]
    assert [name for name, text in told.items() if not text.endswith(" -")] == ["chief0"]
    assert {float(text.split()[-2]) for text in told.values()} == {GRACE_SECONDS}  # as it waits before SIGKILL


def test_a_replica_that_ignores_sigterm_is_killed_with_all_it_started(job, replica, tmp_path, start):
    child = f"import subprocess; c = subprocess.Popen([sys.executable, '-c', {'import signal, time; ' + DEAF!r}]);"
    child += f"open({str(tmp_path / 'child')!r}, 'w').write(str(c.pid)); {DEAF}"
    spec = job(replica("chief", child))
    supervisor = start(spec, 1)
    eventually(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
    supervisor.terminate()
    supervisor.wait(12)
    assert ProcessIdentity.of(int((tmp_path / "child").read_text())) is None
    assert read_json(spec["outcome"])["status"] == "interrupted"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_replicas_and_is_told_as_an_interruption(job, replica, start, number):
    spec = job(replica("chief", FOREVER), replica("worker", FOREVER))
    supervisor = start(spec, 2)
    running = identities(spec)
    supervisor.send_signal(number)
    supervisor.wait(10)
    assert not any(identity.alive() for identity in running)
    assert read_json(spec["outcome"])["status"] == "interrupted"


def test_the_job_ends_when_a_process_that_it_depends_on_is_gone(job, replica, start):
    engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    seen = ProcessIdentity.of(engine.pid)
    assert seen is not None
    spec = job(replica("chief", FOREVER), watch=((seen.pid, seen.started),))
    supervisor = start(spec, 1)
    running = identities(spec)
    engine.kill()
    engine.wait()
    supervisor.wait(10)
    assert not any(identity.alive() for identity in running)


def test_a_pid_that_was_given_to_another_process_is_not_taken_for_the_old_one():
    now = ProcessIdentity.of(os.getpid())
    assert now is not None
    assert now.alive()
    assert not ProcessIdentity(now.pid, now.started - 1).alive()


def test_a_process_is_there_until_its_last_thread_has_ended():
    main_ends = "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(600,)).start(); "
    process = subprocess.Popen([sys.executable, "-c", main_ends + "ctypes.CDLL(None).pthread_exit(None)"])
    seen = ProcessIdentity.of(process.pid)
    assert seen is not None
    eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    assert seen.alive()
    seen.end(grace_seconds=0)
    assert not seen.alive()
    process.wait()


def test_ending_an_identity_whose_pid_was_reused_spares_the_new_process():
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    seen = ProcessIdentity.of(bystander.pid)
    assert seen is not None
    ProcessIdentity(seen.pid, seen.started - 1).end(grace_seconds=0)
    assert psutil.Process(bystander.pid).is_running()
    bystander.kill()
    bystander.wait()


def test_what_replicas_say_is_in_their_logs(job, replica):
    # Without a buffer, print writes a line and its end apart.
    spec = job(replica("chief", "for i in range(200): print('12 rows read'); print('a warning', file=sys.stderr)"))
    Supervisor(spec).run()
    lines = Path(spec["replicas"][0]["log"]).read_text().splitlines()
    assert sorted(lines) == ["12 rows read"] * 200 + ["a warning"] * 200
