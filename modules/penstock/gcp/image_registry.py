"""Where the images lie; a tag, once given, stays with its image."""

import re
from collections.abc import Collection, Mapping

import pulumi
import pulumi_gcp as gcp
from typing_extensions import NotRequired, TypedDict

READER = "roles/artifactregistry.reader"


class ImageRegistryArgs(TypedDict):
    """Where it lies, and who pulls."""

    location: str
    """Region."""
    repository: str
    """Its name."""
    readers: NotRequired[Mapping[str, pulumi.Input[str]]]
    """E-mails of accounts that pull, by role."""
    encryption_key: NotRequired[str | None]
    """One's own key. Default: Google's."""
    labels: NotRequired[Mapping[str, str]]
    """Labels of the repository."""


class ImageRegistry(pulumi.ComponentResource):
    """A Docker repository with fixed tags and scanning; images without a tag go after a month."""

    url: pulumi.Output[str]
    """What an image's name begins with."""

    def __init__(self, name: str, args: ImageRegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:gcp:ImageRegistry", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        repository = gcp.artifactregistry.Repository(
            f"{name}-repository",
            repository_id=args["repository"],
            location=args["location"],
            format="DOCKER",
            docker_config={"immutable_tags": True},
            vulnerability_scanning_config={"enablement_config": "INHERITED"},
            cleanup_policies=[
                {
                    "id": "untagged",
                    "action": "DELETE",
                    "condition": {"tag_state": "UNTAGGED", "older_than": "2592000s"},
                }
            ],
            kms_key_name=args.get("encryption_key"),
            labels=dict(args.get("labels", {})),
            opts=child,
        )
        for member, email in args.get("readers", {}).items():
            gcp.artifactregistry.RepositoryIamMember(
                f"{name}-{member}",
                repository=repository.name,
                location=args["location"],
                role=READER,
                member=pulumi.Output.concat("serviceAccount:", email),
                opts=child,
            )
        self.url = repository.registry_uri
        self.register_outputs({"url": self.url})


REPOSITORY = re.compile(r"^([a-z0-9-]+)-docker\.pkg\.dev/([^/]+)/([^/]+)/")
Repository = tuple[str, str, str]
"""Location, project, name."""


def repositories(images: Collection[str]) -> set[Repository]:
    """Where images lie, as far as that is Artifact Registry."""
    found = (REPOSITORY.match(image) for image in images)
    return {(each[1], each[2], each[3]) for each in found if each}


def let_read(
    name: str, where: Collection[Repository], members: Mapping[str, pulumi.Input[str]], opts: pulumi.ResourceOptions
) -> list[pulumi.Resource]:
    """Lets `members` pull from repositories of others."""
    return [
        gcp.artifactregistry.RepositoryIamMember(
            f"{name}-{project}-{repository}-{role}",
            project=project,
            location=location,
            repository=repository,
            role=READER,
            member=member,
            opts=opts,
        )
        for location, project, repository in sorted(where)
        for role, member in members.items()
    ]
