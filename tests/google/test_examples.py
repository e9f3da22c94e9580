"""The example for Google Cloud, on the real engine with the strict stand-in: no machine is rented."""

from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/gpu_pool/__main__.py"


def test_the_gpu_pool_is_one_pool_of_spot_machines_with_drivers_and_nothing_else(stack):
    deployed = stack(EXAMPLE.read_text())
    told = deployed.up(expected=1)
    assert "Missing required configuration variable 'trial:cluster'" in told
    account = "nodes@acme-dev.iam.gserviceaccount.com"
    for key, value in {"cluster": "research", "node_service_account": account}.items():
        deployed.run("config", "set", key, value, "--stack", "dev")
    deployed.up()
    (pool,) = deployed.cloud.existing().values()
    assert pool["type"] == "gcp:container/nodePool:NodePool"
    config = pool["inputs"]["nodeConfig"]
    assert config["spot"]
    assert config["guestAccelerators"][0]["gpuDriverInstallationConfig"] == {"gpuDriverVersion": "DEFAULT"}
    assert pool["inputs"]["autoscaling"]["totalMaxNodeCount"] == 4
    assert deployed.outputs() == {"pool": "l4"}
