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
    problem = _problem(verdict)
    if problem and pulumi.runtime.is_dry_run() and (verdict.refusal or verdict.blind):
        pulumi.log.warn(problem)
    elif problem:
        raise pulumi.RunError(problem)


def _problem(verdict: gate.Verdict) -> str:
    """Why this update must not go on; the program's own refusal is passed on in its own words."""
    if verdict.blind:
        return f"Policy error: the program's own gate cannot see {verdict.blind}.\n{NEXT_STEP}"
    if verdict.error:
        return f"Policy error: {verdict.error}\nNothing was changed."
    return verdict.program_error or verdict.refusal
