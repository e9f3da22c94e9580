"""What runs on this machine after `make up`, seen from outside."""

import json
import urllib.request
from pathlib import Path

import pytest
import testinfra

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture(scope="module")
def host():
    return testinfra.get_host("local://")


@pytest.fixture(scope="module")
def server(served, host):
    """The one process that serves the model, as the operating system sees it."""
    served.run("up")
    return host.process.get(pid=int(served.deployment()["flow-serve-server"]["outputs"]["pid"]))


def test_a_supervisor_and_one_worker_run_for_the_stack_and_no_stage_is_left(served, server, host):
    assert f"--port {served.port}" in server.args
    assert "-m penstock_serving.supervisor" in server.args
    assert served.strays() == {}
    (worker,) = served.processes().keys() - {server.pid}
    assert "-m penstock_serving.worker" in host.process.get(pid=worker).args
    assert host.process.get(pid=worker).ppid == server.pid
    assert server.rss < 32_000, "the supervisor has grown: it imports only the standard library"


def test_the_port_is_open_on_the_loopback_address_only(served, host):
    assert host.socket(f"tcp://127.0.0.1:{served.port}").is_listening
    assert not host.socket(f"tcp://0.0.0.0:{served.port}").is_listening
    assert not host.socket(f"tcp://:::{served.port}").is_listening


def test_the_server_knows_nothing_of_the_stacks_passphrase(server):
    environment = Path(f"/proc/{server.pid}/environ")
    if not environment.exists():
        pytest.skip("this system does not show a process's environment as a file")
    assert "PULUMI" not in environment.read_text()


def test_the_attested_model_is_the_stacks_output_and_leads_back_to_its_dataset_and_study(served):
    outputs, attestation = served.outputs(), served.get("/attestation")
    assert attestation["digest"] == outputs["model_digest"]
    digests = {link["kind"]: link["digest"] for link in attestation["chain"]}
    assert digests["dataset"] == outputs["dataset_digest"]
    assert digests["study"] == outputs["study_digest"]


def test_the_endpoint_answers_raw_rows_as_the_trainer_itself_did(served):
    model = Path(served.deployment()["flow-train-model"]["outputs"]["path"])
    samples = json.loads((model / "samples.json").read_text())
    body = json.dumps({"instances": samples["instances"]}).encode()
    url = served.outputs()["endpoint"] + ":predict"
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        answers = json.load(response)["predictions"]
        assert response.headers["x-model-digest"] == served.outputs()["model_digest"]
    assert len(answers) == len(samples["instances"]) > 0
    assert answers == pytest.approx(samples["predictions"], abs=1e-6)


def test_what_is_sealed_is_what_lies_on_disk(served, host):
    for manifest in served.stack_folder.glob("artifacts/models/*/manifest.json"):
        for name, digest in json.loads(manifest.read_text())["files"].items():
            assert f"sha256:{host.file(str(manifest.parent / name)).sha256sum}" == digest


def test_state_and_passphrase_are_private_to_the_user(served, host):
    assert host.file(str(served.root / ".penstock/passphrase")).mode == 0o600
