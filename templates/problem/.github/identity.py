"""GitHub's word on which job this is, as the credential of a cluster that trusts it.

identity.py kubeconfig             writes ~/.kube/config for the server KUBERNETES_SERVER, whose authority is KUBERNETES_CA
identity.py credential AUDIENCE    what a client that reads that file runs, again when the credential has expired
"""

import base64
import datetime
import json
import os
import sys
import urllib.request
from pathlib import Path

API = "client.authentication.k8s.io/v1"


def kubeconfig(server: str, authority: str) -> dict:
    """A kubeconfig without any secret: its user asks this program, with the server's address as the audience."""
    asks = {"apiVersion": API, "command": sys.executable, "interactiveMode": "Never"}
    asks["args"] = [str(Path(__file__).resolve()), "credential", server]
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(authority.encode()).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "job", "user": {"exec": asks}}],
        "contexts": [{"name": "job", "context": {"cluster": "cluster", "user": "job"}}],
        "current-context": "job",
    }


def credential(audience: str) -> dict:
    """The job's token for an audience: https://docs.github.com/actions/reference/security/oidc."""
    url = f"{os.environ['ACTIONS_ID_TOKEN_REQUEST_URL']}&audience={audience}"
    bearer = {"Authorization": f"bearer {os.environ['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=bearer), timeout=30) as answer:
        token = json.load(answer)["value"]
    payload = token.split(".")[1]
    expires = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]
    until = datetime.datetime.fromtimestamp(expires, datetime.timezone.utc).isoformat().replace("+00:00", "Z")
    return {"apiVersion": API, "kind": "ExecCredential", "status": {"token": token, "expirationTimestamp": until}}


if __name__ == "__main__":
    if sys.argv[1] == "kubeconfig":
        file = Path.home() / ".kube/config"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(kubeconfig(os.environ["KUBERNETES_SERVER"], os.environ["KUBERNETES_CA"])))
    else:
        print(json.dumps(credential(sys.argv[2])))
