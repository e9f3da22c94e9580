import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from cluster_settings import ClusterSettings, MachineSettings
from hypothesis import given
from hypothesis import strategies as st
from monitoring_settings import MonitoringSettings
from rollout_settings import Rollout
from settings import ACCESS, Settings, SettingsError

from penstock.gcp.environment import Accelerator, Budget, Environment, Stages

PROJECT = Path(__file__).resolve().parents[3]
KNOWN = sorted(Settings.model_fields)
DESCRIBED = {
    "A stack": Settings,
    "cluster": ClusterSettings,
    "cluster.machines.ROLE": MachineSettings,
    "gcp": Environment,
    "gcp.accelerator": Accelerator,
    "gcp.budget": Budget,
    "gcp.budget.stages": Stages,
    "monitoring": MonitoringSettings,
    "rollout": Rollout,
}


def message(config):
    with pytest.raises(SettingsError) as caught:
        Settings.from_config({f"penstock:{key}": value for key, value in config.items()})
    return str(caught.value)


def test_the_defaults_that_pulumi_knows_are_the_ones_that_the_program_takes():
    declared = yaml.safe_load((PROJECT / "Pulumi.yaml").read_text())["config"]
    config = {f"penstock:{key}": json.dumps(entry["default"]).strip('"') for key, entry in declared.items()}
    assert Settings.from_config(config) == Settings()
    optional = {name for name, field in Settings.model_fields.items() if field.default is None}
    assert set(declared) == set(KNOWN) - {"raw", "cluster", "gcp", "traffic", "rollout"} - optional


def test_the_page_of_the_settings_has_every_one_and_says_what_it_is():
    """As the pages' own environment fills it."""
    site = PROJECT / "tools/site"
    command = [
        PROJECT / ".tools/site/bin/python",
        "-c",
        "import settings_reference; print(settings_reference.tables())",
    ]
    told = subprocess.run(command, cwd=site, capture_output=True, text=True, check=True).stdout
    sections = {title: text for title, _, text in (each.partition("\n") for each in told.split("## ")[1:])}
    rows = {title: re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", text, re.MULTILINE) for title, text in sections.items()}
    named = {title: [name for name, _ in found] for title, found in rows.items()}
    assert named == {title: list(model.model_fields) for title, model in DESCRIBED.items()}
    assert [f"{title}.{name}" for title, found in rows.items() for name, text in found if not text] == []


def test_the_local_stacks_own_configuration_is_accepted():
    own = yaml.safe_load((PROJECT / "stacks/Pulumi.local.yaml").read_text())["config"]
    settings = Settings.from_config({key: json.dumps(value) for key, value in own.items()})
    assert settings.keep == ("raw", "models")


@given(st.sampled_from(KNOWN), st.integers(0, 20), st.sampled_from("xq_"))
def test_a_misspelt_key_is_told_with_the_one_that_was_meant(key, place, letter):
    typo = key[: place % len(key)] + letter + key[place % len(key) :]
    if typo not in KNOWN:
        told = message({typo: "1"})
        assert f"unknown setting {typo!r}" in told
        assert f"did you mean {key!r}?" in told


@given(st.text(min_size=1, max_size=20).filter(lambda text: not re.fullmatch(r"[+-]?[\d_]+(\.0*)?", text.strip())))
def test_text_where_a_number_belongs_is_told_with_key_value_and_fix(value):
    told = message({"trials": value})
    assert f"setting 'trials' is {value!r}" in told
    assert "integer" in told
    assert "`pulumi config set trials 8`" in told


@pytest.mark.parametrize(
    ("key", "value"),
    [("port", "80"), ("port", "70000"), ("workers", "0"), ("bad_rows_allowed", "1.5"), ("rows", "0"), ("problem", "")],
)
def test_a_value_out_of_range_is_told_with_key_and_value(key, value):
    assert f"setting {key!r} is {value!r}" in message({key: value})


def test_a_cost_limit_without_a_price_is_told():
    assert "a cost limit needs `usd_per_process_hour`" in message({"tuning_cost_limit_usd": "5"})
    priced = {"penstock:tuning_cost_limit_usd": "5", "penstock:usd_per_process_hour": "0.4"}
    assert Settings.from_config(priced).tuning_cost_limit_usd == 5


@pytest.mark.parametrize(
    "url", ["postgresql://me:secret@host/x", "postgresql://me@host/x?password=secret", "mysql://host/secret", "secret"]
)
def test_a_storage_that_will_not_do_is_told_without_repeating_what_may_be_a_password(url):
    told = message({"tuning_storage": url})
    assert "setting 'tuning_storage' is no postgresql://" in told
    assert "secret" not in told


@pytest.mark.parametrize("url", ["postgresql://me@db.example:5432/penstock", "postgresql://db/x", "postgresql:///x"])
def test_a_storage_without_a_password_is_taken(url):
    assert Settings.from_config({"penstock:tuning_storage": url}).tuning_storage == url


def test_a_password_without_the_database_it_is_of_is_told_without_repeating_it():
    image = f"i@sha256:{'0' * 64}"
    cluster = {"trainer_image": image, "serving_image": image, "database_password": "hunter2"}
    told = message({"platform": "cluster", "cluster": json.dumps(cluster)})
    assert "'cluster.database_password' is given without 'tuning_storage'" in told
    assert "hunter2" not in told


def test_a_database_that_the_stack_makes_is_a_clusters_and_takes_an_image_and_no_password():
    image = f"i@sha256:{'0' * 64}"
    asked, own = {"tuning_storage": "postgresql", "platform": "cluster"}, {"trainer_image": image}
    own["serving_image"] = image
    assert "which is generated" in message({**asked, "cluster": json.dumps(own)})
    own["database_image"] = image
    taken = {**asked, "cluster": json.dumps(own)}
    assert Settings.from_config({f"penstock:{key}": each for key, each in taken.items()}).tuning["storage"]
    told = message({**asked, "cluster": json.dumps({**own, "database_password": "hunter2"})})
    assert "no 'cluster.database_password', which is generated" in told
    assert "a database that the platform 'cluster' makes" in message({"tuning_storage": "postgresql"})


def test_a_secret_in_plain_text_is_refused_without_repeating_it():
    settings = Settings.from_config({"penstock:monitoring": json.dumps({"webhook": "https://hooks.example/T0ken"})})
    settings.refuse_plain({"penstock:monitoring"}.__contains__)
    with pytest.raises(
        SettingsError, match=r"'monitoring.webhook' is a secret.* --path monitoring.webhook VALUE"
    ) as told:
        settings.refuse_plain(lambda _: False)
    assert "T0ken" not in str(told.value)


def test_an_unknown_kind_to_keep_is_told_with_the_known_ones():
    told = message({"keep": '["modles"]'})
    assert "setting 'keep'" in told
    assert "'models'" in told


def test_all_mistakes_are_told_at_once():
    assert len(message({"prot": "1", "epochs": "none"}).splitlines()) == 2


@given(st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_raw_takes_one_pattern_or_a_json_list(patterns):
    assert Settings.from_config({"penstock:raw": json.dumps(patterns)}).raw == tuple(patterns)


def test_a_single_pattern_needs_no_brackets():
    assert Settings.from_config({"penstock:raw": "data/*.csv"}).raw == ("data/*.csv",)


def test_other_namespaces_are_not_ours_to_judge():
    assert Settings.from_config({"gcp:project": "x"}) == Settings()


def test_traffic_is_weights_by_version_or_one_version_for_everything():
    def traffic(value):
        return Settings.from_config({"penstock:traffic": value}).endpoint()["traffic"]

    assert traffic('{"latest": 10, "previous": 90}') == {"latest": 10, "previous": 90}
    assert traffic("previous") == {"previous": 100}
    assert traffic("3") == {"3": 100}
    assert Settings().endpoint()["traffic"] is None


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("traffic", '{"latest": 0}', "setting 'traffic' is '{\"latest\": 0}': no version has a weight above 0"),
        ("traffic", '{"1": 0, "2": 0, "3": 1}', "one version at most has the weight 0"),
        ("traffic", '{"latest": -1}', "setting 'traffic.latest' is -1: input should be greater than or equal to 0"),
        ("rollout", '{"steps": [0, 50, 10, 100]}', "setting 'rollout.steps' is [0, 50, 10, 100]: steps ascend, and"),
        ("rollout", '{"steps": [0, 50]}', "steps ascend, and the last one is 100"),
        ("rollout", '{"stepps": [100]}', "unknown setting 'rollout.stepps' (value [100])"),
        ("rollout", "yes", "setting 'rollout' is 'yes': input should be a valid dictionary"),
    ],
)
def test_traffic_and_rollout_that_make_no_sense_are_told(key, value, told):
    assert told in message({key: value})


def test_a_cluster_takes_weights_and_no_rollout_whose_pods_would_each_judge_alone():
    cluster = json.dumps({"trainer_image": "t@sha256:" + "0" * 64, "serving_image": "s@sha256:" + "0" * 64})
    there = {"platform": "cluster", "cluster": cluster}
    weighted = {f"penstock:{key}": value for key, value in {**there, "traffic": "previous"}.items()}
    assert Settings.from_config(weighted).endpoint()["traffic"] == {"previous": 100}
    assert "the pods of a cluster would each judge alone" in message({**there, "rollout": "true"})


def test_a_rollout_is_declared_by_true_and_every_number_of_it_can_be_set():
    plain = Settings.from_config({"penstock:rollout": "true"}).endpoint()["rollout"]
    assert plain["steps"] == [0, 1, 10, 50, 100]
    given = Settings.from_config({"penstock:rollout": '{"steps": [5, 100], "step_seconds": 1}'}).endpoint()["rollout"]
    assert given == {**plain, "steps": [5, 100], "step_seconds": 1}
    assert Settings.from_config({"penstock:rollout": "false"}).endpoint()["rollout"] is None


@pytest.mark.parametrize("key", ACCESS)
def test_files_of_this_machine_are_told_to_be_for_the_platform_that_has_them(key):
    cluster = json.dumps({"trainer_image": "t@sha256:" + "0" * 64, "serving_image": "s@sha256:" + "0" * 64})
    assert f"setting {key!r} is for the platform 'local'" in message(
        {"platform": "cluster", "cluster": cluster, key: "x"}
    )


def test_a_key_that_models_must_be_signed_by_is_taken_by_every_platform():
    cluster = json.dumps({"trainer_image": "t@sha256:" + "0" * 64, "serving_image": "s@sha256:" + "0" * 64})
    keyed = {"penstock:platform": "cluster", "penstock:cluster": cluster, "penstock:verify_key": "k.pem"}
    assert Settings.from_config(keyed).verify_key == "k.pem"
    dev = yaml.safe_load((PROJECT / "stacks/Pulumi.dev.yaml").read_text())["config"]
    on_google = {key: value if isinstance(value, str) else json.dumps(value) for key, value in dev.items()}
    assert Settings.from_config({**on_google, "penstock:verify_key": "k.pem"}).endpoint()["verify_key"] == "k.pem"


def test_a_certificate_without_its_key_is_told_and_so_is_a_key_without_its_certificate():
    assert "'certificate' is given without 'private_key'" in message({"certificate": "c.pem", "token_file": "t"})
    assert "'private_key' is given without 'certificate'" in message({"private_key": "k.pem"})


def test_fewer_replicas_at_most_than_at_least_are_refused():
    assert "less than min_replicas, which is 3" in message({"min_replicas": "3", "max_replicas": "2"})
    assert "less than min_replicas, which is 3" in message({"min_replicas": "3"})


PAGES = "".join((PROJECT / f"docs/{name}.md").read_text(encoding="utf-8") for name in ("rollout", "access"))
SNIPPETS = [*re.findall(r"```yaml\n(.*?)```", PAGES, re.DOTALL), *re.findall(r"`(penstock:\w+: [^`]+)`", PAGES)]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_every_setting_that_the_pages_show_is_accepted(snippet):
    settings = Settings.from_config({key: text(value) for key, value in yaml.safe_load(snippet).items()})
    assert settings != Settings()


def test_the_page_on_rollouts_shows_the_defaults():
    shown = next(yaml.safe_load(snippet) for snippet in SNIPPETS if "step_requests" in snippet)["penstock:rollout"]
    assert shown == Settings.from_config({"penstock:rollout": "true"}).endpoint()["rollout"]


def text(value):
    return value if isinstance(value, str) else json.dumps(value)


def test_a_list_that_pulumi_has_kept_as_text_is_told_with_the_command_that_sets_one():
    told = message({"monitoring": json.dumps({"ignored": '["month", "day"]'})})
    assert "setting 'monitoring.ignored' is '[\"month\", \"day\"]': expected a list" in told
    assert "`pulumi config set --path 'monitoring.ignored[0]' VALUE`" in told


def test_a_mistake_in_how_the_endpoint_is_watched_is_told_by_its_whole_name():
    told = message({"monitoring": '{"window_seconds": -1, "colour": "red"}'})
    assert "setting 'monitoring.window_seconds' is -1: input should be greater than or equal to 0" in told
    assert "unknown setting 'monitoring.colour' (value 'red')" in told
    settings = Settings.from_config({"penstock:monitoring": '{"ignored": ["month"], "webhook": "https://x"}'})
    assert settings.endpoint()["monitoring"]["ignored"] == ("month",)
