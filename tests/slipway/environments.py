"""Environments of one project in a backend written by hand, as the engine writes it: builds, promotions, rollbacks."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway.backend.promotion import Promotion

REGISTRY = "registry.example/team"
FIRST_STAMP = 1795461504858489662
BEGAN_AT = 1577836800


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


class Environments:
    """`add` records an update of a stack; its images are those of the update before it, but for those that are named.

    Each image is named by the letter that its digest is made of.
    """

    def __init__(self, folder: Path, registry: str = REGISTRY) -> None:
        self.folder, self.registry = folder, registry
        self.images: dict[str, dict[str, str | Promotion]] = {}
        self.count: dict[str, int] = {}
        (folder / ".pulumi").mkdir(parents=True)
        (folder / ".pulumi" / "meta.yaml").write_text("version: 1\n")

    def add(
        self, stack: str, *, message: str = "", ok: bool = True, kind: str = "update", commit: str = "", **more: Any
    ) -> int:
        """The number of the update. `images` by service are letters, or promotions; `dirty` and `tested` say how."""
        number = self.count[stack] = self.count.get(stack, 0) + 1
        images = self.images[stack] = {**self.images.get(stack, {}), **more.get("images", {})}
        state = {"resources": self.resources(stack, images, tested=more.get("tested", True))}
        git = {
            "git.author": "Ada",
            "git.head": commit or (str(number) * 40)[:40],
            "git.dirty": str(more.get("dirty", False)),
        }
        began = BEGAN_AT + number * 3600
        update = {
            "kind": kind,
            "message": message,
            "startTime": began,
            "endTime": began + 60,
            "result": "succeeded" if ok else "failed",
            "environment": {**git, "git.dirty": git["git.dirty"].lower()},
        }
        checkpoint = json.dumps({"version": 3, "checkpoint": {"latest": state}})
        history, stacks = (self.folder / ".pulumi" / kind / "slipway" for kind in ("history", "stacks"))
        (history / stack).mkdir(parents=True, exist_ok=True)
        stacks.mkdir(parents=True, exist_ok=True)
        name = f"{stack}-{FIRST_STAMP + number * 10**10}"
        (history / stack / f"{name}.checkpoint.json").write_text(checkpoint)
        (history / stack / f"{name}.history.json").write_text(json.dumps(update))
        (stacks / f"{stack}.json").write_text(checkpoint)
        return number

    def back(self, stack: str, to: int, **images: Any) -> int:
        """A rollback, which left these images."""
        number = self.count[stack]
        return self.add(stack, message=f"rollback of #{number} to #{to}", images=images)

    def promotion(self, letter: str, update: int, source: str = "dev", commit: str = "") -> Promotion:
        """What `slipway promote` writes of an image in an update that `add` recorded."""
        hour = update % 24
        return Promotion(
            digest=digest(letter),
            source=source,
            update=update,
            commit=commit or (str(update) * 40)[:40],
            time=f"2020-01-01T{hour:02}:00:00Z",
        )

    def resources(self, stack: str, images: Mapping[str, str | Promotion], *, tested: bool) -> list[dict[str, Any]]:
        root = f"urn:pulumi:{stack}::slipway::"
        found: list[dict[str, Any]] = []
        for service, image in images.items():
            promoted = isinstance(image, Promotion)
            reference = f"{self.registry}/{service}@{image.digest if isinstance(image, Promotion) else digest(image)}"
            component = {
                "urn": f"{root}slipway:index:ServiceImage::{service}",
                "type": "slipway:index:ServiceImage",
                "inputs": image.properties() if isinstance(image, Promotion) else {},
                "outputs": {"reference": reference},
            }
            build = f"{root}slipway:index:ServiceImage$docker-build:index:Image::{service}"
            images_ = [
                {"urn": f"{build}-test", "inputs": {"target": "test"}, "dependencies": []},
                {
                    "urn": build,
                    "inputs": {"target": "runtime", "push": True, "tags": [f"{self.registry}/{service}:1"]},
                    "dependencies": [f"{build}-test"],
                },
            ][0 if tested else 1 :]
            found += [component, *([] if promoted else [_image(each, component["urn"]) for each in images_])]
            containers = [{"name": service, "image": reference}]
            found.append(
                {
                    "urn": f"{root}slipway:index:Microservice$kubernetes:apps/v1:Deployment::{service}",
                    "type": "kubernetes:apps/v1:Deployment",
                    "custom": True,
                    "inputs": {"spec": {"template": {"spec": {"containers": containers}}}},
                }
            )
        return found


def _image(more: Mapping[str, Any], parent: object) -> dict[str, Any]:
    return {"type": "docker-build:index:Image", "custom": True, "parent": parent, **more}


class Repository:
    """A git repository in a folder; each commit changes the named file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "user.name=Ada", "-c", "user.email=a@example.com", *arguments]
        return subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, subject: str, file: str) -> str:
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {subject}\n" if path.suffix != ".yaml" else path.read_text() if path.exists() else "")
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", subject)
        return self.git("rev-parse", "HEAD")
