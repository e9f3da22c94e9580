"""How a workflow of the template's reaches a cluster without a key: its own program, the API server's own check of what
GitHub signs, by the file that its README shows. Played is GitHub: its keys, and where a job gets its token."""

import base64
import json
import ssl
import subprocess
import sys
import textwrap
import threading
import time
import urllib.parse
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
import yaml
from cluster.processes import HOST, free_ports
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from penstock.kubernetes.api import Api, ApiError
from tests.cluster.conftest import eventually

TEMPLATE = Path(__file__).resolve().parents[2] / "templates/problem"
BEARER = "of this job"
REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def encoded(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class GitHub:
    """The issuer of a job's tokens."""

    def __init__(self):
        self.key = rsa.generate_private_key(65537, 2048)
        self.job = {"repository_id": "123456", "environment": "preview", "sub": "repo:acme/parcels:environment:preview"}
        self.url = self.plain = ""
        self.asked = 0

    def token(self, audience):
        now = int(time.time())
        claims = {**self.job, "iss": self.url, "aud": audience, "iat": now, "nbf": now - 5, "exp": now + 300}
        head = {"alg": "RS256", "kid": "one", "typ": "JWT"}
        signed = ".".join(encoded(json.dumps(part).encode()) for part in (head, claims))
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{encoded(signature)}"

    def answer(self, path, bearer):
        """What is found at a path; None: nothing."""
        place, _, query = path.partition("?")
        if place == "/.well-known/openid-configuration":
            return {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        if place == "/keys":
            numbers = self.key.public_key().public_numbers()
            n, e = (encoded(each.to_bytes((each.bit_length() + 7) // 8, "big")) for each in (numbers.n, numbers.e))
            return {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one", "n": n, "e": e}]}
        if place == "/token" and bearer == f"bearer {BEARER}":
            self.asked += 1
            return {"value": self.token(urllib.parse.parse_qs(query)["audience"][0])}
        return None


@contextmanager
def listening(github, context=None):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = github.answer(self.path, self.headers.get("authorization"))
            self.send_response(404 if found is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"{'https' if context else 'http'}://{HOST}:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def github(plane):
    """GitHub, whose certificate is the test authority's."""
    made = GitHub()
    plane.authority.sign("issuer", "issuer", addresses=(HOST,))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(plane.authority.path("issuer.crt"), plane.authority.path("issuer.key"))
    with listening(made, context) as made.url, listening(made) as made.plain:
        yield made


@pytest.fixture(scope="module")
def trusting(plane, github):
    """The address of a second API server of the cluster, which trusts GitHub as the README of the template says."""
    page = (TEMPLATE / "README.md.jinja").read_text(encoding="utf-8")
    block = page[page.index("    apiVersion: apiserver.config.k8s.io") :].partition("\n\n")[0]
    trust = yaml.safe_load(textwrap.dedent(block))
    (port,) = free_ports(1)
    (issuer,) = (each["issuer"] for each in trust["jwt"])
    assert issuer["url"] == "https://token.actions.githubusercontent.com"
    authority = plane.authority.path("ca.crt").read_text()
    issuer |= {"url": github.url, "audiences": [f"https://{HOST}:{port}"], "certificateAuthority": authority}
    (plane.folder / "trust.json").write_text(json.dumps(trust))
    name, ours = (
        "kube-apiserver-trusting",
        {"--secure-port": port, "--authentication-config": plane.folder / "trust.json"},
    )
    program, *flags = psutil.Process(plane.processes.pids()["kube-apiserver"]).cmdline()
    flags = [flag for flag in flags if flag.partition("=")[0] not in (*ours, "--anonymous-auth")]
    flags += [f"{flag}={value}" for flag, value in ours.items()]
    plane.processes.start(name, Path(program), arguments=flags)
    admin = yaml.safe_load(plane.kubeconfig.read_text())
    for each in admin["clusters"]:
        each["cluster"]["server"] = f"https://{HOST}:{port}"
    api = Api(yaml.safe_dump(admin))

    def ready():
        try:
            return api.request("GET", "/readyz").get("text") == "ok"
        except Exception:  # noqa: BLE001 (not yet, whatever it says)
            return False

    plane.processes.wait(name, ready)
    yield f"https://{HOST}:{port}"
    plane.processes.kill(name)


@pytest.fixture
def job(plane, github, trusting, tmp_path, monkeypatch):
    """Requests of a job, by the kubeconfig that a step of its workflow has written."""
    for name, value in {
        "HOME": tmp_path,
        "KUBERNETES_SERVER": trusting,
        "KUBERNETES_CA": plane.authority.path("ca.crt").read_text(),
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{github.plain}/token?api-version=2.0",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": BEARER,
    }.items():
        monkeypatch.setenv(name, str(value))
    subprocess.run([sys.executable, TEMPLATE / ".github/identity.py", "kubeconfig"], check=True)
    text = (tmp_path / ".kube/config").read_text()
    assert '"token"' not in text
    return lambda: Api(str(tmp_path / ".kube/config"))


def test_a_job_is_known_by_its_environment_and_may_what_a_binding_gives_it(job, github, api, namespace):
    asked = github.asked
    mine = job()
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    assert mine.request("POST", REVIEW, body=review)["status"]["userInfo"]["username"] == "github:preview"
    assert github.asked > asked
    pods = f"/api/v1/namespaces/{namespace}/pods"
    with pytest.raises(ApiError, match='User "github:preview" cannot list resource "pods"'):
        mine.request("GET", pods)
    subject = {"kind": "User", "name": "github:preview", "apiGroup": "rbac.authorization.k8s.io"}
    role = {"kind": "ClusterRole", "name": "view", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "preview"}, "subjects": [subject], "roleRef": role}
    api.request("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings", body=binding)
    eventually(lambda: _may(mine, "GET", pods), "the binding holds")
    assert not _may(mine, "DELETE", pods)


@pytest.mark.parametrize(
    ("claims", "audience"),
    [({"repository_id": "654321"}, None), ({"environment": None}, None), ({}, "https://elsewhere.example.com")],
    ids=["another repository", "no environment", "another cluster's"],
)
def test_another_repository_s_token_or_one_for_somebody_else_is_refused(job, github, monkeypatch, claims, audience):
    changed = {name: value for name, value in {**github.job, **claims}.items() if value is not None}
    monkeypatch.setattr(github, "job", changed)
    if audience:
        right = github.token
        monkeypatch.setattr(github, "token", lambda _: right(audience))
    with pytest.raises(ApiError) as caught:
        job().request("GET", "/api/v1/namespaces")
    assert caught.value.status == 401


def _may(api, method, path):
    try:
        api.request(method, path)
    except ApiError as exc:
        if exc.status != 403:
            raise
        return False
    return True
