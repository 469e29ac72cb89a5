"""Asks the policies of what the program declares, without the engine: where nobody reads a preview, none is needed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policy import pack_token, program_check
from slipway.deploy.approval import settings_of
from slipway.deploy.last_update import inputs_hash
from slipway.deploy.preview import gate_passed
from slipway.stack import Stack

ORGANIZATION = "organization"
"""What the engine calls it for every self-managed backend."""


@dataclass(frozen=True)
class PassedPolicies:
    """The policies allow what the program declares: how many were asked, and what a person should know."""

    rules: int
    notes: str
    seconds: float
    """How long it took to know."""
    variables: Mapping[str, str]
    """What spares the program its own gate, for just the files that were judged."""


def passed_policies(stack: Stack) -> PassedPolicies | None:
    """`None` where only a preview can tell, or tells it better: what is refused, wrong, or not known yet.

    The services' own sources end up in images: while they alone change, the last verdict holds.
    """
    began = time.monotonic()
    folder = stack.project.folder
    others_rules = folder.resolve() != program_check.CHECKOUT
    if others_rules or stack.backend_url().startswith(("http:", "https:")):
        return None
    if stack.has_new_digests():  # a preview looks them up, and refuses before anything is touched
        return None
    variables = gate_passed(stack.project, stack.name)
    inputs = inputs_hash(stack, pack_token.file_hashes(folder), settings_of(stack))
    file = stack.own_file("policies")
    verdict = _read(file).get(inputs)
    if verdict is None:
        judged = _judged(stack)
        if judged.refusal or judged.undecided or judged.program_error or judged.not_inspectable or judged.error:
            return None
        verdict = {"rules": judged.rules, "notes": judged.notes}
        with suppress(OSError):  # the next update asks again
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({inputs: verdict}), encoding="utf-8")
    return PassedPolicies(**verdict, seconds=time.monotonic() - began, variables=variables)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or not ours
        return {}
    return content if isinstance(content, dict) else {}


def _judged(stack: Stack) -> program_check.Verdict:
    done = stack.engine.run("config", "--stack", stack.name, "--json", "--show-secrets")
    if done.exit_code:
        return program_check.Verdict(error=done.errors)
    settings = json.loads(done.output)
    config = {key: str(each.get("value", "")) for key, each in settings.items()}
    secret_keys = [key for key, each in settings.items() if each.get("secret")]
    request = program_check.CheckRequest(
        str(stack.project.folder), stack.project.name, stack.name, ORGANIZATION, config, secret_keys
    )
    return program_check.judge(request, environ=stack.engine.environment)
