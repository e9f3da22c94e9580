"""The endpoint of a stack on a cluster: its versions as Deployments, what leads to them, and what watches them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pulumi

from penstock import platform
from penstock.errors import PenstockError
from penstock.kubernetes import (
    gateways,
    knative,
    manifest,
    preflight,
    readiness,
    serving,
    versions,
    watching,
    workspace,
)
from penstock.kubernetes.api import Api
from penstock.kubernetes.cluster_args import ClusterArgs
from penstock.kubernetes.pods import Machine


@dataclass(frozen=True)
class Endpoints:
    """Makes endpoints of a stack."""

    args: ClusterArgs
    servers: serving.ServingArgs
    """What all servers of an endpoint take."""
    api: Api
    place: manifest.Place
    first: Sequence[pulumi.Resource] = ()
    """What is to be there before its pods."""

    def endpoint(self, name: str, service: platform.Service, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """One endpoint; its URL."""
        if self.args.scale_on is serving.ScaleOn.KNATIVE:
            url = self._by_knative(name, service, opts)
        elif self.args.gateway:
            url = self._routed(name, service, opts)
        else:
            self._serve(name, service, self._plan(name, service, opts), opts)
            url = self.place.namespace.apply(lambda space: f"http://{name}.{space}.svc.cluster.local:{service.port}")
        if self.args.skew_schedule:
            self._watch(name, service, opts)
        return url

    def _serve(
        self, name: str, service: platform.Service, plan: pulumi.Input[str], opts: pulumi.ResourceOptions
    ) -> list[pulumi.Resource]:
        """A Deployment, who may reach it, what scales it, and its Service."""
        parts = serving.objects(name, service, [], self.servers)
        if parts.get("scaling", {}).get("kind") == "HorizontalPodAutoscaler":
            preflight.check_scaling(self.api, self.args.scale_on)
        template = pulumi.Output.all(command=list(service.command), plan=plan).apply(
            lambda at: serving.objects(name, service, at["command"], replace(self.servers, plan=at["plan"]))[
                "deployment"
            ]["spec"]
        )
        parts["deployment"]["spec"] = template
        parts["deployment"]["metadata"]["annotations"] = dict(readiness.SEEN)
        policy = self.place.make(f"{name}-policy", parts.pop("policy"), opts)
        before = pulumi.ResourceOptions(depends_on=[policy, *self.first])
        deployment = self.place.make(name, parts.pop("deployment"), opts, before)
        seconds = self.servers.timeout_seconds
        ready = readiness.ready(name, "Deployment", deployment, template, self.args, seconds, opts)
        # Who asks is led to pods that answer.
        after = pulumi.ResourceOptions(depends_on=[ready])
        behind = [self.place.make(f"{name}-{part}", content, opts, after) for part, content in parts.items()]
        return [ready, *behind]

    def _by_knative(self, name: str, service: platform.Service, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """A Knative Service, and who may reach its pods; its URL."""
        if self.args.gateway:
            raise PenstockError(
                "scale_on is 'knative', which has a way in of its own; leave `gateway` out, or set scale_on to another"
            )
        parts = knative.objects(name, service, [], self.servers)
        preflight.check_features(self.api, knative.features(parts["knative"]["spec"]["template"]["spec"]))
        plan = self._plan(name, service, opts)
        spec = pulumi.Output.all(command=list(service.command), plan=plan).apply(
            lambda at: knative.objects(name, service, at["command"], replace(self.servers, plan=at["plan"]))["knative"][
                "spec"
            ]
        )
        policy = self.place.make(f"{name}-policy", parts["policy"], opts)
        before = pulumi.ResourceOptions(depends_on=[policy, *self.first])
        made = self.place.make(f"{name}-knative", {**parts["knative"], "spec": spec}, opts, before)
        readiness.ready(name, readiness.KNATIVE, made, spec, self.args, self.servers.timeout_seconds, opts)
        if budget := parts.get("budget"):
            self.place.make(f"{name}-budget", budget, opts)
        return self.place.namespace.apply(lambda space: f"http://{knative.named(name)}.{space}.svc.cluster.local")

    def _routed(self, name: str, service: platform.Service, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """Each version with a weight, and the HTTPRoute that shares requests out among them; the Gateway's URL."""
        own = workspace.namespace(workspace.WorkspaceArgs(self.servers.stack, self.args.namespace))["metadata"][
            "labels"
        ]
        gateway, host = self.args.gateway, self.args.gateway_host
        url = gateways.url(self.api, gateway, host, self.args.namespace, own)
        shares = gateways.shares(service.traffic)
        # Other weights change nothing but the route: neither what is known of versions nor their pods.
        known = self._known(name, replace(service, traffic=None), opts)
        behind: list[pulumi.Resource] = []
        for version in shares:
            answering = service
            if known and version != gateways.LATEST:
                model = known.known.apply(lambda every, version=version: versions.served(shares, every)[version])
                command = platform.answering({"path": model["path"], "digest": model["digest"]}, service.model_name)
                answering = replace(service, command=[*command, *service.monitoring])
            behind += self._serve(gateways.workload(name, version), answering, "", opts)
        weights = {gateways.workload(name, version): weight for version, weight in shares.items()}
        content = gateways.route(name, self.servers.stack, gateway, host, service.port, weights)
        # A version gets requests when its pods answer, and loses them before they go.
        route = self.place.make(f"{name}-route", content, opts, pulumi.ResourceOptions(depends_on=behind))
        return manifest.metadata_of(route, "name").apply(lambda _: url)

    def _plan(self, name: str, service: platform.Service, opts: pulumi.ResourceOptions) -> pulumi.Input[str]:
        """The name of the ConfigMap by which its servers split the traffic; empty where all goes to one model."""
        known = self._known(name, service, opts)
        if known is None or not service.traffic:
            return ""
        made = self.place.make(f"{name}-plan", versions.mounted(name, self.servers.stack, known.plan), opts)
        return manifest.metadata_of(made, "name")

    def _known(self, name: str, service: platform.Service, opts: pulumi.ResourceOptions) -> versions.Versions | None:
        """The models that have come, remembered in any case: the weights of a later `up` may speak of them."""
        if service.model is None:
            return None
        asked = {**service.model, "model_name": service.model_name, "traffic": service.traffic}
        return versions.Versions(f"{name}-versions", asked, opts)

    def _watch(self, name: str, service: platform.Service, opts: pulumi.ResourceOptions) -> None:
        """The monitor of an endpoint, with the webhook that its service names."""
        if service.model is None:
            return
        if self.args.access_mode == "ReadWriteOnce":
            pulumi.log.warn(
                "the claim is ReadWriteOnce: the monitor and all replicas write to it, so they must be on one node"
            )
        args = watching.WatchArgs(
            stack=self.servers.stack,
            image=self.args.serving_image,
            claim=self.args.claim,
            schedule=self.args.skew_schedule,
            model_name=service.model_name,
            secret=bool(service.environment),
            machine=Machine(node_selector=self.args.machines.get("server", Machine()).node_selector),
        )
        first: list[pulumi.Resource] = []
        if service.environment:
            preflight.check_secrets(self.api, self.args.namespace)
            told = {key: pulumi.Output.secret(value) for key, value in service.environment.items()}
            kept = {**watching.secret(name, self.servers.stack), "stringData": told}
            ports = [pulumi.Output.unsecret(url.apply(watching.port)) for url in told.values()]
            first = [
                self.place.make(f"{name}-skew-webhook", kept, opts),
                self.place.make(f"{name}-skew-policy", watching.edge(name, self.servers.stack, ports[0]), opts),
            ]
        content = watching.monitor(name, "", service.monitoring, args)
        content["spec"] = pulumi.Output.from_input(service.model["path"]).apply(
            lambda model: watching.monitor(name, model, service.monitoring, args)["spec"]
        )
        self.place.make(f"{name}-skew", content, opts, pulumi.ResourceOptions(depends_on=first))
