"""What holds data or serves, in stacks that must not lose it and in those that may."""

import ast
from pathlib import Path

import pytest

from penstock_policies import protection
from penstock_policies.resource import Settings

CASES = [
    ("gcp:storage/bucket:Bucket", "forceDestroy", True, "goes with all that is in it"),
    ("gcp:storage/bucket:Bucket", "versioning", {}, "forgets what is overwritten"),
    ("gcp:container/cluster:Cluster", "deletionProtection", False, "may be deleted by anybody"),
    ("gcp:cloudrunv2/service:Service", "deletionProtection", False, "may be deleted by anybody"),
    ("gcp:sql/databaseInstance:DatabaseInstance", "deletionProtection", False, "may be deleted by anybody"),
    ("gcp:sql/databaseInstance:DatabaseInstance", "settings.deletionProtectionEnabled", False, "in the console"),
    ("gcp:sql/databaseInstance:DatabaseInstance", "settings.backupConfiguration", {}, "has no backups"),
]


@pytest.mark.parametrize(("type_", "path", "value", "told"), CASES)
def test_data_that_a_mistake_would_lose_is_found_in_a_protected_stack_only(type_, path, value, told, resource):
    (found,) = protection.DATA.findings(resource(type_, path, value, protect=True))
    assert told in found
    assert list(protection.DATA.findings(resource(type_, path, value))) == []


def test_every_type_that_holds_data_has_a_case():
    assert {type_ for type_, *_ in CASES} == set(protection.JUDGES)


@pytest.mark.parametrize("type_", protection.KEPT)
def test_what_may_be_replaced_in_a_protected_stack_is_told_until_it_is_named(type_, resource):
    (found,) = protection.APPROVAL.findings(resource(type_, protected=False, protect=True))
    assert "'gcp.approve_replacement[0]' it" in found
    for allowed in (
        resource(type_, protected=True, protect=True),
        resource(type_, protected=False, protect=True, approved=frozenset({"it"})),
        resource(type_, protected=False),
    ):
        assert list(protection.APPROVAL.findings(allowed)) == []


def test_what_is_kept_is_what_the_modules_know_as_kept():
    text = (Path(__file__).parents[3] / "modules/penstock/gcp/pins.py").read_text()
    (kept,) = (
        node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "KEPT"
    )
    assert ast.literal_eval(kept).keys() == protection.KEPT.keys()


def test_what_is_approved_by_name_need_not_be_protected_by_google_either(resource):
    bucket = resource("gcp:storage/bucket:Bucket", "forceDestroy", True, protect=True, approved=frozenset({"it"}))
    assert list(protection.DATA.findings(bucket)) == []


def test_a_stack_called_prod_is_protected_whatever_its_settings_say():
    assert Settings.read("prod", '{"protect": false}').protect
    assert Settings.read("prod", None).protect
    assert not Settings.read("dev", '{"protect": false}').protect
    assert Settings.read("dev", '{"protect": true, "approve_replacement": ["a"]}').approved == {"a"}
