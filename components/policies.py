"""Holds the program back until it is judged: violations of the policies are refused before anything is registered."""

from __future__ import annotations

import os
from pathlib import Path

import pulumi
from pulumi.runtime.config import get_config_env, get_config_secret_keys_env

from components.recorded_only import register_transformation
from policy import program_check
from slipway.engine.messages import POLICY_ERROR

NEXT_STEP = "Run `slipway up`, which evaluates the policies with the engine."


def enforce_policies() -> None:
    """Return when the policies allow what this program declares; raises RunError, which lists the violations.

    A preview reports the same and goes on. The policies are not checked twice: not behind `slipway preview` and
    `slipway up`, which check them with the whole engine, nor while the program itself is being checked. A resource that
    an update declares and the check did not see is refused when it is declared.
    """
    folder, project, stack = Path.cwd(), pulumi.get_project(), pulumi.get_stack()
    if program_check.is_declaring() or program_check.is_passed(os.environ, folder, project, stack):
        return
    verdict = program_check.judge(
        program_check.CheckRequest(
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
    problem, previews = _problem(verdict), pulumi.runtime.is_dry_run()
    if problem and previews and not verdict.error:
        pulumi.log.warn(f"{problem}\nAn update would be refused.")
    elif problem:
        raise pulumi.RunError(f"{problem}\nNothing was changed.")
    elif not previews:
        judged = {(type_, name) for type_, name in verdict.judged}

        def refuse_unjudged(args: pulumi.ResourceTransformationArgs) -> None:
            # A program may declare more in an update than in the check: in an `apply`, or if it asks whether it is a
            # preview. The check does not list resources that are only read.
            if (args.type_, args.name) not in judged and not args.opts.id and not args.opts.urn:
                kind = args.type_.rsplit(":", 1)[-1]
                raise pulumi.RunError(
                    f"{POLICY_ERROR} the program's policy check did not see {kind} {args.name}.\n{NEXT_STEP}"
                )

        register_transformation(refuse_unjudged)


def _problem(verdict: program_check.Verdict) -> str:
    """Why an update must not go on; empty if it may."""
    if verdict.not_inspectable:
        return f"{POLICY_ERROR} the program's policy check cannot inspect {verdict.not_inspectable}.\n{NEXT_STEP}"
    if verdict.error or verdict.refusal:
        return f"{POLICY_ERROR} {verdict.error}" if verdict.error else verdict.refusal
    return f"{POLICY_ERROR} {verdict.undecided}\n{NEXT_STEP}" if verdict.undecided else ""
