"""Images are named by digest: what runs is what was reviewed."""

import re
from collections.abc import Iterator
from typing import Any

from penstock_policies.pods import containers, pods
from penstock_policies.resource import UNKNOWN, Resource, Rule, at, listed

DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
CLOUD_RUN = {
    "gcp:cloudrunv2/service:Service": "template.containers",
    "gcp:cloudrunv2/job:Job": "template.template.containers",
    "gcp:cloudrunv2/workerPool:WorkerPool": "template.containers",
}
WORKSPACES = {
    "kubernetes:auto.pulumi.com/v1alpha1:Workspace": "spec.image",
    "kubernetes:pulumi.com/v1:Stack": "spec.workspaceTemplate.spec.image",
}
"""Of the Pulumi Kubernetes Operator."""
NAMED = {**WORKSPACES, "gcp:dataflow/flexTemplateJob:FlexTemplateJob": "sdkContainerImage"}
"""What names one image by itself, if it does."""
OPTION = "--sdk_container_image="
"""By which Beam's options name the image of Dataflow's workers."""


def _by_digest(resource: Resource) -> Iterator[str]:
    for image in _images(resource):
        if image is not UNKNOWN and not DIGEST.search(str(image)):
            yield f"runs the image {image!r}, which may be another one tomorrow: name it by digest, NAME@sha256:..."


def _images(resource: Resource) -> Iterator[Any]:
    described = [each for _, spec in pods(resource) for each in containers(spec)]
    if resource.type in CLOUD_RUN:
        described += listed(resource.at(CLOUD_RUN[resource.type]))
    if resource.type in NAMED and resource.at(NAMED[resource.type]) is not None:
        yield resource.at(NAMED[resource.type])
    for container in described:
        yield at(container, "image")
        words = [*listed(at(container, "args")), *listed(at(container, "command"))]
        yield from (word.removeprefix(OPTION) for word in words if isinstance(word, str) and word.startswith(OPTION))


RULE = Rule("images-by-digest", "Every image is named by its digest, never by a tag.", _by_digest)
