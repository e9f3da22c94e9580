"""Google's own library and a real PostgreSQL server; only the metadata server, which knows the account, is a test's."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from penstock_trainer import google_sign_in
from penstock_trainer.errors import InputError
from penstock_trainer.study_storage import PostgreSQL

from . import _postgresql
from ._cheap_study import CheapStudy


@pytest.fixture
def server():
    with _postgresql.running() as found:
        yield found


@pytest.fixture
def account(server, monkeypatch, tmp_path):
    """A metadata server as a pod on GKE sees it; the account's token is what the database takes."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            path = self.path.partition("?")[0]
            answers = {
                "/computeMetadata/v1/project/project-id": "acme-dev",
                "/computeMetadata/v1/universe/universe-domain": "googleapis.com",
                "/computeMetadata/v1/instance/service-accounts/default/": {"email": "a@acme-dev", "scopes": []},
                "/computeMetadata/v1/instance/service-accounts/default/token": {
                    "access_token": server.password,
                    "expires_in": 3600,
                    "token_type": "Bearer",
                },
            }
            found = answers.get(path, "")
            data = found.encode() if isinstance(found, str) else json.dumps(found).encode()
            self.send_response(200)
            self.send_header("metadata-flavor", "Google")
            self.send_header("content-type", "application/text" if isinstance(found, str) else "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments):
            """The test looks at what was asked."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.05,))
    thread.start()
    address = f"127.0.0.1:{http.server_address[1]}"
    for name in ("GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"):
        monkeypatch.setenv(name, address)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv(google_sign_in.SIGN_IN, "google")
    yield asked
    http.shutdown()
    thread.join()
    http.server_close()


def test_a_study_signs_in_with_the_account_s_token_and_no_password(server, account):
    study = CheapStudy(PostgreSQL(server.url), 2)
    study.work()
    assert len(study.results()["trials"]) == 2
    (path,) = {each for each in account if "/token" in each}
    assert path.endswith("/default/token?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fsqlservice.login")


def test_without_an_account_that_is_told(monkeypatch):
    monkeypatch.setenv(google_sign_in.SIGN_IN, "google")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    with pytest.raises(InputError, match="this process runs as no account of Google's"):
        PostgreSQL("postgresql://me@127.0.0.1/studies")


def test_who_does_not_ask_for_it_signs_in_as_before(monkeypatch, server):
    monkeypatch.delenv(google_sign_in.SIGN_IN, raising=False)
    monkeypatch.setenv("PGPASSWORD", server.password)
    assert len(CheapStudy(PostgreSQL(server.url), 1).study.get_trials()) == 0
