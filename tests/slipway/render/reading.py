"""Reads recorded previews, and shows them as the commands do."""

from __future__ import annotations

import io
import json
import lzma
from functools import cache
from pathlib import Path
from typing import Any

from kubernetes.client import ApiClient
from rich.console import Console

from slipway.cluster.client import Cluster
from slipway.cluster.deployed import ApiResource, Key, LiveObjects, kind_of
from slipway.cluster.drift import Drift, drift
from slipway.deploy.preview_events import PreviewEvents
from slipway.deploy.summary import Commits, PreviewSummary
from slipway.engine.stages import KUBERNETES_PREFIX
from slipway.render.markdown import Links
from slipway.render.terminal import show
from slipway.state.checkpoint import objects

RECORDINGS = Path(__file__).parent
COMMITS = Commits(previewed="5678ef0123456789", deployed="1234abcd12345678")
LINKS = Links(run="https://ci.example/run/1", compare="https://ci.example/compare/1234abcd...5678ef01")


@cache
def lines(name: str) -> tuple[tuple[float, str], ...]:
    """The lines of a recording and when they came."""
    text = lzma.decompress((RECORDINGS / f"{name}.jsonl.xz").read_bytes()).decode()
    parts = (line.partition(" ") for line in text.splitlines())
    return tuple((float(at_seconds), line) for at_seconds, _, line in parts)


def events(name: str, until: int | None = None) -> PreviewEvents:
    """The events of a recording; `until` cuts it off after so many lines."""
    read = PreviewEvents()
    for at_seconds, line in lines(name)[:until]:
        read.take(line, at_seconds)
    return read


@cache
def summarize(name: str, until: int | None = None) -> PreviewSummary:
    found = recorded_drift() if name == "drift" else None
    more = {"drift": found.changes, "changed_by": found.changed_by} if found else {}
    return events(name, until).summary("slipway", "dev", duration_seconds=9.8, commits=COMMITS, **more)


@cache
def recorded_drift() -> Drift:
    """What `slipway drift` makes of the recorded state and of the objects that the cluster had."""
    read = json.loads(lzma.decompress((RECORDINGS / "drift.json.xz").read_bytes()))
    recorded = [each for each in objects(read["state"]).values() if each.type.startswith(KUBERNETES_PREFIX)]
    live = LiveObjects(Cluster(ApiClient()), frozenset(), frozenset(), frozenset())
    kinds = {kind: {"namespaced": kind.name != "Namespace"} for kind in map(kind_of, recorded)}
    found = {_key(item): item for item in read["live"]}
    vars(live).update(_served=kinds, objects=found)  # as if both had been read from the cluster
    return drift(recorded, live, "dev", "slipway")


def _key(item: dict[str, Any]) -> Key:
    about = item["metadata"]
    return Key(ApiResource(item["apiVersion"], item["kind"]), about.get("namespace", ""), about["name"])


def plain(summary: PreviewSummary) -> str:
    """What is printed where there is no terminal."""
    file = io.StringIO()
    show(summary, Console(file=file, width=100, highlight=False))
    return file.getvalue()
