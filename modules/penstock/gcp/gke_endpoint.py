"""An endpoint on a cluster: a Deployment that mounts the bucket, behind an internal load balancer."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi
from typing_extensions import NotRequired, TypedDict

from penstock.gcp import compute, gateway, pins
from penstock.gcp.dashboard import collected
from penstock.gcp.workspace import placed, served
from penstock.kubernetes import keys, manifest, readiness, serving, workspace
from penstock.kubernetes.pods import Machine
from penstock.platform import Program, Service


class GkeEndpointArgs(TypedDict):
    """What is served, where it is found, and on which machines."""

    region: str
    """Region of the load balancer."""
    subnetwork: pulumi.Input[str]
    """Link of the subnetwork that its address is of; the network needs one for proxies too (`proxies_cidr`)."""
    image: str
    """The server's image, pinned by digest."""
    command: Sequence[pulumi.Input[str]]
    """Arguments of the server: the model's folder under the mount, its name, its digest."""
    service: NotRequired[str]
    """Name of the address, and of what the pods say that they are part of. Default: the component's."""
    claim: NotRequired[str]
    """The claim on the artifact store in the namespace. Default: `artifacts`."""
    node_selector: NotRequired[Mapping[str, str]]
    """Of the machines, such as a `Ladder`'s. Default: any."""
    min_replicas: NotRequired[int]
    """Replicas that are always there. Default: 1."""
    max_replicas: NotRequired[int]
    """Replicas at most. Default: 4."""
    port: NotRequired[int]
    """The server's port. Default: 8501."""
    probe: NotRequired[str]
    """Path that answers 200 when the model is loaded. Default: /readyz."""
    idle_seconds: NotRequired[float]
    """A replica goes when none of the last so many had need of it; an hour at most. Default: 300."""
    verify_key: NotRequired[str | None]
    """Path of the Ed25519 public key (PEM) whose owner must have signed a model. Default: a seal that holds will do."""
    host: NotRequired[str | None]
    """Its name, in one's own zone. Default: none: it is known by its address."""
    certificate: NotRequired[str | None]
    """A regional certificate of Compute Engine for that name. Default: none: plain HTTP, within the network."""
    kubeconfig: NotRequired[pulumi.Input[str]]
    """How `up` reaches the cluster to look at its pods, of which it then says why they are not ready. Default: the
    provider waits for them, which says less."""
    labels: NotRequired[Mapping[str, str]]
    """Labels of the address and the pods."""
    protect: NotRequired[bool]
    """Whether Pulumi refuses to replace or delete its Deployment, address and Gateway. Default: true."""
    approved: NotRequired[Collection[str]]
    """Names of its resources that a deployment may replace although they are protected. Default: none."""


PATIENCE_SECONDS = 600 + serving.START_SECONDS
"""A server may take so long: its machine may have to be made first, in minutes."""
KEPT = ("deployment", "address", "gateway")
"""Without one of them nobody is answered, or not where callers look for it."""


class GkeEndpoint(pulumi.ComponentResource):
    """On the cluster of the options' Kubernetes provider, in the namespace `penstock` with the server's account.

    Nothing outside the network reaches it. The server refuses to start with any model but the sealed one.
    """

    url: pulumi.Output[str]
    """Base URL."""

    def __init__(self, name: str, args: GkeEndpointArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:gcp:GkeEndpoint", name, None, opts)
        own, labels = args.get("service", name), args.get("labels", {})
        service = _service(args)
        machine = Machine(node_selector=args.get("node_selector", {}))
        held = keys.secret(name, own, Path(), [service.verify_key] if service.verify_key else [])
        asked = serving.ServingArgs(
            stack=own,
            image=args["image"],
            claim=args.get("claim", workspace.CLAIM),
            machine=machine,
            keys=held["metadata"]["name"] if held else "",
            timeout_seconds=PATIENCE_SECONDS,
        )
        template = pulumi.Output.all(*service.command).apply(
            lambda command: served(serving.objects(name, service, command, asked)["deployment"]["spec"], labels)
        )
        parts: dict[str, Any] = serving.objects(name, service, [], asked)
        parts["deployment"]["spec"] = template
        if "kubeconfig" in args:
            parts["deployment"]["metadata"]["annotations"] = dict(readiness.SEEN)
        if held:
            parts["keys"] = held
        made = {
            part: manifest.resource(f"{name}-{part}", placed(content), self._kept(name, part, args))
            for part, content in parts.items()
        }
        address = compute.Address(
            f"{name}-address",
            self._kept(name, "address", args),
            name=own,
            region=args["region"],
            subnetwork=args["subnetwork"],
            address_type="INTERNAL",
            purpose="SHARED_LOADBALANCER_VIP",
            labels=dict(labels),
        )
        host, certificate, selector = args.get("host"), args.get("certificate"), serving.selector(name, asked)
        way = gateway.objects(name, service.port, service.probe, address.name, host, certificate, selector)
        way["figures"] = collected(name, selector)
        # Who asks is led to pods that answer.
        behind = pulumi.ResourceOptions(depends_on=[made["service"], *self._ready(name, args, made, template)])
        for part, content in way.items():
            after = pulumi.ResourceOptions.merge(self._kept(name, part, args), behind)
            manifest.resource(f"{name}-{part}", placed(content), after)
        scheme = "https" if certificate else "http"
        self.url = pulumi.Output.concat(f"{scheme}://", host or address.address)
        self.register_outputs({"url": self.url})

    def _ready(
        self, name: str, args: GkeEndpointArgs, made: Mapping[str, Any], spec: pulumi.Output[dict[str, Any]]
    ) -> list[pulumi.Resource]:
        if "kubeconfig" not in args:
            return []
        reached = {"kubeconfig": args["kubeconfig"], "context": "", "start_seconds": serving.START_SECONDS}
        own = pulumi.ResourceOptions(parent=self)
        return [readiness.waited(name, "Deployment", made["deployment"], spec, reached, PATIENCE_SECONDS, own)]

    def _kept(self, name: str, part: str, args: GkeEndpointArgs) -> pulumi.ResourceOptions:
        asked = args.get("protect", True) and part in KEPT
        protect = pins.kept(f"{name}-{part}", asked, args.get("approved", ()))
        return pulumi.ResourceOptions(parent=self, protect=protect)


def _service(args: GkeEndpointArgs) -> Service:
    return Service(
        Program.SERVER,
        args["command"],
        port=args.get("port", 8501),
        probe=args.get("probe", "/readyz"),
        min_replicas=args.get("min_replicas", 1),
        max_replicas=args.get("max_replicas", 4),
        idle_seconds=args.get("idle_seconds", 300),
        verify_key=args.get("verify_key"),
    )
