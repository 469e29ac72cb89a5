"""Makes a long history without a thousand updates: copies a recorded one, as Pulumi's backend and Helm store it."""

from __future__ import annotations

import base64
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import chart

UPDATES = 1000
SECOND = 1_000_000_000
# The API server limits the size of a request.
SECRETS_A_REQUEST = 50


def copy_updates(folder: Path, stack: str, count: int) -> None:
    """Fill the history `folder` of a file backend up to `count` updates: older copies of its first, a second apart."""
    updates = sorted(folder.glob(f"{stack}-*.history.json"))
    stamp = int(updates[0].name.removeprefix(f"{stack}-").removesuffix(".history.json"))
    update = json.loads(updates[0].read_text())
    for number in range(1, count - len(updates) + 1):
        earlier = {name: update[name] - number for name in ("startTime", "endTime")}
        copy = folder / f"{stack}-{stamp - number * SECOND}"
        Path(f"{copy}.history.json").write_text(json.dumps({**update, **earlier}))
        os.link(folder / f"{stack}-{stamp}.checkpoint.json", f"{copy}.checkpoint.json")


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
    selector = ("--selector", f"owner=helm,name={chart.NAME}")
    listed = json.loads(kubectl("get", "secrets", "--namespace", namespace, *selector, "--output", "json"))["items"]
    last = max(listed, key=lambda secret: int(secret["metadata"]["labels"]["version"]))
    first = int(last["metadata"]["labels"]["version"]) + 1
    made = copies(last, range(first, first + count - len(listed)))
    for start in range(0, len(made), SECRETS_A_REQUEST):
        some = {"apiVersion": "v1", "kind": "List", "items": made[start : start + SECRETS_A_REQUEST]}
        kubectl("create", "--namespace", namespace, "--filename", "-", text=json.dumps(some))
