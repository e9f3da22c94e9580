"""Tokens and TLS by three lines of the stack's config, on the real engine."""

import re
import ssl
import urllib.error
import urllib.request

import pytest
from cluster.certificates import Authority

FIRST, SECOND = "the-first-token-of-all", "the-token-after-that-one"


def test_a_token_file_and_a_certificate_are_lines_of_config_and_a_changed_file_is_followed(served):
    authority = Authority(served.root / "secrets")
    authority.sign("server", "server", addresses=("127.0.0.1",))
    trusting = ssl.create_default_context(cafile=str(authority.folder / "ca.crt"))
    tokens = authority.folder / "tokens"
    secured = {"token_file": "secrets/tokens", "certificate": "secrets/server.crt", "private_key": "secrets/server.key"}

    def status(token: str) -> int:
        asked = urllib.request.Request(served.outputs()["endpoint"], headers={"authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(asked, timeout=10, context=trusting) as response:
                return response.status
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code

    served.configure(**secured)
    assert f"setting 'token_file' names {tokens}, which is not there" in served.run("up", expected=1)
    tokens.write_text(FIRST)
    served.run("up")
    assert served.outputs()["endpoint"].startswith(f"https://127.0.0.1:{served.port}/")
    assert (status(FIRST), status(SECOND)) == (200, 401)
    assert re.search(r"\b13 passed\b", said := served.operate("verify")), said
    assert served.deployment()["flow-serve-server"]["outputs"]["pid"] == _pid_after_another_up(served)
    tokens.write_text(SECOND)
    served.run("up")
    assert (status(FIRST), status(SECOND)) == (401, 200)
    for place in (served.root / ".penstock").rglob("*"):
        if place.is_file() and place.suffix in (".json", ".log", ".yaml"):
            assert FIRST not in place.read_text(errors="replace"), place

    served.configure()
    served.run("up")
    assert served.get("")["model_version_status"][0]["state"] == "AVAILABLE"


def _pid_after_another_up(served) -> int:
    """Nothing has changed, so nothing is started."""
    served.run("up")
    return served.deployment()["flow-serve-server"]["outputs"]["pid"]


@pytest.fixture(scope="module", autouse=True)
def _up(served):
    """The stack as it was, whatever a test before it left."""
    served.configure()
    served.run("up")
