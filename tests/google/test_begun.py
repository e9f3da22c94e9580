"""What a run that was killed had begun, by the names that Google and the SDK have for it."""

import importlib.util
import re
from pathlib import Path

import discovery
import pytest
from standin.inputs import REST

from penstock.gcp import begun

GCP = Path(str(getattr(importlib.util.find_spec("pulumi_gcp"), "origin", ""))).parent
MODULES = Path(begun.__file__).parent
ACCOUNT, BUCKET, ROLE = (
    "gcp:serviceaccount/account:Account",
    "gcp:storage/bucket:Bucket",
    "gcp:projects/iAMCustomRole:IAMCustomRole",
)
DATABASE = "gcp:sql/database:Database"
UNDOCUMENTED = {ACCOUNT, BUCKET, ROLE}
"""Of these the SDK does not say how they are imported; Google's own names are compared."""
ELSEWHERE = {
    "gcp:compute/routerNat:RouterNat": "is a part of its router, which is asked for",
    "gcp:container/nodePool:NodePool": "the SDK has a form of its own",
    "gcp:sql/user:User": "the SDK has a form of its own",
    BUCKET: "is named by itself: b/{bucket}",
}
"""Names that are no path of Google's interface."""
NOT_TAKEN_OVER = {
    "IAMMember|IamMember": "a grant that is there already is granted again without a fault",
    "AlertPolicy|NotificationChannel|Dashboard|Budget": "its name is Google's, and a second one is no fault",
    "BucketObject": "an object is written over",
    "SecretVersion": "a secret gets another version",
    "Connection": "Google joins what is joined already",
    "ServiceIdentity": "Google has one, and tells it",
}
"""What the modules make besides, and why a run after one that was killed need not know of it."""


def documented(token):
    """The forms of a name by which the SDK's documentation says that a resource is imported, `*` for each part."""
    # Read, not imported: some of the SDK's modules take seconds.
    place = re.sub("([A-Z])", r"_\1", token.split(":")[1]).lower().replace("/i_a_m_", "/iam_")
    text = (GCP / f"{place}.py").read_text(encoding="utf-8").partition("## Import")[2].partition('"""')[0]
    return {re.sub(r"\{\{\w+\}\}", "*", form) for form in re.findall(r"^ +\* `(\S+)`$", text, re.MULTILINE)}


def paths(api, version):
    """What Google's interface has to read, as patterns."""
    for method in discovery.methods(discovery.document(api, version)):
        if method["httpMethod"] == "GET":
            path = re.sub(r"^v\d+/", "", method.get("flatPath") or method["path"])
            yield re.sub(r"\{\w+\}", "[^/]+", path)


@pytest.mark.parametrize("token", sorted(begun.NAMES))
def test_what_was_begun_is_named_as_the_sdk_says_that_it_is_imported_and_as_google_calls_it(token):
    form = re.sub(r"\{\w+\}", "*", begun.NAMES[token])
    assert (form in documented(token)) != (token in UNDOCUMENTED)
    if token not in ELSEWHERE:
        api, version, *_ = {**REST, ROLE: ("iam", "v1"), DATABASE: ("sqladmin", "v1")}[token]
        assert any(re.fullmatch(path, form) for path in paths(api, version))


def test_google_s_own_rule_for_a_name_takes_those_that_no_documentation_has():
    given = {"project": "acme-dev", "accountId": "trainer", "name": "acme", "roleId": "penstock.guard"}
    account, bucket, role = (begun.NAMES[token].format_map(given) for token in (ACCOUNT, BUCKET, ROLE))
    rules = {each["id"]: each["parameters"] for each in discovery.methods(discovery.document("iam", "v1"))}
    assert re.fullmatch(rules["iam.projects.serviceAccounts.get"]["name"]["pattern"], account)
    assert re.fullmatch(rules["iam.projects.roles.get"]["name"]["pattern"], role)
    shown = (GCP / "serviceaccount/get_account_access_token.py").read_text(encoding="utf-8")
    (email,) = set(re.findall(r'service_account_id="projects/-/serviceAccounts/(.+?)"', shown))
    assert re.fullmatch(r"(.+)@(.+)\.iam\.gserviceaccount\.com", email), "which is an address as Google makes it"
    assert account == "projects/acme-dev/serviceAccounts/trainer@acme-dev.iam.gserviceaccount.com"
    assert bucket == discovery.call("storage", "v1", "GET", f"/storage/v1/b/{bucket}").parameters["bucket"]


def test_of_what_the_modules_make_all_that_a_second_run_would_meet_is_taken_over():
    source = "".join(file.read_text() for file in MODULES.rglob("*.py"))
    made = {
        f"gcp:{at}/{name[0].lower()}{name[1:]}:{name}" for at, name in re.findall(r"gcp\.(\w+)\.([A-Z]\w+)\(", source)
    }
    made |= set(re.findall(r'_type = "(gcp:.+)"', source))
    left = {token.rpartition(":")[2] for token in made - set(begun.NAMES)}
    assert {name for name in left if not any(re.search(f"({why})$", name) for why in NOT_TAKEN_OVER)} == set()
    assert set(begun.NAMES) <= made


def test_what_has_a_name_of_ours_is_taken_over_once_and_what_is_in_the_state_or_has_none_is_not():
    bucket = {"urn": "a::b::store", "type": "gcp:storage/bucket:Bucket", "inputs": {"name": "acme"}}
    begin = {"resource": bucket, "type": "creating"}
    deployment = {"resources": [], "pending_operations": [begin, {**begin, "type": "updating"}]}
    assert begun.taken_over(deployment, "acme-dev") == ["a::b::store"]
    assert deployment["resources"] == [{**bucket, "id": "acme", "outputs": {"name": "acme"}}]
    assert begun.taken_over(deployment, "acme-dev") == [], "it is in the state"
    for type_ in ("gcp:monitoring/alertPolicy:AlertPolicy", "gcp:container/cluster:Cluster"):
        other = {"urn": "a::b::other", "type": type_, "inputs": {"name": "acme"}}
        assert begun.taken_over({"pending_operations": [{"resource": other, "type": "creating"}]}, "acme-dev") == []
