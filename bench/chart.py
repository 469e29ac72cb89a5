"""A Helm chart of the very objects that a stack has."""

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
    """The Kubernetes objects that the recorded state has, all but the Namespace, as they would be in `namespace`."""
    found = []
    for recorded in objects(state).values():
        kind = recorded.inputs.get("kind")
        if recorded.type.startswith("kubernetes:") and kind and kind != NAMESPACE:
            manifest = {key: value for key, value in recorded.inputs.items() if not key.startswith("__")}
            found.append({**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}})
    return found


def template(manifests: Iterable[Mapping[str, Any]]) -> str:
    """One file of a chart that renders to just these objects."""
    documents = (json.dumps(manifest, sort_keys=True) for manifest in manifests)
    # What a template would take for its own: text with braces is put in by a template's string.
    return "".join(f"---\n{document}\n" for document in documents).replace("{{", '{{ "{{" }}')


def write(folder: Path, manifests: Iterable[Mapping[str, Any]]) -> None:
    """The whole chart, over what `folder` has."""
    (folder / "templates").mkdir(parents=True, exist_ok=True)
    (folder / "Chart.yaml").write_text(json.dumps(CHART))
    (folder / "templates" / "objects.yaml").write_text(template(manifests))
