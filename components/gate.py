"""Holds the program back until it is judged: what breaks the policies is refused before anything is registered."""

from __future__ import annotations

import os
from pathlib import Path

import pulumi
from pulumi.runtime.config import get_config_env, get_config_secret_keys_env

from policy import approval, gate

NEXT_STEP = "Run `slipway up`, which asks the policies with the engine's help."


def pass_policies() -> None:
    """Return when the policies allow what this program declares; raises RunError, which lists what they forbid.

    A preview says the same and goes on. Nothing is asked twice: not behind `slipway preview` and `slipway up`, which
    ask with the whole engine, nor while the program is being looked at.
    """
    folder, project, stack = Path.cwd(), pulumi.get_project(), pulumi.get_stack()
    if gate.is_declaring() or approval.is_passed(os.environ, folder, project, stack):
        return
    verdict = gate.judge(
        gate.Request(
            str(folder),
            project,
            stack,
            pulumi.get_organization(),
            get_config_env(),
            get_config_secret_keys_env(),
        )
    )
    if verdict.notes:
        pulumi.log.warn(verdict.notes)
    if verdict.program_error:
        raise pulumi.RunError(verdict.program_error)  # as the program would, in its own words
    problem = _problem(verdict)
    if not problem:
        return
    if pulumi.runtime.is_dry_run() and not verdict.error:
        pulumi.log.warn(f"{problem}\nAn update would be refused.")
    else:
        raise pulumi.RunError(f"{problem}\nNothing was changed.")


def _problem(verdict: gate.Verdict) -> str:
    """Why an update must not go on; empty when it may."""
    if verdict.blind:
        return f"Policy error: the program's own gate cannot see {verdict.blind}.\n{NEXT_STEP}"
    return f"Policy error: {verdict.error}" if verdict.error else verdict.refusal
