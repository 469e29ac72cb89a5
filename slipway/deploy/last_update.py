"""The inputs with which the last update passed the policies. The same inputs need no second preview; if only one
service has changed since, the update need not declare the others.

A preview is a second run of the program. In an unchanged environment it would double the time of `slipway up --yes` and
repeat the result of the last update. It is skipped only if everything that it depends on is the same. The update has
the policy pack in any case.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from slipway.deploy import approval
from slipway.deploy.approval import Approval
from slipway.deploy.service_sources import shared_parts
from slipway.errors import SlipwayError
from slipway.paths import STACK_PLACEHOLDER
from slipway.stack import Stack

# Variables of a shell that do not affect a program.
NOISE = {"_", "PWD", "OLDPWD", "SHLVL", "COLUMNS", "LINES"}
FILE_SUFFIX = "_FILE"


class LastUpdate(BaseModel):
    """An update that passed, as hashes of everything that its preview depended on, and of the state that it left."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    state: str
    files: Mapping[str, str]
    """By path in the project's folder."""
    settings: Mapping[str, str]
    """By key."""
    surroundings: str
    """Of variables, the files that they name, plugins and the day."""
    shared: Mapping[str, str]
    """Of the part of each service.yaml that affects other services, by its path."""

    def changed_files(self, now: Approval) -> set[str]:
        return _changed(self.files, now.files)

    def changed_settings(self, now: Approval) -> set[str]:
        return _changed(self.settings, now.settings)

    def is_same(self, now: Approval) -> bool:
        """Whether files and settings approved now are the same as what passed; the commit alone changes nothing."""
        return not self.changed_files(now) and not self.changed_settings(now)


def _changed(then: Mapping[str, str], now: Mapping[str, str]) -> set[str]:
    return {name for name in {*then, *now} if then.get(name) != now.get(name)}


def last_update(stack: Stack, now: Approval) -> LastUpdate | None:
    """The last update that passed, if state and surroundings are still as it left them; `None` if that is not
    certain.
    """
    try:
        passed = LastUpdate.model_validate_json(stack.own_file("passed").read_bytes())
    except (OSError, ValidationError):  # none yet, or not ours: a preview decides
        return None
    if passed.state == now.state and passed.surroundings == surroundings_hash(stack):
        return passed
    return None


def record_last_update(stack: Stack, approved: Approval) -> None:
    """Record that `approved` was updated and the state that it left, unless another update may have interfered."""
    with suppress(OSError, SlipwayError):  # the update succeeded anyway, and the next one is previewed
        state = approval.state_hash(stack)
        updates = approval.updates_since(stack, approved)
        if len(updates) == 1 and updates[0].succeeded:
            passed = LastUpdate(
                number=updates[0].number,
                state=state,
                files=approved.files,
                settings=approved.settings,
                surroundings=surroundings_hash(stack),
                # Read now: if a file has changed since it was approved, its hash shows it.
                shared=shared_parts(stack.project.folder),
            )
            file = stack.own_file("passed")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(passed.model_dump_json(), encoding="utf-8")


def inputs_hash(stack: Stack, files: Mapping[str, str], settings: Mapping[str, str]) -> str:
    """A hash of everything that could change the result of a preview, except the state and the digest of a tag in a
    registry.

    The commit is not in it: the commit alone changes nothing.
    """
    return _hash({"files": dict(files), "settings": dict(settings), "surroundings": surroundings_hash(stack)})


def surroundings_hash(stack: Stack) -> str:
    """A hash of what a preview needs besides files and settings: variables, files they name, installed software."""
    environment = stack.engine.environment
    return _hash(
        {
            "variables": {name: value for name, value in environment.items() if name not in NOISE},
            "contents": dict(_contents(environment, stack.name)),
            "installed": sorted(_installed(stack.project.folder, environment)),
            "day": datetime.now(UTC).date().isoformat(),  # waivers expire
        }
    )


def _hash(parts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _contents(environment: Mapping[str, str], stack: str) -> Iterator[tuple[str, str]]:
    """The files that variables name: a kubeconfig, secrets."""
    for name, value in environment.items():
        if name == "KUBECONFIG" or name.endswith(FILE_SUFFIX):
            for path in filter(None, value.split(os.pathsep)):
                file = Path(path.replace(STACK_PLACEHOLDER, stack))
                content = file.read_bytes() if file.is_file() else b""
                yield f"{name} {path}", hashlib.sha256(content).hexdigest()


def _installed(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Names, with versions, of the program's packages and the engine's plugins, and the engine's path and time."""
    for packages in (folder / ".venv").glob("lib/python*/site-packages"):
        yield from (entry.name for entry in os.scandir(packages) if entry.name.endswith(".dist-info"))
    home = Path(environment.get("PULUMI_HOME") or Path(environment.get("HOME", "/"), ".pulumi"))
    if (home / "plugins").is_dir():
        yield from (entry.name for entry in os.scandir(home / "plugins"))
    if engine := shutil.which("pulumi", path=environment.get("PATH")):
        yield f"{engine} {Path(engine).stat().st_mtime_ns}"
