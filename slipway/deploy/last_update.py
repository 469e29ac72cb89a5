"""Remembers what the last update passed the gate with, so that the very same need not be previewed again.

A preview is a second run of the program: on an environment where nothing has moved it would double the time of
`slipway up --yes`, and say what the last update said. Everything that a preview rests on must be the same for that; the
update has the policy pack in any case.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from slipway.deploy import approval
from slipway.deploy.approval import Approval
from slipway.errors import SlipwayError
from slipway.paths import STACK_PLACEHOLDER
from slipway.stack import Stack

# Variables of a shell that say nothing to a program.
NOISE = {"_", "PWD", "OLDPWD", "SHLVL", "COLUMNS", "LINES"}
FILE_SUFFIX = "_FILE"


@dataclass(frozen=True)
class LastUpdate:
    """What passed: a hash over all that its preview rested on but the state, one of the state that it left, and the
    number of the update.
    """

    inputs: str
    state: str
    number: int


def same_as_last_update(stack: Stack, now: Approval) -> LastUpdate | None:
    """The last update that passed, if all is still as it left it; `None` for anything that is not certain."""
    try:
        passed = LastUpdate(**json.loads(stack.own_file("passed").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # none yet, or not ours: a preview tells
        return None
    if passed.state == now.state and passed.inputs == inputs_hash(stack, now.files, now.settings):
        return passed
    return None


def record_last_update(stack: Stack, approved: Approval) -> None:
    """Take down that `approved` was updated and what it left, unless somebody else may have had a hand in it."""
    with suppress(OSError, SlipwayError):  # the update succeeded all the same, and the next one is previewed
        after = approval.take(stack)
        updates = approval.updates_since(stack, approved)
        if len(updates) == 1 and updates[0].succeeded:
            passed = LastUpdate(inputs_hash(stack, approved.files, approved.settings), after.state, updates[0].number)
            file = stack.own_file("passed")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(asdict(passed)), encoding="utf-8")


def inputs_hash(stack: Stack, files: Mapping[str, str], settings: Mapping[str, str]) -> str:
    """A hash over everything by which a preview could come out another way, but for the state and what a registry says
    of a tag.

    The commit is not in it: it alone changes nothing.
    """
    environment = stack.engine.environment
    parts = {
        "files": dict(files),
        "settings": dict(settings),
        "variables": {name: value for name, value in environment.items() if name not in NOISE},
        "contents": dict(_contents(environment, stack.name)),
        "installed": sorted(_installed(stack.project.folder, environment)),
        "day": datetime.now(UTC).date().isoformat(),  # waivers end
    }
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
    """Names, which have versions in them, of the program's packages and the engine's plugins, and the engine's own."""
    for packages in (folder / ".venv").glob("lib/python*/site-packages"):
        yield from (entry.name for entry in os.scandir(packages) if entry.name.endswith(".dist-info"))
    home = Path(environment.get("PULUMI_HOME") or Path(environment.get("HOME", "/"), ".pulumi"))
    if (home / "plugins").is_dir():
        yield from (entry.name for entry in os.scandir(home / "plugins"))
    if engine := shutil.which("pulumi", path=environment.get("PATH")):
        yield f"{engine} {Path(engine).stat().st_mtime_ns}"
