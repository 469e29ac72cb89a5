"""Helm, the benchmark's peer: its executable, a chart of the objects that a stack has, and its stored releases."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lab.toolchain import install_part
from lab.toolchain.parts import GoBuild, Part, Release, VersionQuestion
from slipway.progress import Progress
from slipway.state.checkpoint import Snapshot, objects

_URL = "https://get.helm.sh/helm-v{version}-linux-{arch}.tar.gz"
HELM_PART = Part(
    name="helm",
    title="Helm",
    version="4.3.1",
    executables=("helm",),
    question=VersionQuestion(("version", "--template", "{{.Version}}"), "v{version}"),
    release=Release({_URL: f"{_URL}.sha256sum"}),
    build=GoBuild(
        "helm",
        {"helm": "helm.sh/helm/v4/cmd/helm"},
        {"helm.sh/helm/v4/internal/version.version": "v4.3.1"},
    ),
)
# Of the chart and of its release.
NAME = "bench"
CHART = {"apiVersion": "v2", "name": NAME, "version": "1.0.0"}
NAMESPACE = "Namespace"
# The API server limits the size of a request.
SECRETS_A_REQUEST = 50


def install_helm(progress: Progress) -> Path:
    """The executable of the pinned Helm. Raises `SlipwayError`."""
    return install_part(HELM_PART, progress) / HELM_PART.executables[0]


def objects_of(state: Snapshot, namespace: str) -> list[dict[str, Any]]:
    """The Kubernetes objects of the recorded state, except the Namespace, moved to `namespace`."""
    found = []
    for recorded in objects(state).values():
        kind = recorded.inputs.get("kind")
        if recorded.type.startswith("kubernetes:") and kind and kind != NAMESPACE:
            manifest = {key: value for key, value in recorded.inputs.items() if not key.startswith("__")}
            found.append({**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}})
    return found


def chart_template(manifests: Iterable[Mapping[str, Any]]) -> str:
    """One chart template that renders to exactly these objects."""
    documents = (json.dumps(manifest, sort_keys=True) for manifest in manifests)
    # Helm would parse `{{` in the objects as template code: a template string prints it.
    return "".join(f"---\n{document}\n" for document in documents).replace("{{", '{{ "{{" }}')


def write_chart(folder: Path, manifests: Iterable[Mapping[str, Any]]) -> None:
    """Write the chart into `folder`, over an older one."""
    (folder / "templates").mkdir(parents=True, exist_ok=True)
    (folder / "Chart.yaml").write_text(json.dumps(CHART))
    (folder / "templates" / "objects.yaml").write_text(chart_template(manifests))


def decode(release: str) -> dict[str, Any]:
    """Decode a release from Helm's Secret, whose data kubectl shows encoded once more.

    https://github.com/helm/helm/blob/v4.3.1/pkg/storage/driver/util.go
    """
    return dict(json.loads(gzip.decompress(base64.b64decode(base64.b64decode(release)))))


def encode(release: dict[str, Any]) -> str:
    """The inverse of `decode`."""
    return base64.b64encode(base64.b64encode(gzip.compress(json.dumps(release).encode()))).decode()


def copies(secret: dict[str, Any], versions: range) -> list[dict[str, Any]]:
    """Copies of a release's Secret for other `versions`, each superseded by the next."""
    release, labels = decode(secret["data"]["release"]), secret["metadata"]["labels"]
    made = []
    for version in versions:
        old = {**release, "version": version, "info": {**release["info"], "status": "superseded"}}
        metadata = {
            "name": f"sh.helm.release.v1.{release['name']}.v{version}",
            "labels": {**labels, "version": str(version), "status": "superseded"},
        }
        made.append(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": secret["type"],
                "metadata": metadata,
                "data": {"release": encode(old)},
            }
        )
    return made


def copy_release(kubectl: Callable[..., str], namespace: str, count: int) -> None:
    """Fill the release in `namespace` up to `count` revisions: copies of its last, numbered after it."""
    selector = ("--selector", f"owner=helm,name={NAME}")
    listed = json.loads(kubectl("get", "secrets", "--namespace", namespace, *selector, "--output", "json"))["items"]
    last = max(listed, key=lambda secret: int(secret["metadata"]["labels"]["version"]))
    first = int(last["metadata"]["labels"]["version"]) + 1
    made = copies(last, range(first, first + count - len(listed)))
    for start in range(0, len(made), SECRETS_A_REQUEST):
        some = {"apiVersion": "v1", "kind": "List", "items": made[start : start + SECRETS_A_REQUEST]}
        kubectl("create", "--namespace", namespace, "--filename", "-", text=json.dumps(some))
