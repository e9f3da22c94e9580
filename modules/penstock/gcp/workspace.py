"""What a cluster gets before anything runs in it: a namespace, the bucket as a claim, ladders of machines, JobSets."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from penstock.gcp.environment import NAMESPACE
from penstock.gcp.ladder import Ladder
from penstock.gcp.pool import COMPUTE_CLASS
from penstock.kubernetes import manifest, preflight, workspace
from penstock.kubernetes.pods import LABEL, USER
from penstock.platform import Program

TUNING = ("chief", "trial")
"""Roles that work on a study."""
FUSE = "gcsfuse.csi.storage.gke.io"
FUSE_POD = {"gke-gcsfuse/volumes": "true"}
"""Annotation of pods that mount a bucket."""
JOB_SET_CHART = ("oci://registry.k8s.io/jobset/charts/jobset", preflight.VERSIONS[preflight.JOB_SET])
FOLDER_FILES = 1_000_000
"""An artifact of more files cannot be sealed in a bucket."""
RBAC = "rbac.authorization.k8s.io"
METADATA_SERVER = ("169.254.169.252/32", "169.254.169.254/32")
"""Where a pod gets its identity."""


class Workspace(pulumi.ComponentResource):
    """The namespace of a stack's jobs and services."""

    claim: pulumi.Output[str]
    """Name of the claim that the bucket is mounted by."""
    ready: list[pulumi.Resource]
    """What a job must wait for."""

    def __init__(
        self,
        name: str,
        provider: pulumi.ProviderResource,
        bucket: pulumi.Input[str],
        emails: Mapping[Program, pulumi.Input[str]],
        ladders: Mapping[str, Sequence[pulumi.Input[str]]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        from pulumi_kubernetes.helm import v3 as helm

        super().__init__("penstock:gcp:Workspace", name, None, opts)
        child = pulumi.ResourceOptions(parent=self, provider=provider)
        args = workspace.WorkspaceArgs(name, NAMESPACE)
        space = manifest.resource(f"{name}-namespace", workspace.namespace(args), child)
        within = pulumi.ResourceOptions(parent=self, provider=provider, depends_on=[space])
        parts = {**workspace.objects(args), "google": allow_google(), "claim": claim(), "volume": volume(bucket)}
        for program, email in emails.items():
            account = parts[f"account-{program.value}"]["metadata"]
            account["annotations"] = {"iam.gke.io/gcp-service-account": email}
        made = {part: manifest.resource(f"{name}-{part}", placed(content), within) for part, content in parts.items()}
        chart, version = JOB_SET_CHART
        job_sets = helm.Release(
            f"{name}-jobset",
            chart=chart,
            version=version,
            name="jobset",
            namespace="jobset-system",
            create_namespace=True,
            atomic=True,
            opts=child,
        )
        classes = [
            Ladder(f"{name}-{ladder}", {"pools": pools, "compute_class": ladder}, child)
            for ladder, pools in ladders.items()
        ]
        claimed: pulumi.Output[dict[str, str]] = made["claim"].metadata
        self.claim = claimed.apply(lambda metadata: metadata["name"])
        self.ready = [*made.values(), job_sets, *classes]
        self.register_outputs({"claim": self.claim})


def placed(content: dict[str, Any]) -> dict[str, Any]:
    """A manifest in the namespace; a volume belongs to none."""
    if content["kind"] == "PersistentVolume":
        return content
    return {**content, "metadata": {**content["metadata"], "namespace": NAMESPACE}}


def volume(bucket: pulumi.Input[str]) -> dict[str, Any]:
    """The bucket as a volume, owned by the pods' user."""
    options = ["implicit-dirs", f"uid={USER}", f"gid={USER}", "file-mode=640", "dir-mode=750"]
    # An artifact is sealed by renaming its folder, which a bucket does file by file and is not asked to by default.
    options.append(f"rename-dir-limit={FOLDER_FILES}")
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{NAMESPACE}-artifacts"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            # A bucket has no size; Kubernetes wants one.
            "capacity": {"storage": "64Ti"},
            "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "mountOptions": options,
            "csi": {"driver": FUSE, "volumeHandle": bucket},
            "claimRef": {"name": workspace.CLAIM, "namespace": NAMESPACE},
        },
    }


def claim() -> dict[str, Any]:
    """The claim on that volume."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": workspace.CLAIM},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "64Ti"}},
            "storageClassName": "",
            "volumeName": f"{NAMESPACE}-artifacts",
        },
    }


def allow_google() -> dict[str, Any]:
    """Pods may reach Google's services, which are all HTTPS, and the server that gives them their identity."""
    here = [{"ipBlock": {"cidr": address}} for address in METADATA_SERVER]
    ports = [{"protocol": "TCP", "port": port} for port in (80, 987, 988)]
    private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
    outside = [{"ipBlock": {"cidr": "0.0.0.0/0", "except": private}}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "allow-google"},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Egress"],
            "egress": [{"to": here, "ports": ports}, {"to": outside, "ports": [{"protocol": "TCP", "port": 443}]}],
        },
    }


def allow_database(cidr: pulumi.Input[str]) -> dict[str, Any]:
    """The trainer's pods may reach the studies' database, whose address the range is."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "allow-database"},
        "spec": {
            "podSelector": {"matchExpressions": [{"key": f"{LABEL}/role", "operator": "In", "values": list(TUNING)}]},
            "policyTypes": ["Egress"],
            "egress": [
                {
                    "to": [{"ipBlock": {"cidr": cidr}}],
                    "ports": [{"protocol": "TCP", "port": 5432}],
                }
            ],
        },
    }


def guarded(email: pulumi.Input[str], number: pulumi.Input[str]) -> dict[str, dict[str, Any]]:
    """What the budget's guard may do in the namespace: look, suspend jobs, scale servers."""
    metadata = {"name": "budget-guard"}
    things = {"jobset.x-k8s.io": "jobsets", "apps": "deployments", "autoscaling": "horizontalpodautoscalers"}
    # An account whose token does not tell its address is known by its number.
    subjects = [{"kind": "User", "apiGroup": RBAC, "name": user} for user in (email, number)]
    return {
        "role": {
            "apiVersion": f"{RBAC}/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [
                {"apiGroups": [group], "resources": [thing], "verbs": ["get", "list", "patch"]}
                for group, thing in things.items()
            ],
        },
        "binding": {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": metadata["name"]},
            "subjects": subjects,
        },
    }


def on_ladder(name: str) -> dict[str, str]:
    """The node selector of pods that take their machines from a ladder; GKE adds the toleration."""
    return {COMPUTE_CLASS: name}


def served(deployment: dict[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """The `spec` of a Deployment whose pods mount the bucket and bear the labels that bills are split by."""
    template = deployment["template"]
    own = {**template["metadata"]["labels"], **labels}
    return {**deployment, "template": {**template, "metadata": {"annotations": FUSE_POD, "labels": own}}}


def with_bucket(job_set: dict[str, Any], run: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """A JobSet in the namespace whose pods mount the bucket and bear the run's labels, which bills are split by."""
    jobs: list[dict[str, Any]] = []
    for job in job_set["spec"]["replicatedJobs"]:
        spec = job["template"]["spec"]
        metadata = spec["template"]["metadata"]
        marked = {**metadata, "annotations": FUSE_POD, "labels": {**metadata["labels"], **labels, "run": run}}
        template = {**spec["template"], "metadata": marked}
        jobs.append({**job, "template": {**job["template"], "spec": {**spec, "template": template}}})
    return placed({**job_set, "spec": {**job_set["spec"], "replicatedJobs": jobs}})
