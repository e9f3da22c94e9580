import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pulumi
import pytest
from settings import Settings

import penstock
from penstock import Artifact, PenstockError, Pipeline, PipelineArgs, Program
from penstock.local import LocalPlatform
from penstock.local import platform as local

SCHEMA = json.loads((Path(__file__).resolve().parents[3] / "modules/schema.json").read_text())
BY_PIPELINE = {"platform", "store", "problem", "dataset", "study", "candidate", "model", "model_name"}
"""Arguments that a pipeline gives its stages itself."""


class Recorder:
    """A platform that runs nothing and remembers what it was asked for."""

    def __init__(self):
        self.jobs, self.services = {}, {}
        self.commands: list[str] = []

    def storage(self, name, keep, opts):
        return pulumi.Output.from_input("/store")

    def job(self, name, job, opts):
        self.jobs[name] = job
        known = pulumi.Output.from_input
        return Artifact(known(f"/{name}"), known(f"sha256:{name}"), known({}), known({"decision": {}}))

    def service(self, name, service, opts):
        self.services[name] = service
        return pulumi.Output.from_input("http://127.0.0.1:1")

    def page(self, path):
        return pulumi.Output.concat("page:", path)

    def estimated_cost(self):
        return {}


class Mocks(pulumi.runtime.Mocks):
    def new_resource(self, args):
        return args.name, args.inputs

    def call(self, args):
        raise AssertionError(args.token)


@pytest.fixture
def build():
    """Builds a pipeline on a recording platform and returns what the platform was asked for, all values known."""

    def make(**args):
        loop, threads = asyncio.new_event_loop(), ThreadPoolExecutor(initializer=own_loop)
        loop.set_default_executor(threads)
        asyncio.set_event_loop(loop)
        pulumi.runtime.set_mocks(Mocks())
        recorder = Recorder()

        @pulumi.runtime.test
        def run():
            Pipeline("flow", PipelineArgs(platform=recorder, problem=args.pop("problem", "flights"), **args))
            commands = [role.command for job in recorder.jobs.values() for role in job.roles.values()]
            commands += [service.command for service in recorder.services.values()]
            return pulumi.Output.all(*(pulumi.Output.all(*command) for command in commands)).apply(resolved.extend)

        resolved = []
        run()
        while pending := asyncio.all_tasks(loop):
            loop.run_until_complete(asyncio.gather(*pending))
        threads.shutdown()
        loop.close()
        assert resolved, "the commands were never known"
        recorder.commands = [" ".join(command) for command in resolved]
        return recorder

    # Pulumi's test runtime makes an event loop in every thread that has none, and never closes it.
    loops: list[asyncio.AbstractEventLoop] = []

    def own_loop():
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    yield make
    asyncio.set_event_loop(None)
    for loop in loops:
        loop.close()


def test_every_stage_starts_from_the_artifacts_of_the_stages_before_it(build):
    recorder = build()
    raw, dataset, chief, trial, *training, _, server = recorder.commands
    assert raw == "raw --problem flights --artifacts /store"
    assert "--raw /flow-preprocess-raw" in dataset
    assert "--dataset /flow-preprocess-dataset" in chief
    assert trial == chief
    assert all("--study /flow-tune-study" in command for command in training)
    assert "--model /flow-train-model --name flights --expect-digest sha256:flow-train-model" in server


def test_where_models_are_compared_the_endpoint_serves_what_the_comparison_left(build):
    recorder = build(comparison={"minimum_gain": 0.01})
    (compared,) = (command for command in recorder.commands if command.startswith("compare "))
    assert "--dataset /flow-preprocess-dataset --candidate /flow-train-model --minimum-gain 0.01" in compared
    assert recorder.jobs["flow-compare-decision"].digests.keys() == {"dataset", "model"}
    assert "--model /flow-compare-decision --name flights --expect-digest sha256:flow-compare" in recorder.commands[-1]


def test_ones_own_raw_files_take_the_place_of_the_bundled_ones_and_are_watched(build):
    recorder = build(preprocessing={"raw": ["a/*.csv", "b/*.csv"]})
    assert "flow-preprocess-raw" not in recorder.jobs
    assert "--raw a/*.csv --raw b/*.csv" in recorder.commands[0]
    assert recorder.jobs["flow-preprocess-dataset"].files == ["a/*.csv", "b/*.csv"]


def test_the_local_strategy_trains_in_one_process_and_is_resumed_when_that_is_lost(build):
    job = build(training={"strategy": "local", "restarts": 7}).jobs["flow-train-model"]
    assert {name: role.replicas for name, role in job.roles.items()} == {"chief": 1}
    assert "local" in job.roles["chief"].command
    assert (job.restarts, job.roles["chief"].restarts) == (7, 0)


def test_only_a_parameter_servers_worker_is_started_again_alone(build):
    roles = build(training={"restarts": 5, "evaluator": True}).jobs["flow-train-model"].roles
    assert (roles["chief"].restarts, roles["ps"].restarts, roles["worker"].restarts) == (0, 0, 5)
    assert roles["evaluator"].restarts > 100  # its loss ends nothing
    lockstep = build(training={"strategy": "multiworker", "workers": 3, "restarts": 5}).jobs["flow-train-model"]
    assert {name: role.replicas for name, role in lockstep.roles.items()} == {"chief": 1, "worker": 2}
    assert lockstep.restarts == 5
    assert lockstep.roles["worker"].restarts == 0


def test_lower_precision_and_xla_reach_the_trainer_where_they_are_asked_for(build):
    asked = {"strategy": "mirrored", "precision": "mixed_bfloat16", "xla": True}
    command = build(training=asked).jobs["flow-train-model"].roles["chief"].command
    assert " ".join(map(str, command)).endswith("--precision mixed_bfloat16 --xla")
    assert "--xla" not in build(training={"strategy": "local"}).jobs["flow-train-model"].roles["chief"].command


def test_the_curves_are_served_beside_the_training_unless_their_port_is_0(build):
    service = build(training={"tensorboard_port": 7000}).services["flow-train-tensorboard"]
    assert (service.program, service.port) == (Program.TRAINER, 7000)
    assert "flow-train-tensorboard" not in build(training={"tensorboard_port": 0}).services


def test_the_number_of_workers_and_trial_processes_is_a_number_in_the_settings(build):
    recorder = build(training={"parameter_servers": 3, "workers": 5}, tuning={"processes": 4})
    assert {name: role.replicas for name, role in recorder.jobs["flow-train-model"].roles.items()} == {
        "chief": 1,
        "ps": 3,
        "worker": 5,
    }
    assert sum(role.replicas for role in recorder.jobs["flow-tune-study"].roles.values()) == 4
    recorder = build(tuning={"processes": 4, "trials": 3})
    assert sum(role.replicas for role in recorder.jobs["flow-tune-study"].roles.values()) == 3, "each has a trial"


def test_the_limits_in_the_settings_reach_every_process_of_the_study(build):
    limits = {"tuning_time_limit_seconds": "600", "tuning_cost_limit_usd": "5", "usd_per_process_hour": "0.4"}
    settings = Settings.from_config({f"penstock:{name}": value for name, value in limits.items()})
    _, _, chief, trial, *_ = build(tuning=settings.tuning).commands
    assert chief == trial
    assert trial.startswith("tune ")
    assert trial.endswith(" --time-limit 600 --cost-limit 5 --price 0.4")
    unlimited = build(tuning=Settings().tuning).commands
    assert not [command for command in unlimited if "-limit" in command or "--price" in command]


def test_a_problem_in_a_file_is_watched_by_every_stage_and_names_the_model(build):
    recorder = build(problem="problems/late.py")
    assert all("problems/late.py" in job.files for job in recorder.jobs.values())
    assert "--name late " in recorder.commands[-1]
    assert recorder.services["flow-serve-server"].program is Program.SERVER


def test_how_the_endpoint_is_watched_is_told_to_its_servers_and_the_webhook_is_no_argument(build):
    monitoring = {
        "window_seconds": 60.0,
        "windows_in_a_row": 3,
        "ignored": ["month", "day"],
        "webhook": "https://x/s3cret",
    }
    recorder = build(endpoint={"monitoring": monitoring})
    told = "--window-seconds 60 --windows-in-a-row 3 --skew-ignore month --skew-ignore day"
    service = recorder.services["flow-serve-server"]
    assert recorder.commands[-1].endswith(told)
    assert " ".join(service.monitoring) == told
    assert "s3cret" not in recorder.commands[-1]
    assert set(service.environment) == {"PENSTOCK_ALERT_WEBHOOK"}


def test_the_key_of_whose_models_are_served_reaches_the_supervisor_which_follows_a_changed_one(
    build, tmp_path, monkeypatch
):
    service = build(endpoint={"verify_key": "verifying.pem"}).services["flow-serve-server"]
    key, told = tmp_path / "verifying.pem", []
    key.touch()
    program = SimpleNamespace(command=lambda what: ["server", what], fingerprint=lambda _: "sha256:0")
    monkeypatch.setattr(LocalPlatform, "_program", lambda *_: program)
    monkeypatch.setattr(local, "LocalService", lambda _, props, __: told.append(props) or SimpleNamespace(url=""))
    platform = LocalPlatform(tmp_path, stack="dev")
    platform.service("server", service, pulumi.ResourceOptions())
    assert told[0]["program"][-2:] == ["--verify-key", str(key)]
    assert told[0]["access"] == {str(key): str(key.stat().st_mtime_ns)}
    key.unlink()
    with pytest.raises(PenstockError, match=f"setting 'verify_key' names {key}, which is not there"):
        platform.service("server", service, pulumi.ResourceOptions())


@pytest.mark.parametrize("stage", ["preprocessing", "tuning", "training", "comparison", "endpoint"])
def test_a_pipeline_names_the_further_arguments_that_its_stage_has(stage):
    described = SCHEMA["resources"]["penstock:index:Pipeline"]["inputProperties"][stage]["description"]
    named = re.fullmatch(r"Further arguments of `(\w+)`: ([\w,\s]+)\..*", described)
    assert named
    arguments = getattr(penstock, f"{named[1]}Args").__annotations__
    assert set(re.split(r",\s+", named[2])) == set(arguments) - BY_PIPELINE


def test_the_public_names_are_these():
    assert penstock.__all__ == sorted(penstock.__all__)
    assert {"Pipeline", "Preprocessing", "Tuning", "Training", "Endpoint", "LocalPlatform", "Platform"} <= set(
        penstock.__all__
    )
