"""The whole pipeline deployed by the real engine to a real API server; its programs are played."""


def test_up_runs_each_stage_as_a_job_set_and_serves_the_model_it_left(deployed, programs, api):
    deployed.run("up")
    outputs = deployed.outputs()
    assert [arguments[0] for arguments in programs.seen] == ["raw", "preprocess", "tune", "train"]
    assert outputs["model_digest"] == "sha256:train"
    assert outputs["rows"] == {"rows": 6000}
    assert outputs["endpoint"].startswith("http://flow-serve-server.")
    server = api.get(f"/apis/apps/v1/namespaces/{deployed.namespace}/deployments/flow-serve-server")
    arguments = server["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "/artifacts/train/key" in arguments
    assert "sha256:train" in arguments
    assert server["status"]["availableReplicas"] == 1

    again = deployed.run("up")
    assert "unchanged" in again
    assert not any(word in again for word in ("created", "updated", "replaced"))

    deployed.run("down")
    assert api.get(f"/api/v1/namespaces/{deployed.namespace}") is None


def test_what_is_to_be_kept_stays(deployed, programs, api):
    space = f"/api/v1/namespaces/{deployed.namespace}"
    deployed.configure(keep=["models"])
    deployed.run("up")
    claim = api.get(f"{space}/persistentvolumeclaims/artifacts")["metadata"]["uid"]
    deployed.run("down")
    assert api.get(f"{space}/persistentvolumeclaims/artifacts")["metadata"]["uid"] == claim
    assert api.items(f"{space}/pods") == []
