"""`slipway up`: previews an environment, evaluates the policies, asks the user, updates it, and shows the progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from slipway import project as projects
from slipway.backend.update_info import ROLLBACK_SETTING
from slipway.cli.output import to_stderr
from slipway.cluster.drift import Drift, remove_additions
from slipway.deploy import approval, work_tree
from slipway.deploy.approval import Approval
from slipway.deploy.drift import find_drift, find_unchanged, has_same_bases
from slipway.deploy.last_update import LastUpdate, changed_services, last_update, record_last_update
from slipway.deploy.preparation import REPLACEMENTS_REVERTED, prepare_stack, replaced_objects, revert_replacements
from slipway.deploy.preview import Preview, policy_pack, skip_program_gate
from slipway.deploy.program_policies import PassedPolicies, passed_policies, policy_inputs, record_passed
from slipway.deploy.summary import PreviewResult, PreviewSummary
from slipway.deploy.update import Update, require_success, run_update
from slipway.engine.stages import Stage, gate_line, stage_times
from slipway.environments.creation import TemporaryRequest, ensure_temporary
from slipway.environments.temporary import failed_comment, require_writable, running_comment
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.progress import Progress
from slipway.render.markdown_text import clean
from slipway.render.terminal import drift_lines, show
from slipway.render.words import counted, is_incomplete
from slipway.stack import Stack, open_stack
from slipway.state.checkpoint import objects, outputs
from slipway.state.kubernetes_objects import RERUN_VARIABLE
from slipway.state.targets import exclude_arguments, target_variables


@dataclass(frozen=True)
class Gate:
    """How the gate was passed; `rules` is how many policies were evaluated now, `replacing` the ids, by URN, of objects
    that the preview replaces.
    """

    stages: tuple[Stage, ...]
    rules: int = 0
    replacing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class UpOptions:
    """The options of an update; `approved` is the approval file that a preview wrote."""

    yes: bool = False
    approved: Path | None = None
    rollback: bool = True
    allow_dirty: bool = False
    refresh: bool = False
    force: bool = False
    temporary: TemporaryRequest | None = None
    markdown: Path | None = None
    """Where to write a pull request's comment about a temporary environment."""

    @property
    def agreed_by(self) -> str:
        """How the user agreed to the update beforehand, so that nobody reads the preview; empty if they did not."""
        if self.approved:
            return f"by {self.approved}"
        return "by --yes" if self.yes else ""

    @property
    def variables(self) -> Mapping[str, str]:
        """More environment variables for the program."""
        return {RERUN_VARIABLE: "1"} if self.force else {}


def up(*, name: str, options: UpOptions) -> int:
    """Update the stack `name`; returns the exit code."""
    if not options.agreed_by and not sys.stdin.isatty():
        raise ConfigurationError(
            "Standard input is not a terminal, so there is no prompt.",
            next_step="Add --yes to update without a prompt.",
        )
    if options.markdown:
        require_writable(options.markdown)
    try:
        if options.temporary or options.markdown:
            return _up_temporary(name, options)
        return _up(name, options)
    except KeyboardInterrupt as error:  # between two runs of the engine, which handles Ctrl-C itself
        raise SlipwayError(
            "Interrupted.", next_step=f"`slipway up -s {name}` starts again.", code=ExitCode.INTERRUPTED
        ) from error


def _up_temporary(name: str, options: UpOptions) -> int:
    """Make the environment as requested, update it, and write the result for its pull request."""
    temporary = ensure_temporary(name, options.temporary or TemporaryRequest(), Progress().note)
    if not options.markdown:
        return _up(name, options)
    project = projects.require(Path.cwd()).name
    text = ""
    try:
        code = _up(name, options)
        text = running_comment(project, name, temporary, outputs(open_stack(name).present() or {}).get("services", {}))
    except SlipwayError as error:
        text = failed_comment(project, name, error)
        raise
    finally:
        if text:
            options.markdown.write_text(text, encoding="utf-8")
    return code


def _up(name: str, options: UpOptions) -> int:
    stack = open_stack(name)
    pack = policy_pack(stack.project)
    uncommitted = work_tree.require_committed(stack.project, stack.name, allowed=options.allow_dirty)
    progress = Progress()
    # A preview would succeed without a cluster, and build images for one that does not answer.
    reached = ThreadPoolExecutor(1).submit(stack.require_cluster)
    prepare_stack(stack, progress.note)
    approved = approval.take(stack)
    reached.result()
    if options.approved:
        approval.require_approved(stack, options.approved, approved)
    last = None if options.refresh else last_update(stack, approved)
    before = last if last and last.is_same(approved) else None
    if before and not options.force and (code := _as_last_updated(stack, before)) is not None:
        return code
    passed = None
    if before and options.yes:
        since = f"nothing has changed since update #{before.number}"
        typer.echo(f"Preview of {stack.project.name}/{stack}: not needed, {since}, which passed.")
        gate = Gate((Stage("preview", None, "not needed"), Stage("approve", None, "by --yes")))
    else:
        gate, passed = _gate(stack, progress, options)
        approval.require_unchanged(stack, approved)
    inputs = policy_inputs(stack) if gate.rules and not passed else ""
    if revert_replacements(stack, gate.replacing):
        progress.note(REPLACEMENTS_REVERTED)
    if options.refresh:
        _remove_additions(stack, progress)
    arguments = ["--refresh"] if options.refresh else []
    if options.allow_dirty and uncommitted:
        arguments += ["--message", work_tree.message(uncommitted)]
    variables = {**(passed.variables if passed else skip_program_gate(stack.project, stack.name)), **options.variables}
    if passed and last and not options.force and (targets := _targets(stack, last, approved, progress)):
        arguments += exclude_arguments(stack.present() or {}, targets)
        variables = {**variables, **target_variables(targets, variables)}
    update = _updated(stack, arguments, progress, environment=variables, pack=pack, rollback=options.rollback)
    if gate.rules:
        record_last_update(stack, approved)
        if inputs:
            record_passed(stack, inputs, gate.rules, update.violations)
    _show_result(stack, update, gate)
    # The engine compares what the program declares with the state, and does not read the cluster.
    return _drift_code(stack, progress) if update.changed_nothing and not options.refresh else ExitCode.DONE


def _updated(
    stack: Stack,
    arguments: Sequence[str],
    progress: Progress,
    *,
    environment: Mapping[str, str],
    pack: Path,
    rollback: bool,
) -> Update:
    """Update `stack`; if that fails, roll back if `rollback` is set, and raise SlipwayError."""
    update = run_update(stack, arguments, progress, environment=environment, pack=pack)
    try:
        require_success(stack.name, update, progress)
    except SlipwayError as error:
        if rollback and not update.ended.interrupted:
            from slipway.rollback.automatic import FailedUpdate  # noqa: PLC0415 -- it imports all policies

            raise FailedUpdate(stack, update, error).undone(progress) from error
        raise
    return update


def _as_last_updated(stack: Stack, before: LastUpdate) -> ExitCode | None:
    """The exit code of an update that could change nothing, without the engine; `None` if the engine has to run."""
    unchanged = find_unchanged(stack, to_stderr)
    if unchanged is None:
        return None
    if unchanged.drift.changes:
        return _show_drift(stack, unchanged.drift)
    _show_services(outputs(unchanged.deployed.state))
    typer.echo(
        f"{stack} is as update #{before.number} left it: {counted(len(unchanged.deployed.objects()), 'object')} as "
        f"declared, {counted(unchanged.checks, 'check')} met. --force runs the engine anyway."
    )
    return ExitCode.DONE


def _drift_code(stack: Stack, progress: Progress) -> ExitCode:
    """The exit code of an update that found nothing to change: no success if the cluster is not as recorded."""
    state = stack.present()
    if not state or not objects(state):
        return ExitCode.DONE
    try:
        drift = find_drift(stack, stack.beside_cluster(state), to_stderr)
    except SlipwayError as error:
        progress.note(f"The cluster could not be compared with the state: {error.what} {error.why}".rstrip())
        return ExitCode.DONE
    return _show_drift(stack, drift) if drift.changes else ExitCode.DONE


def _show_drift(stack: Stack, drift: Drift) -> ExitCode:
    typer.echo("\n".join(drift_lines(stack.name, drift.changes, drift.changed_by)))
    return ExitCode.DRIFT


def _targets(stack: Stack, last: LastUpdate, approved: Approval, progress: Progress) -> Sequence[str]:
    """The only services that the update has to declare; empty if it has to declare all."""
    targets = changed_services(stack, last, approved)
    if not targets or not has_same_bases(stack.present() or {}):
        return ()
    progress.note(
        f"Only {', '.join(targets)} changed: other services stay as update #{last.number} left it. --force updates all."
    )
    return targets


def _remove_additions(stack: Stack, progress: Progress) -> None:
    """Remove additions made by hand to the stack's objects; the engine's refresh does not see them."""
    state = stack.present()
    if not state or not objects(state):
        return
    deployed = stack.beside_cluster(state)
    if changed := remove_additions(deployed, find_drift(stack, deployed, progress.note)):
        progress.note(f"Removed what was added in the cluster: {', '.join(changed)}.")


def _gate(stack: Stack, progress: Progress, options: UpOptions) -> tuple[Gate, PassedPolicies | None]:
    """Evaluate the policies without the engine if nobody reads a preview, and otherwise preview the update.

    The update evaluates the policies again.
    """
    needs_preview = not options.agreed_by or options.refresh or ROLLBACK_SETTING in stack.config()
    passed = None if needs_preview else passed_policies(stack)
    if passed is None:
        return _previewed(stack, progress, options), None
    if passed.notes:
        typer.echo(passed.notes)
    policies = Stage("policies", passed.seconds, f"{counted(passed.rules, 'policy')} evaluated")
    stages = (policies, Stage("preview", None, "not needed"), Stage("approve", None, options.agreed_by))
    return Gate(stages, passed.rules), passed


def _previewed(stack: Stack, progress: Progress, options: UpOptions) -> Gate:
    """Show what the update would do, and get consent; raises SlipwayError without it, or if it must not happen."""
    preview = Preview(
        stack.project,
        stack.name,
        drift=options.refresh,
        refresh=options.refresh,
        variables=options.variables,
        progress=progress,
    )
    error = None
    try:
        preview.run(stack)
    except SlipwayError as raised:
        error = raised
    summary = preview.summary(error)
    if error and is_incomplete(summary):
        for problem in summary.problems:  # the output of failed builds; the error says the rest
            if problem.output:
                progress.console.print(Text(f"\n{problem.resource}: {problem.step}", style="bold red"), soft_wrap=True)
            for line in problem.output:
                progress.console.print(Text(f"  {clean(line)}"), soft_wrap=True)
        raise error
    show(summary, Console(highlight=False))
    if summary.result is PreviewResult.REFUSED:
        raise SlipwayError(
            f"{stack} was not updated: {counted(len(summary.refusals()), 'mandatory policy violation')}.",
            why="\n".join(dict.fromkeys(f"{each.rule}: {each.resource or 'the stack'}" for each in summary.refusals())),
            next_step="Fix it, or waive the rule in policy/waivers.yaml; every rule is in docs/policy.md.",
            code=ExitCode.POLICY,
        )
    policies = Stage("preview", summary.duration_seconds, f"{counted(summary.rules, 'policy')} evaluated")
    stages = (policies, _consent(stack.name, summary, options))
    return Gate(stages, summary.rules, replaced_objects(preview.events.events))


def _consent(stack: str, summary: PreviewSummary, options: UpOptions) -> Stage:
    """The stage of the consent to the update; SlipwayError for a no. Without a change, no consent is needed."""
    if not summary.changes:
        return Stage("approve", None, "not needed")
    if options.agreed_by:
        return Stage("approve", None, options.agreed_by)
    began = time.monotonic()
    try:
        agreed = typer.confirm(f"Update {stack}?", err=True)
    except typer.Abort as error:  # Ctrl-C or Ctrl-D
        raise SlipwayError(f"{stack} was not updated: interrupted.", code=ExitCode.INTERRUPTED) from error
    if not agreed:
        raise SlipwayError(f"{stack} was not updated: you answered no.")
    return Stage("approve", time.monotonic() - began)


def _show_result(stack: Stack, update: Update, gate: Gate) -> None:
    """Print the services, how long each stage took, and the proof that `slipway:rollbackTo` holds if it is set."""
    _show_services(update.outputs)
    for line in (gate_line(*gate.stages), *stage_times(update.events).lines()):
        typer.echo(line)
    if target := stack.config().get(ROLLBACK_SETTING):
        from slipway.rollback.proof import prove_setting  # noqa: PLC0415 -- it imports all policies
        from slipway.rollback.run import checks_met  # noqa: PLC0415

        typer.echo(f"{stack} is as #{target}: {prove_setting(stack, int(target))}, {checks_met(update)}.")


def _show_services(stack_outputs: Mapping[str, Any]) -> None:
    services = stack_outputs.get("services", {})
    width = max((len(name) for name in services), default=0)
    for name, service in sorted(services.items()):
        typer.echo(f"{name:<{width}}  {service.get('url', '')}".rstrip())
