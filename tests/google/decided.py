"""Which resources on Google Cloud cost nothing by themselves: of each new type somebody has to decide."""

from collections.abc import Iterable

from penstock.pricing import Row

FREE = {
    "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember",
    "gcp:billing/budget:Budget",
    "gcp:cloudrunv2/serviceIamMember:ServiceIamMember",
    "gcp:compute/address:Address",
    "gcp:compute/firewall:Firewall",
    "gcp:compute/globalAddress:GlobalAddress",
    "gcp:compute/network:Network",
    "gcp:compute/resourcePolicy:ResourcePolicy",
    "gcp:compute/router:Router",
    "gcp:compute/subnetwork:Subnetwork",
    "gcp:iam/workloadIdentityPool:WorkloadIdentityPool",
    "gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider",
    "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember",
    "gcp:monitoring/dashboard:Dashboard",
    "gcp:monitoring/notificationChannel:NotificationChannel",
    "gcp:projects/iAMCustomRole:IAMCustomRole",
    "gcp:projects/iAMMember:IAMMember",
    "gcp:projects/serviceIdentity:ServiceIdentity",
    "gcp:secretmanager/secretIamMember:SecretIamMember",
    "gcp:serviceaccount/account:Account",
    "gcp:serviceaccount/iAMMember:IAMMember",
    "gcp:servicenetworking/connection:Connection",
    "gcp:sql/database:Database",
    "gcp:sql/user:User",
    "gcp:storage/bucketIAMMember:BucketIAMMember",
    "gcp:storage/bucketObject:BucketObject",
    "kubernetes:apps/v1:Deployment",
    "kubernetes:autoscaling/v2:HorizontalPodAutoscaler",
    "kubernetes:cloud.google.com/v1:ComputeClass",
    "kubernetes:core/v1:ConfigMap",
    "kubernetes:core/v1:Namespace",
    "kubernetes:core/v1:PersistentVolume",
    "kubernetes:core/v1:PersistentVolumeClaim",
    "kubernetes:core/v1:ResourceQuota",
    "kubernetes:core/v1:Secret",
    "kubernetes:core/v1:Service",
    "kubernetes:core/v1:ServiceAccount",
    "kubernetes:gateway.networking.k8s.io/v1:HTTPRoute",
    "kubernetes:helm.sh/v3:Release",
    "kubernetes:jobset.x-k8s.io/v1alpha2:JobSet",
    "kubernetes:networking.gke.io/v1:HealthCheckPolicy",
    "kubernetes:networking.k8s.io/v1:NetworkPolicy",
    "kubernetes:policy/v1:PodDisruptionBudget",
    "kubernetes:rbac.authorization.k8s.io/v1:Role",
    "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding",
}
"""Types of resources that cost nothing by themselves: who may do what, private addresses, and what runs on machines
that are paid. All others are told by a row.
"""


def undecided(types: Iterable[str], rows: Iterable[Row]) -> set[str]:
    """Types of resources of which neither a row of an estimate tells nor it is said that they are free."""
    paid = {token for row in rows for token in row.of}
    return {token for token in types if token.startswith(("gcp:", "kubernetes:"))} - paid - FREE
