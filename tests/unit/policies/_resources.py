"""Resources as Penstock's modules make them, and ways of changing one thing in them."""

import copy

LABELS = {"environment": "dev", "run": "shared", "owner": "me", "model": "flights"}
IMAGE = "registry.example.com/trainer@sha256:" + "a" * 64
ACCOUNT = "trainer@acme.iam.gserviceaccount.com"
BOUNDS = {"cpu": "1", "memory": "1Gi"}
POD = {
    "automountServiceAccountToken": False,
    "serviceAccountName": "trainer",
    "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
    "volumes": [{"name": "scratch", "emptyDir": {}}],
    "containers": [
        {
            "name": "main",
            "image": IMAGE,
            "args": ["preprocess", f"--sdk_container_image={IMAGE}"],
            "env": [{"name": "HOME", "value": "/tmp"}],
            "ports": [{"containerPort": 2222}],
            "resources": {"requests": dict(BOUNDS), "limits": dict(BOUNDS)},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }
    ],
}
TEMPLATE = {
    "metadata": {"labels": {"app.kubernetes.io/name": "penstock", "app.kubernetes.io/instance": "dev"}},
    "spec": POD,
}
GOOD = {
    "gcp:storage/bucket:Bucket": {
        "publicAccessPrevention": "enforced",
        "uniformBucketLevelAccess": True,
        "versioning": {"enabled": True},
        "forceDestroy": False,
        "labels": LABELS,
    },
    "gcp:storage/bucketIAMMember:BucketIAMMember": {
        "role": "roles/storage.objectUser",
        "member": f"serviceAccount:{ACCOUNT}",
    },
    "gcp:projects/iAMMember:IAMMember": {"role": "roles/dataflow.worker", "member": f"serviceAccount:{ACCOUNT}"},
    "gcp:serviceaccount/iAMMember:IAMMember": {
        "role": "roles/iam.workloadIdentityUser",
        "member": "serviceAccount:acme.svc.id.goog[penstock/trainer]",
    },
    "gcp:compute/firewall:Firewall": {"allows": [{"protocol": "tcp"}], "sourceTags": ["dataflow"]},
    "gcp:container/cluster:Cluster": {
        "privateClusterConfig": {"enablePrivateNodes": True},
        "controlPlaneEndpointsConfig": {"ipEndpointsConfig": {"enabled": False}},
        "removeDefaultNodePool": True,
        "deletionProtection": True,
        "resourceLabels": LABELS,
    },
    "gcp:container/nodePool:NodePool": {
        "networkConfig": {"enablePrivateNodes": True},
        "nodeConfig": {
            "serviceAccount": ACCOUNT,
            "resourceLabels": LABELS,
            "shieldedInstanceConfig": {"enableSecureBoot": True},
            "kubeletConfig": {"insecureKubeletReadonlyPortEnabled": "FALSE"},
        },
    },
    "gcp:sql/databaseInstance:DatabaseInstance": {
        "deletionProtection": True,
        "settings": {
            "ipConfiguration": {"ipv4Enabled": False, "sslMode": "ENCRYPTED_ONLY"},
            "backupConfiguration": {"enabled": True},
            "deletionProtectionEnabled": True,
            "userLabels": LABELS,
        },
    },
    "gcp:artifactregistry/repository:Repository": {"repositoryId": "penstock", "labels": LABELS},
    "gcp:secretmanager/secret:Secret": {
        "labels": LABELS,
        "replication": {"userManaged": {"replicas": [{"location": "us-central1"}]}},
    },
    "gcp:cloudrunv2/service:Service": {
        "ingress": "INGRESS_TRAFFIC_INTERNAL_ONLY",
        "deletionProtection": True,
        "labels": LABELS,
        "template": {"serviceAccount": ACCOUNT, "containers": [{"image": IMAGE}]},
    },
    "gcp:cloudfunctionsv2/function:Function": {
        "labels": LABELS,
        "buildConfig": {"serviceAccount": f"projects/acme/serviceAccounts/{ACCOUNT}"},
        "serviceConfig": {"ingressSettings": "ALLOW_INTERNAL_ONLY", "serviceAccountEmail": ACCOUNT},
    },
    "gcp:workbench/instance:Instance": {
        "labels": LABELS,
        "gceSetup": {"disablePublicIp": True, "serviceAccounts": [{"email": ACCOUNT}]},
    },
    "gcp:compute/instance:Instance": {
        "labels": LABELS,
        "networkInterfaces": [{"network": "n"}],
        "serviceAccount": {"email": ACCOUNT},
    },
    "gcp:compute/instanceTemplate:InstanceTemplate": {
        "labels": LABELS,
        "disks": [{"sourceImage": "debian"}],
        "serviceAccount": {"email": ACCOUNT},
    },
    "gcp:compute/disk:Disk": {"labels": LABELS},
    "gcp:dataflow/job:Job": {"labels": LABELS, "serviceAccountEmail": ACCOUNT},
    "gcp:dataflow/flexTemplateJob:FlexTemplateJob": {"labels": LABELS, "serviceAccountEmail": ACCOUNT},
    "gcp:serviceaccount/account:Account": {"accountId": "trainer"},
    "kubernetes:core/v1:Namespace": {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
    "kubernetes:core/v1:Service": {"spec": {"type": "ClusterIP"}},
    "kubernetes:core/v1:Pod": {"spec": POD},
    "kubernetes:apps/v1:Deployment": {"spec": {"template": TEMPLATE}},
    "kubernetes:serving.knative.dev/v1:Service": {
        "metadata": {"labels": {"networking.knative.dev/visibility": "cluster-local"}},
        "spec": {"template": TEMPLATE},
    },
    "kubernetes:batch/v1:CronJob": {"spec": {"jobTemplate": {"spec": {"template": TEMPLATE}}}},
    "kubernetes:jobset.x-k8s.io/v1alpha2:JobSet": {
        "spec": {"replicatedJobs": [{"name": "chief", "template": {"spec": {"template": TEMPLATE}}}]}
    },
    "kubernetes:rbac.authorization.k8s.io/v1:Role": {
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    },
    "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding": {
        "roleRef": {"name": "reader"},
        "subjects": [{"name": "deployer"}],
    },
    "kubernetes:networking.k8s.io/v1:NetworkPolicy": {"spec": {"ingress": [{"from": [{"podSelector": {}}]}]}},
    "kubernetes:networking.k8s.io/v1:Ingress": {"spec": {"ingressClassName": "gce-internal"}},
    "kubernetes:pulumi.com/v1:Stack": {
        "spec": {"serviceAccountName": "dev", "workspaceTemplate": {"spec": {"image": IMAGE}}}
    },
    "pulumi-python:dynamic/penstock:LocalService": {"host": "127.0.0.1"},
}
NOTHING = object()


def changed(properties, path, value):
    """A copy of which the value at a dotted path, with list items by number, is another one; NOTHING takes it away."""
    copied = copy.deepcopy(properties)
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")] if path else [""]
    place = copied
    for part in way:
        place = place.setdefault(part, {}) if isinstance(place, dict) else place[part]
    if value is NOTHING:
        del place[last]
    else:
        place[last] = value
    return copied
