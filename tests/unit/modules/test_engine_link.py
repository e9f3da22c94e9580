import base64
import pickle
import sys
import threading
from types import SimpleNamespace

import pytest
from pulumi.dynamic.dynamic import serialize_provider

from penstock.errors import StageFailed
from penstock.gcp.promotion import PromotedModelProvider
from penstock.kubernetes.job_result import JobResultProvider
from penstock.kubernetes.readiness import ReadinessProvider
from penstock.kubernetes.study_database import PasswordProvider
from penstock.kubernetes.versions import VersionsProvider
from penstock.local import engine
from penstock.local.job import LocalJobProvider
from penstock.local.page import LocalPageProvider
from penstock.local.service import LocalServiceProvider
from penstock.local.storage import LocalStorageProvider

PROVIDERS = (
    *(LocalJobProvider, LocalPageProvider, LocalServiceProvider, LocalStorageProvider),
    *(JobResultProvider, ReadinessProvider, VersionsProvider, PasswordProvider, PromotedModelProvider),
)


@pytest.fixture
def host(monkeypatch):
    """Stands for the process in which Pulumi hosts dynamic providers."""
    import traceback

    class DynamicResourceProviderServicer:
        def Cancel(self, request, context):  # noqa: N802 (Pulumi's name)
            return None

    made = SimpleNamespace(traceback=traceback, DynamicResourceProviderServicer=DynamicResourceProviderServicer)
    monkeypatch.setitem(sys.modules, "__main__", made)
    monkeypatch.setattr(engine, "_cancelled", threading.Event())
    monkeypatch.setattr(engine, "_on_cancel", [])
    return made


def test_our_errors_reach_the_person_without_a_traceback_and_bugs_keep_theirs(host):
    engine.adopt_provider_host()
    try:
        raise StageFailed("flow-tune-study failed: no trial finished\nlog: x.log")
    except StageFailed:
        assert host.traceback.format_exc() == "flow-tune-study failed: no trial finished\nlog: x.log"
    try:
        raise KeyError("a bug")
    except KeyError:
        assert host.traceback.format_exc().startswith("Traceback")


def test_a_cancelled_run_interrupts_what_is_running_even_through_a_method_bound_before(host):
    bound = host.DynamicResourceProviderServicer().Cancel
    engine.adopt_provider_host()
    ended = []
    with engine.interruptible(lambda: ended.append("stage")):
        bound(None, None)
        assert ended == ["stage"]
    assert engine.is_cancelled()


def test_what_begins_after_the_run_was_cancelled_is_interrupted_at_once(host):
    engine.cancel()
    ended = []
    with engine.interruptible(lambda: ended.append("late stage")):
        assert ended == ["late stage"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_a_stack_keeps_of_a_provider_is_its_name_so_that_other_code_is_no_change(provider):
    kept = base64.b64decode(serialize_provider(provider()))
    # Plain pickle has no other way than by reference.
    assert kept == pickle.dumps(provider(), pickle.DEFAULT_PROTOCOL)
    assert not provider.serialize_as_secret_always
