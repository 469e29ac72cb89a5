"""The table of pinned parts: how the version of each is asked, where it is published, how it is built."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from pathlib import Path

MODULES = Path(__file__).resolve().parent / "modules"


def architecture() -> str:
    """This machine's architecture in Go's words (`amd64`, `arm64`)."""
    name = platform.machine().lower()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(name, name)


@dataclass(frozen=True)
class VersionQuestion:
    """How an executable tells its version: its arguments, and what its answer looks like (`{version}` is replaced)."""

    arguments: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class Release:
    """What the publisher offers for download: `archives` maps each URL to that of the checksums which cover it.

    `{version}`, `{arch}`, `{x64}` (Pulumi's word for amd64) and `{uname}` (the kernel's) are replaced. A URL that ends
    in `.tar.gz` or `.tgz` is unpacked (file names only, folders dropped), any other is the executable itself.
    """

    archives: dict[str, str]

    def addresses(self, version: str) -> list[tuple[str, str]]:
        words = {
            "version": version,
            "arch": architecture(),
            "x64": {"amd64": "x64"}.get(architecture(), architecture()),
        }
        words["uname"] = {"amd64": "x86_64"}.get(architecture(), architecture())
        return [(url.format(**words), sums.format(**words)) for url, sums in self.archives.items()]


@dataclass(frozen=True)
class GoBuild:
    """A module below `modules/`, the packages it builds by executable name, and the linker's `-X` settings.

    `instead` has files of ours, by module and file, that are compiled instead of what a required module has there,
    `edits` what is replaced in such a file by what, and `tags` are Go's build tags.
    """

    module: str
    packages: dict[str, str]
    settings: dict[str, str] = field(default_factory=dict)
    instead: dict[tuple[str, str], str] = field(default_factory=dict)
    edits: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return MODULES / self.module

    @property
    def tags_flag(self) -> str:
        return f"-tags={','.join(self.tags)}"


@dataclass(frozen=True)
class Part:
    """One pinned part. `executables` must all be there, whichever way it is had; `question` is put to each of them.

    A part without a `question` is a Pulumi plugin, whose version is asked over gRPC. `multicall` names the one
    executable that takes the component's name as its first argument. With `any_version`, whatever the user has on PATH
    will do; what is downloaded or built is of the pinned version all the same.
    """

    name: str
    title: str
    version: str
    executables: tuple[str, ...]
    release: Release
    build: GoBuild | None = None
    question: VersionQuestion | None = None
    companion: str = ""
    multicall: str = ""
    fallback_module: str = ""
    any_version: bool = False

    @property
    def folder_name(self) -> str:
        return f"{self.name}-{self.version}"


LANGUAGE_HOST = "pulumi-language-python"
_PASSWORDS = "github.com/ccojocar/zxcvbn-go"

PULUMI = Part(
    name="pulumi",
    title="Pulumi engine",
    version="3.259.0",
    executables=("pulumi",),
    companion=LANGUAGE_HOST,
    question=VersionQuestion(("version",), "v{version}"),
    release=Release(
        {
            "https://get.pulumi.com/releases/sdk/pulumi-v{version}-linux-{x64}.tar.gz": (
                "https://get.pulumi.com/releases/sdk/pulumi-{version}-checksums.txt"
            )
        }
    ),
    build=GoBuild(
        "pulumi",
        {"pulumi": "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"},
        {"github.com/pulumi/pulumi/sdk/v3/go/common/version.Version": "v3.259.0"},
        # The dictionaries of passwords, which only `pulumi config set` looks into, took half of the time of each start.
        edits={
            (_PASSWORDS, "frequency/frequency.go"): {"func init() {": "func Load() {"},
            (_PASSWORDS, "matching/matching.go"): {
                "func init() {\n\tloadFrequencyList()\n}\n": "",
                "func loadFrequencyList() {\n": "func loadFrequencyList() {\n\tfrequency.Load()\n",
            },
        },
        tags=("disable_grpc_modules",),  # of Google Cloud Storage, which is read over HTTP
    ),
)

_KUBE_URL = "https://dl.k8s.io/release/v{version}/bin/linux/{arch}/"
_KUBE_VERSION = "1.34.4"
_KUBE_SETTINGS = {
    "k8s.io/component-base/version.gitVersion": f"v{_KUBE_VERSION}",
    "k8s.io/component-base/version.gitMajor": "1",
    "k8s.io/component-base/version.gitMinor": "34",
}
# Of Kubernetes, kubectl, CoreDNS and the kubernetes provider: Go compiles what they share once, only where all of it is
# of one version.
_ONE_MODULE = "kubernetes"
_KUBE_COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")

KUBERNETES = Part(
    name="kubernetes",
    title="Kubernetes",
    version=_KUBE_VERSION,
    executables=_KUBE_COMPONENTS,
    multicall="kube",
    question=VersionQuestion(("--version",), "Kubernetes v{version}"),
    release=Release({f"{_KUBE_URL}{name}": f"{_KUBE_URL}{name}.sha256" for name in _KUBE_COMPONENTS}),
    build=GoBuild(
        _ONE_MODULE,
        {"kube": "./kube"},
        _KUBE_SETTINGS,
        {("k8s.io/client-go", "kubernetes/fake/clientset_generated.go"): "instead/fake_clientset.go"},
    ),
)

# For people: the lab itself does without.
KUBECTL = Part(
    name="kubectl",
    title="kubectl",
    version=_KUBE_VERSION,
    executables=("kubectl",),
    question=VersionQuestion(("version", "--client"), "Client Version: v{version}"),
    release=Release({f"{_KUBE_URL}kubectl": f"{_KUBE_URL}kubectl.sha256"}),
    build=GoBuild(_ONE_MODULE, {"kubectl": "k8s.io/kubernetes/cmd/kubectl"}, _KUBE_SETTINGS),
    any_version=True,
)

_CRANE_URL = "https://github.com/google/go-containerregistry/releases/download/v{version}"

# Copies promoted images to another registry: an index with all its platforms, byte for byte, with the credentials and
# helpers that Docker's configuration names.
CRANE = Part(
    name="crane",
    title="crane",
    version="0.22.0",
    executables=("crane",),
    question=VersionQuestion(("version",), "{version}"),
    release=Release({f"{_CRANE_URL}/go-containerregistry_Linux_{{uname}}.tar.gz": f"{_CRANE_URL}/checksums.txt"}),
    build=GoBuild(
        "crane",
        {"crane": "github.com/google/go-containerregistry/cmd/crane"},
        {"github.com/google/go-containerregistry/cmd/crane/cmd.Version": "0.22.0"},
    ),
    any_version=True,
)

_BUILDKIT_URL = "https://github.com/moby/buildkit/releases/download/v{version}/buildkit-v{version}.linux-{arch}"

BUILDKIT = Part(
    name="buildkit",
    title="BuildKit",
    version="0.34.2",
    executables=("buildkitd", "buildctl"),
    question=VersionQuestion(("--version",), "v{version}"),
    # BuildKit's releases carry no checksum file, but a provenance statement that names the archive's digest.
    release=Release({f"{_BUILDKIT_URL}.tar.gz": f"{_BUILDKIT_URL}.provenance.json"}),
    build=GoBuild(
        "buildkit",
        {
            "buildkitd": "github.com/moby/buildkit/cmd/buildkitd",
            "buildctl": "github.com/moby/buildkit/cmd/buildctl",
        },
        {"github.com/moby/buildkit/version.Version": "v0.34.2"},
        {
            ("github.com/moby/buildkit", "cache/remotecache/s3/s3.go"): "instead/s3.go",
            ("github.com/moby/policy-helpers", "verifier.go"): "instead/verifier.go",
            ("github.com/moby/policy-helpers", "hashedrecordbundle.go"): "instead/hashedrecordbundle.go",
        },
    ),
)

_COREDNS_URL = "https://github.com/coredns/coredns/releases/download/v{version}/coredns_{version}_linux_{arch}.tgz"

# The last with the k8s.io libraries of Kubernetes 1.34.
COREDNS = Part(
    name="coredns",
    title="CoreDNS",
    version="1.14.1",
    executables=("coredns",),
    question=VersionQuestion(("-version",), "CoreDNS-{version}"),
    release=Release({_COREDNS_URL: f"{_COREDNS_URL}.sha256"}),
    build=GoBuild(_ONE_MODULE, {"coredns": "./coredns"}),
)


def _provider_release(name: str) -> Release:
    """Pulumi's providers: archive and goreleaser's checksum file side by side in the GitHub release."""
    base = f"https://github.com/pulumi/pulumi-{name}/releases/download/v{{version}}"
    archive = f"{base}/pulumi-resource-{name}-v{{version}}-linux-{{arch}}.tar.gz"
    return Release({archive: f"{base}/pulumi-{name}_{{version}}_checksums.txt"})


# What it and the Pulumi engine both require is of the engine's version, but for Pulumi's own modules, which do not fit:
# Go compiles it once.
DOCKER_BUILD = Part(
    name="docker-build",
    title="docker-build provider",
    version="0.0.22",
    executables=("pulumi-resource-docker-build",),
    release=_provider_release("docker-build"),
    build=GoBuild(
        "docker-build",
        {
            "pulumi-resource-docker-build": (
                "github.com/pulumi/pulumi-docker-build/provider/cmd/pulumi-resource-docker-build"
            )
        },
        {"github.com/pulumi/pulumi-docker-build/provider.Version": "0.0.22"},
    ),
)

# Pulumi tags no version of the provider's Go module: the pinned commit is the one before 4.25.0, but for dependencies.
KUBERNETES_PROVIDER = Part(
    name="kubernetes-provider",
    title="kubernetes provider",
    version="4.25.0",
    executables=("pulumi-resource-kubernetes",),
    release=_provider_release("kubernetes"),
    build=GoBuild(
        _ONE_MODULE,
        {"pulumi-resource-kubernetes": "./provider"},
        {"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version.Version": "4.25.0"},
        {("github.com/pulumi/pulumi-kubernetes/sdk/v4", "go/kubernetes/yaml/v2/kinds.go"): "instead/kinds.go"},
    ),
)

DOCKER_PROVIDER = Part(
    name="docker-provider",
    title="docker provider",
    version="5.2.0",
    executables=("pulumi-resource-docker",),
    release=_provider_release("docker"),
    fallback_module="lab.plugins.docker",
)

# What a user with a cluster and a registry of their own can do without. First, since the lab starts with them.
LAB_PARTS = (KUBERNETES, COREDNS, BUILDKIT)
PROGRAMS = (*LAB_PARTS, KUBECTL, PULUMI, CRANE)
PROVIDERS = (KUBERNETES_PROVIDER, DOCKER_BUILD, DOCKER_PROVIDER)
