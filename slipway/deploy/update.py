"""Runs `pulumi up` and shows its progress; the caller decides what is updated, and whether it may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from slipway.deploy.display import POLICY_TIMEOUT_ADVICE, OperationError, PolicyPackTimeout, UpdateDisplay
from slipway.deploy.preparation import REPLACEMENTS_REVERTED, collisions, revert_replacements
from slipway.deploy.preview_events import violation_in
from slipway.deploy.summary import Violation
from slipway.engine.errors import failed_builds, failure, killed, messages
from slipway.engine.events import STACK_TYPE, Event, Failed, Finished, Started, Urn, open_log, parse
from slipway.engine.pulumi_cli import Completed
from slipway.engine.stages import BuildStep
from slipway.errors import ExitCode, SlipwayError
from slipway.progress import Progress
from slipway.render.words import counted
from slipway.stack import Stack

# The engine does these last, when the program is done.
DELETIONS = ("delete", "delete-replaced")


@dataclass(frozen=True)
class Update:
    """An update's events, how it ended, and the file with the engine's whole output."""

    events: Sequence[Event]
    ended: Completed
    log: str
    violations: Sequence[Violation] = ()
    """What the policy pack reported, if the update had one."""

    @property
    def succeeded(self) -> bool:
        return not self.ended.exit_code and not self.ended.interrupted

    @property
    def killed(self) -> bool:
        """Whether a signal ended the engine: it cleaned up nothing, and the history has no entry for it."""
        return self.ended.exit_code < 0

    @property
    def changed_nothing(self) -> bool:
        """Whether it ended by itself before it began to change anything."""
        return not self.killed and not any(isinstance(event, Started) and event.changes for event in self.events)

    @property
    def not_deleted(self) -> list[Urn]:
        """The resources that could not be deleted, if nothing else failed; the program has ended by then."""
        failed = [event for event in self.events if isinstance(event, Failed)]
        only_deletes = all(event.operation in DELETIONS for event in failed)
        at_end = self.outputs and not self.killed and not self.ended.interrupted
        return [event.resource for event in failed] if at_end and only_deletes else []

    @property
    def outputs(self) -> Mapping[str, Any]:
        """The stack's outputs; empty if the update did not reach them."""
        ends = (event for event in reversed(self.events) if isinstance(event, Finished))
        return next((event.outputs for event in ends if event.resource.type == STACK_TYPE), {})


def run_update(
    stack: Stack,
    arguments: Sequence[str],
    progress: Progress,
    *,
    environment: Mapping[str, str] | None = None,
    title: str = "",
    command: str = "up",
    pack: Path | None = None,
) -> Update:
    """Update `stack`, shown as `title`; returns also if the update fails.

    `arguments` are more arguments for `pulumi up`, `environment` more variables for it, `pack` is its policy pack; its
    log is named after `command`. If it fails because of objects that an earlier failed update left, the state is
    repaired and the update runs again.
    """
    arguments = [*(["--policy-pack", str(pack)] if pack else []), *arguments]
    watch = PolicyPackTimeout.of_update(stack.engine.environment, pack) if pack else None
    stack, title = (
        replace(stack, engine=stack.engine.with_variables(environment or {})),
        title or f"Update {stack}",
    )
    while True:  # it ends: each time there are fewer declared objects that wait for deletion
        run = ["up", "--stack", stack.name, "--yes", "--skip-preview", "--json", *arguments]
        update = follow(stack, run, progress, title=title, command=command, watch=watch)
        stumbled = not update.succeeded and not update.ended.interrupted
        if not stumbled or not revert_replacements(stack, collisions(update.events)):
            return update
        progress.note(REPLACEMENTS_REVERTED)


def follow(
    stack: Stack,
    arguments: Sequence[str],
    progress: Progress,
    *,
    title: str,
    command: str,
    watch: PolicyPackTimeout | None = None,
) -> Update:
    """Run the engine with `arguments`, shown as `title`, to its end, well or not; its log is named after `command`."""
    events: list[Event] = []
    violations: list[Violation] = []
    with suppress(OperationError), progress.step(title) as whole, open_log(command, stack.name) as log:
        display = UpdateDisplay(progress, whole)

        def on_line(line: str, at_seconds: float) -> None:
            log.write_line(line, at_seconds)
            event = parse(line, at_seconds)
            if watch:
                watch.take(line, event, at_seconds)
            if event:
                events.append(event)
                display.show(event)
            elif violation := violation_in(line):
                violations.append(violation)

        overdue = watch.overdue if watch else None
        ended = stack.stream(arguments, on_line, progress.note, overdue)
        display.close(interrupted=ended.interrupted)
        log.write(ended.errors)
        update = Update(events, ended, log.name, violations)
        if not update.succeeded:
            raise OperationError  # for the progress: its line says that it failed
    return update


class NotDeletedError(SlipwayError):
    """The update is done, and its checks are met, but a resource could not be deleted."""


def require_success(stack: str, update: Update, progress: Progress) -> None:
    """Return if the update succeeded; else show its failed builds and raise the error that says why."""
    if update.succeeded:
        return
    progress.note(f"Engine log: {update.log}")
    if remaining := update.not_deleted:
        raise NotDeletedError(
            f"{stack} is updated and its checks are met, but {counted(len(remaining), 'object')} could not be deleted.",
            why="\n".join(messages(update.events)) or ", ".join(map(str, remaining)),
            next_step="The usual reason is a finalizer, which its controller has to remove. "
            f"Then `slipway up -s {stack}` deletes what is left.",
        )
    if update.ended.interrupted:
        raise SlipwayError(
            f"The update of stack {stack} was interrupted.",
            next_step=f"`slipway up -s {stack}` continues where it stopped.",
            code=ExitCode.INTERRUPTED,
        )
    if update.ended.overdue:
        raise SlipwayError(
            f"The update of stack {stack} was stopped: {update.ended.overdue}.",
            why="Nothing was changed.",
            next_step=f"{POLICY_TIMEOUT_ADVICE} If the backend is not a file:// one, release the lock with "
            f"`pulumi cancel -s {stack}`.",
        )
    _show_failed_builds(progress.console, failed_builds(update.events))
    if update.ended.exit_code < 0:
        raise killed(stack, -update.ended.exit_code)
    # Violations that only the update could find: the refused resources were not changed, earlier ones were.
    refusals = [violation for violation in update.violations if violation.refuses]
    if refusals and not messages(update.events):
        raise SlipwayError(
            f"The update of stack {stack} was stopped by {counted(len(refusals), 'mandatory policy violation')}.",
            why="\n".join(f"{each.rule}: {each.resource or 'the stack'}: {each.message}" for each in refusals),
            next_step="Fix it, or waive the rule in policy/waivers.yaml; every rule is in docs/policy.md.",
            code=ExitCode.POLICY,
        )
    raise failure(stack, update.events, update.ended.errors)


def _show_failed_builds(console: Console, failed: dict[Urn, BuildStep]) -> None:
    for image, step in failed.items():
        console.print(Text(f"\n{image}: {step.headline}", style="bold red"), soft_wrap=True)
        for line in step.output:
            console.print(Text(f"  {line}"), soft_wrap=True)
        if not step.error:
            console.print(Text("  (the last lines may be missing)", style="dim"))
    if failed:
        console.print()
