"""Stacks' files for Google Cloud, drawn at random: right ones that reach every setting, and what is wrong in others."""

import json
from typing import Any

from hypothesis import strategies as st

from penstock.gcp import accelerators

IMAGES = [
    "us-docker.pkg.dev/acme/penstock/trainer@sha256:" + "a" * 64,
    "us-central1-docker.pkg.dev/acme-dev/penstock-stack/server@sha256:" + "b" * 64,
]
BASE = {"project": "acme-dev", "owner": "me", "trainer_image": IMAGES[0], "server_image": IMAGES[0]}
BUDGET = {"usd_per_month": 100, "billing_account": "000000-000000-000000"}
CALLERS = [
    "group:a@b.example",
    "user:c@b.example",
    "serviceAccount:d@acme-dev.iam.gserviceaccount.com",
    "domain:b.example",
]
ELSEWHERE = {"model": "sha256:" + "0" * 64, "model_store": "acme-staging"}
KEYS = {"sign_key": "signing.pem", "verify_key": "verifying.pem"}
"""Files that lie where a program is planned."""


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


def shares() -> st.SearchStrategy[dict[str, Any]]:
    """Stages of a budget, each at a higher share than the one before, or never."""
    warn = st.floats(0.1, 0.5)
    later = {"stop_trials": st.none() | st.floats(0.5, 0.9), "scale_to_zero": st.none() | st.floats(1, 10)}
    return st.fixed_dictionaries({"warn": warn, **later})


@st.composite
def provisioned(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """An accelerator of a kind that a stack may have, with a way to get its machines."""
    way = draw(st.sampled_from(["spot", "on-demand", "flex-start", "reservation"]))
    own: dict[str, Any] = {"type": kind, "provisioning": way, **draw(some(max_nodes=st.integers(1, 9)))}
    if way == "reservation":
        own["reservation"] = "mine"
    if kind in accelerators.TPUS:
        topologies = accelerators.TPUS[kind].topologies
        single = [each for each in topologies if accelerators.shape(kind, 1, each).nodes_per_slice == 1]
        return {**own, "topology": draw(st.sampled_from(single))}
    gpu = accelerators.GPUS[kind]
    own["count"] = draw(st.sampled_from(sorted(gpu.machines)))
    if own["count"] == 1:
        own |= draw(some(sharing=st.integers(1, 48)))
    if gpu.mig:
        own |= draw(some(mig=st.sampled_from(gpu.mig)))
    return own


@st.composite
def served(draw: st.DrawFn) -> dict[str, Any]:
    """Where models are served, and how."""
    if draw(st.booleans()):
        own = {"endpoint": "cloud-run", **draw(some(internet=st.booleans(), min_replicas=st.integers(0, 3)))}
    else:
        own = {"endpoint": "gke", "min_replicas": draw(st.integers(1, 3))}
        own |= draw(some(endpoint_host=st.just("late.example.com")))
        if "endpoint_host" in own:
            own |= draw(some(endpoint_certificate=st.just("late")))
    return {**own, "max_replicas": draw(st.integers(max(own.get("min_replicas", 0), 1), 50))}


def trained() -> st.SearchStrategy[dict[str, Any]]:
    """What an environment has that makes its models itself."""
    return some(
        machine_type=st.sampled_from(["e2-standard-4", "n2-standard-8"]),
        max_nodes=st.integers(1, 40),
        spot=st.booleans(),
        accelerator=st.sampled_from(accelerators.TRAINABLE).flatmap(provisioned),
        beam=st.sampled_from(["in-process", "dataflow"]),
        max_beam_workers=st.integers(1, 1000),
        study_database=st.booleans(),
        run_hours=st.floats(0.1, 100),
        run_gib=st.floats(0, 1000),
    )


@st.composite
def environment(draw: st.DrawFn) -> dict[str, Any]:
    """The setting `gcp`, right."""
    own = {**BASE, **draw(served()), **draw(st.just(ELSEWHERE) | trained())}
    kind = own.get("accelerator", {}).get("type")
    own["region"] = region = draw(
        st.sampled_from([*accelerators.ZONES[kind]] if kind else ["us-central1", "europe-west4"])
    )
    places = accelerators.offering(kind, region) if kind else [f"{region}-{letter}" for letter in "abc"]
    if kind and draw(st.booleans()) | (f"{region}-a" not in places):
        # By itself a stack is in the region's first zone, which may have no such accelerator.
        own["zones"] = draw(st.lists(st.sampled_from(places), unique=True, min_size=1))
    own |= draw(
        some(
            **({} if kind else {"zones": st.lists(st.sampled_from(places), unique=True)}),
            trainer_image=st.sampled_from(IMAGES),
            server_image=st.sampled_from(IMAGES),
            owner=st.sampled_from(["data-science", "me"]),
            project=st.sampled_from(["acme-dev", "acme-prod-1"]),
            callers=st.lists(st.sampled_from(CALLERS), unique=True),
            budget=st.fixed_dictionaries(
                {key: st.just(value) for key, value in BUDGET.items()},
                optional={
                    "endpoint_floor": st.integers(0, own["max_replicas"]),
                    "notify": st.lists(st.sampled_from(["a@b.example", "c@b.example"]), unique=True),
                    "stages": shares(),
                },
            ),
            notebook=st.booleans(),
            protect=st.booleans(),
            approve_replacement=st.lists(st.sampled_from(["flow-store-bucket", "penstock-stack-gke"]), unique=True),
            encryption_key=st.just(f"projects/p/locations/{region}/keyRings/r/cryptoKeys/k"),
            usd_per_hour_at_most=st.floats(1, 1000),
            prices=st.dictionaries(st.sampled_from(["e2-standard-4", "nvidia-l4"]), st.floats(0, 10)),
        )
    )
    if "budget" in own and "endpoint_floor" not in own["budget"]:
        own["budget"] = {**own["budget"], "endpoint_floor": 1}
    return own


@st.composite
def strategy(draw: st.DrawFn, tpu: bool) -> dict[str, Any]:
    """A strategy, with as many roles as it has use for."""
    chosen = "tpu" if tpu else draw(st.sampled_from(["local", "mirrored", "multiworker", "parameter-server"]))
    own: dict[str, Any] = {"strategy": chosen}
    if chosen == "parameter-server":
        return own | draw(some(parameter_servers=st.integers(1, 4), workers=st.integers(1, 9)))
    if chosen == "multiworker":
        own |= draw(some(workers=st.integers(2, 9)))
    return own | draw(some(precision=st.sampled_from(["float32", "mixed_bfloat16"]), xla=st.booleans()))


@st.composite
def whole(draw: st.DrawFn) -> dict[str, Any]:
    """The settings of a stack on Google Cloud, right."""
    own = draw(environment())
    raw = ["gs://acme/*.csv"] if own.get("beam") == "dataflow" else draw(st.sampled_from([[], ["gs://acme/*.csv"]]))
    limit = {"usd_per_process_hour": st.floats(0.1, 9), "tuning_cost_limit_usd": st.floats(1, 99)}
    tpu = own.get("accelerator", {}).get("type") in accelerators.TPUS
    return {
        "gcp": own,
        "raw": raw,
        **draw(strategy(tpu)),
        **draw(st.just({}) | st.fixed_dictionaries(limit)),
        **({"idle_seconds": draw(st.floats(1, 3600))} if own["endpoint"] == "gke" else {}),
        **draw(
            some(
                problem=st.sampled_from(["flights", "ratings", "acme.late"]),
                rows=st.integers(1, 10**6),
                bad_rows_allowed=st.floats(0, 1),
                trials=st.integers(1, 10_000),
                trial_processes=st.integers(1, 9),
                tuning_epochs=st.integers(1, 9),
                tuning_time_limit_seconds=st.floats(1, 10**6),
                tuning_storage=st.just("postgresql://me@studies.example:5432/studies"),
                restarts=st.integers(0, 9),
                evaluator=st.booleans(),
                epochs=st.integers(1, 9),
                promote=st.sampled_from(["always", "better"]),
                minimum_gain=st.floats(0, 1),
                port=st.integers(1024, 65_535),
                keep=st.lists(st.sampled_from(["raw", "dataset", "study", "models"]), unique=True),
                monitoring=some(
                    window_seconds=st.floats(0, 86_400),
                    minimum_rows=st.integers(1, 1000),
                    windows_in_a_row=st.integers(1, 9),
                    ignored=st.lists(st.sampled_from(["origin", "tailnum"]), unique=True),
                ),
                **{name: st.just(file) for name, file in KEYS.items()},
            )
        ),
    }


WRONG = st.sampled_from([None, -1, 0, "", "allUsers", "*", [], {}, "latest", 10**12, True, 1.5])


def config(settings: dict[str, Any]) -> dict[str, str]:
    """Settings as a stack's configuration has them, where all is text."""
    return {f"penstock:{key}": each if isinstance(each, str) else json.dumps(each) for key, each in settings.items()}
