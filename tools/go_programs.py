"""Programs of others, built from Go modules once for this user and kept: Beam's Prism, an emulator of Cloud Storage
and what mounts its buckets, a linter of workflows, one of manifests, what holds manifests against the schemas of their
kinds, Pulumi's language host of programs in YAML, Knative's own judgement of its Services.

tools/python tools/go_programs.py prism      prints where it is
"""

import sys
from pathlib import Path

import go_build
from common import PROJECT, ToolError, say

PROGRAMS = {
    "prism": (PROJECT / "tools" / "beam", "github.com/apache/beam/sdks/v2/go/cmd/prism"),
    "actionlint": (PROJECT / "tools" / "actionlint", "github.com/rhysd/actionlint/cmd/actionlint"),
    "kube-score": (PROJECT / "tools" / "kubescore", "github.com/zegl/kube-score/cmd/kube-score"),
    "kubeconform": (PROJECT / "tools" / "kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform"),
    "pulumi-language-yaml": (
        PROJECT / "tools" / "pulumi" / "yaml",
        "github.com/pulumi/pulumi-yaml/cmd/pulumi-language-yaml",
    ),
    "knative-judge": (PROJECT / "tools" / "kubernetes" / "knative", "."),
    "fake-gcs-server": (PROJECT / "tools" / "storage", "github.com/fsouza/fake-gcs-server"),
    "gcsfuse": (PROJECT / "tools" / "storage" / "fuse", "github.com/googlecloudplatform/gcsfuse/v3"),
}


def program(name: str) -> Path:
    """The program, built first where the cache does not have it."""
    module, package = PROGRAMS[name]

    def make(folder: Path) -> None:
        say(f"building {name} from source, once for this user: up to 5 minutes")
        go_build.build(module, package, folder / name)

    sources = [module / "go.mod", module / "go.sum", *sorted(module.glob("*.go"))]
    return go_build.cached(name, sources, make) / name


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in PROGRAMS:
        sys.exit(f"error: go_programs.py takes one of {', '.join(PROGRAMS)}")
    try:
        print(program(sys.argv[1]))
    except ToolError as exc:
        sys.exit(f"error: {exc}")
