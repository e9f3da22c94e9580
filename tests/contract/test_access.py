"""Tokens and TLS on real servers, with certificates made here."""

import contextlib
import json
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trustme

TOKEN, OTHER = "s3cret-of-the-billing-team", "s3cret-of-the-airport-team=="
BODY = {"instances": [1.0, 2.0, 5.0]}
ANSWER = {"predictions": [3.5, 4.0, 5.5]}
PREDICT = "/v1/models/half_plus_three:predict"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokens, a certificate with its key, another key, and things that are none of these."""
    folder = tmp_path_factory.mktemp("access")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name in ("server", "another"):
        issued = authority.issue_cert("localhost", "127.0.0.1")
        issued.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        for part in issued.cert_chain_pems:
            part.write_to_path(str(folder / f"{name}.crt"), append=True)
    (folder / "tokens").write_text(f"# two teams\n{TOKEN}\n\n  {OTHER}\n")
    (folder / "empty").write_text("\n# none yet\n")
    (folder / "short").write_text(f"{TOKEN}\nhunter2\n")
    (folder / "odd").write_text("not one token but five\n")
    (folder / "text").write_text("no PEM\n")
    return folder


@pytest.fixture(scope="module")
def secured(serve, files):
    """A ready server that wants a token."""
    return serve("half_plus_three", "--token-file", str(files / "tokens")).wait_until_ready()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
def trusting(files: Path) -> ssl.SSLContext:
    """What a client of the test's authority trusts."""
    return ssl.create_default_context(cafile=str(files / "ca.pem"))


def test_every_route_but_the_probes_wants_a_token(secured):
    document = secured.client.get("/openapi.json", headers=bearer(TOKEN)).json()
    paths = {path: method for path, methods in document["paths"].items() for method in methods}
    assert len(paths) > 10
    for path, method in {**paths, "/nowhere": "get"}.items():
        answer = secured.client.request(method, path)
        if path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"):
            assert answer.status_code == 200
            assert "x-model-digest" not in answer.headers
            assert document["paths"][path][method]["security"] == []
            continue
        assert answer.status_code == 401, path
        assert "Bearer" in answer.headers["www-authenticate"]
        assert "x-model-digest" not in answer.headers
        assert answer.json() == {
            "error": "this server wants a token: send the header 'authorization: Bearer TOKEN'",
        }
    assert document["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}


@pytest.mark.parametrize("token", [TOKEN, OTHER])
def test_each_token_of_the_file_opens_it(secured, token):
    answer = secured.predict(BODY, headers=bearer(token))
    assert (answer.status_code, answer.json()) == (200, ANSWER)
    assert secured.client.get("/metrics", headers=bearer(token)).status_code == 200


@pytest.mark.parametrize(
    "given",
    [b"Bearer nearly-" + TOKEN.encode(), b"Bearer " + TOKEN.encode()[:-1], b"Bearer", b"", TOKEN.encode(),
     b"Basic ???", b"Basic eA==", b"Digest " + TOKEN.encode(), b"Bearer \xff\xfe", b"Bearer # two teams"],
)  # fmt: skip
def test_anything_else_is_refused_and_never_repeated(secured, given):
    answer = secured.predict(BODY, headers={"authorization": given})
    assert answer.status_code == 401
    assert answer.json() == {"error": "the token in the header 'authorization' is none of this server's"}
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert TOKEN not in secured.log


def test_a_browser_is_asked_for_the_token_as_a_password(secured):
    assert secured.client.get("/").headers["www-authenticate"].startswith('Basic realm="penstock"')
    assert not secured.predict(BODY).headers["www-authenticate"].startswith("Basic")
    page = secured.client.get("/", auth=("anyone", TOKEN))
    assert page.headers["content-type"].startswith("text/html")
    assert secured.predict(BODY, auth=("", TOKEN)).json() == ANSWER
    assert secured.predict(BODY, auth=(TOKEN, "")).status_code == 401


def test_over_tls_a_client_that_trusts_the_authority_is_answered_and_plain_text_is_not(serve, files, trusting):
    tls = ("--certificate", str(files / "server.crt"), "--private-key", str(files / "server.key"))
    server = serve("half_plus_three", *tls, "--token-file", str(files / "tokens"))
    server.client = httpx.Client(base_url=f"https://localhost:{server.port}", verify=trusting, headers=bearer(TOKEN))
    with contextlib.closing(server.wait_until_ready().client) as client:
        assert client.post(PREDICT, json=BODY).json() == ANSWER
        large = {"instances": [1.0] * 50_000}
        assert client.post(PREDICT, json=large).json() == {"predictions": [3.5] * 50_000}
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://localhost:{server.port}/healthz")
        with (
            socket.create_connection(("localhost", server.port)) as connection,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            ssl.create_default_context().wrap_socket(connection, server_hostname="localhost")
        old = ssl.create_default_context(cafile=str(files / "ca.pem"))
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert httpx.get(f"https://localhost:{server.port}/healthz", verify=old).status_code == 200
        assert server.end() == 0
    assert "Traceback" not in server.log


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--token-file", "nowhere"], "--token-file {}/nowhere cannot be read: No such file or directory"),
        (["--token-file", "empty"], "--token-file {}/empty holds no token, expected one a line"),
        (["--token-file", "short"], "--token-file {}/short, line 2: a token of 7 characters can be guessed"),
        (["--token-file", "odd"], "--token-file {}/odd, line 1: expected letters, digits"),
        (["--certificate", "server.crt"], "--certificate is given without --private-key"),
        (["--private-key", "server.key"], "--private-key is given without --certificate"),
        (["--certificate", "nowhere", "--private-key", "server.key"], "--certificate {}/nowhere cannot be read"),
        (["--certificate", "server.crt", "--private-key", "nowhere"], "--private-key {}/nowhere cannot be read"),
        (["--certificate", "text", "--private-key", "server.key"], "--certificate {}/text holds no PEM certificate"),
        (["--certificate", "server.crt", "--private-key", "text"], "--private-key {}/text holds no PEM key"),
        (
            ["--certificate", "server.crt", "--private-key", "another.key"],
            "--private-key {0}/another.key is not the key of --certificate {0}/server.crt",
        ),
    ],
)
def test_a_file_that_will_not_do_is_refused_by_name_before_anything_starts(files, tmp_path, arguments, says):
    given = [word if word.startswith("--") else str(files / word) for word in arguments]
    for program in (
        ["penstock_serving", "--model", "m", "--name", "n"],
        ["penstock_serving.supervisor", *plan(tmp_path)],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *program, "--port", "0", *given], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith(f"error: {says.format(files)}")
        assert len(done.stderr.splitlines()) == 1
        assert "hunter2" not in done.stderr
    assert not list(tmp_path.iterdir())


def plan(folder: Path) -> list[str]:
    return ["--plan", str(folder / "plan.json"), "--folder", str(folder)]


def test_a_supervisor_and_its_workers_keep_both_from_zero_and_through_a_changed_plan(supervised, files, trusting, load):
    made = supervised(
        *("--certificate", str(files / "server.crt"), "--private-key", str(files / "server.key")),
        *("--token-file", str(files / "tokens")),
    )
    made.client = httpx.Client(base_url=f"https://localhost:{made.port}", verify=trusting, timeout=240)
    made.plan(replicas={"lowest": 0, "highest": 1, "idle_seconds": 1.0})
    made.start().until(lambda: not made.workers())
    assert made.predict(BODY).status_code == 401  # held while a worker starts, as any request
    assert made.predict(BODY, **bearer(TOKEN)).json() == ANSWER
    made.follow(latest="2", replicas={"lowest": 1, "highest": 1})
    made.until(lambda: made.predict(BODY, **bearer(OTHER)).json() == load.OTHER)  # a kept connection may be the last's
    made.processes[-1].send_signal(signal.SIGTERM)
    assert made.processes[-1].wait(30) == 0
    assert "Traceback" not in made.log
    written = [path.read_text() for where in (made.folder, made.own) for path in where.iterdir() if path.is_file()]
    assert TOKEN not in json.dumps(written)
