"""The pods of an endpoint on a cluster, by the label of its workload, whatever it is that makes them."""

from penstock.command.state import WORKLOAD
from penstock.kubernetes.api import Api, Object
from penstock.kubernetes.verdict import stays


def of_workload(api: Api, namespace: str, workload: str) -> list[Object]:
    """Those that are not being deleted."""
    found = api.items(f"/api/v1/namespaces/{namespace}/pods", {"labelSelector": f"{WORKLOAD}={workload}"})
    return [pod for pod in found if stays(pod)]
