"""A Helm chart of the same objects that a stack has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from slipway.state.checkpoint import Snapshot, objects

NAME = "bench"
CHART = {"apiVersion": "v2", "name": NAME, "version": "1.0.0"}
NAMESPACE = "Namespace"


def objects_of(state: Snapshot, namespace: str) -> list[dict[str, Any]]:
    """The Kubernetes objects of the recorded state, except the Namespace, moved to `namespace`."""
    found = []
    for recorded in objects(state).values():
        kind = recorded.inputs.get("kind")
        if recorded.type.startswith("kubernetes:") and kind and kind != NAMESPACE:
            manifest = {key: value for key, value in recorded.inputs.items() if not key.startswith("__")}
            found.append({**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}})
    return found


def template(manifests: Iterable[Mapping[str, Any]]) -> str:
    """One chart template that renders to exactly these objects."""
    documents = (json.dumps(manifest, sort_keys=True) for manifest in manifests)
    # Helm would parse `{{` in the objects as template code: a template string prints it.
    return "".join(f"---\n{document}\n" for document in documents).replace("{{", '{{ "{{" }}')


def write(folder: Path, manifests: Iterable[Mapping[str, Any]]) -> None:
    """Write the chart into `folder`, over an older one."""
    (folder / "templates").mkdir(parents=True, exist_ok=True)
    (folder / "Chart.yaml").write_text(json.dumps(CHART))
    (folder / "templates" / "objects.yaml").write_text(template(manifests))
