"""A notebook machine: private, reached by Google's sign-in, asleep when idle."""

from collections.abc import Mapping

import pulumi
import pulumi_gcp as gcp
from typing_extensions import NotRequired, TypedDict

from penstock.gcp import pins
from penstock.gcp.environment import NOTEBOOK_MACHINE


class NotebookArgs(TypedDict):
    """Where it stands."""

    zone: str
    """Zone."""
    network: pulumi.Input[str]
    """Link of the network."""
    subnetwork: pulumi.Input[str]
    """Link of the subnetwork."""
    service_account_email: pulumi.Input[str]
    """The account it runs as."""
    machine_type: NotRequired[str]
    """Machine. Default: e2-standard-4."""
    idle_minutes: NotRequired[int]
    """Minutes without work after which it is stopped. Default: 60."""
    encryption_key: NotRequired[str | None]
    """One's own key for its disks. Default: Google's."""
    labels: NotRequired[Mapping[str, str]]
    """Labels of the machine."""


class Notebook(pulumi.ComponentResource):
    """A Workbench instance without a public address."""

    url: pulumi.Output[str]
    """Where JupyterLab answers, behind Google's sign-in."""

    def __init__(self, name: str, args: NotebookArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:gcp:Notebook", name, None, opts)
        instance = gcp.workbench.Instance(
            f"{name}-instance",
            name=name,
            location=args["zone"],
            labels=dict(args.get("labels", {})),
            gce_setup=_machine(args),
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=pins.NOTEBOOK_DRIFT),
        )
        self.url = pulumi.Output.concat("https://", instance.proxy_uri)
        self.register_outputs({"url": self.url})


def _machine(args: NotebookArgs) -> "gcp.workbench.InstanceGceSetupArgsDict":
    machine: gcp.workbench.InstanceGceSetupArgsDict = {
        "machine_type": args.get("machine_type", NOTEBOOK_MACHINE),
        "disable_public_ip": True,
        "enable_ip_forwarding": False,
        "network_interfaces": [{"network": args["network"], "subnet": args["subnetwork"]}],
        "service_accounts": [{"email": args["service_account_email"]}],
        "shielded_instance_config": {
            "enable_secure_boot": True,
            "enable_vtpm": True,
            "enable_integrity_monitoring": True,
        },
        "metadata": {
            "idle-timeout-seconds": str(args.get("idle_minutes", 60) * 60),
            "notebook-disable-root": "true",
            "serial-port-enable": "false",
        },
    }
    if key := args.get("encryption_key"):
        machine["boot_disk"] = {"disk_encryption": "CMEK", "kms_key": key}
        machine["data_disks"] = {"disk_encryption": "CMEK", "kms_key": key}
    return machine
