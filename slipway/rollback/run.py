"""Rolls a stack back to a recorded state: finds and checks it, declares it again, and compares the result."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any

from policy.declaration import from_checkpoint
from policy.files import PolicyFileError
from policy.judge import Judge, RuleError, refusal
from slipway.backend import History, UpdateInfo, rollback_message
from slipway.backend.promotion import ProvenanceError, UnknownUpdateError, build_of, promotions_of
from slipway.deploy.preparation import import_state, revert_replacements
from slipway.deploy.preview import skip_program_gate
from slipway.deploy.update import Update, require_success, run_update
from slipway.engine.stages import IMAGE_TYPE
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.progress import Progress
from slipway.rollback.plan import (
    ROLLBACK_VARIABLE,
    RollbackPlan,
    RollbackRequest,
    plan_rollback,
    services_migrated_since,
    unchanged_digest,
    unchanged_resources,
)
from slipway.rollback.proof import ClusterDifference, Proof, cluster_difference, prove
from slipway.rollback.target import UnfinishedRollback, default_target, mark_in_progress, resume_target
from slipway.stack import Stack
from slipway.state.checkpoint import Snapshot, is_settled, objects, resources
from slipway.state.difference import compared
from slipway.state.kubernetes_objects import migrations


class NothingToRollBackError(ConfigurationError):
    """The present state is already the target."""


@dataclass(frozen=True)
class Rollback:
    """A rollback that may begin: the plan to declare, from which update back to which."""

    stack: Stack = field(repr=False)
    source: int
    target: UpdateInfo
    request: RollbackRequest
    plan: RollbackPlan = field(repr=False)
    present: Snapshot = field(repr=False)
    reason: str = ""
    """Why today's policies are overridden; empty if they are not."""
    migrated: tuple[str, ...] = ()
    """Services whose data were changed by migrations since the target; the data stay as they are."""
    moved: ClusterDifference = field(default_factory=ClusterDifference)
    """Differences of the cluster from the present state: the engine has to refresh first if there are any."""

    @classmethod
    def prepare(cls, stack: Stack, to: int | None, options: RollbackOptions) -> Rollback:
        """Find the recorded state and check, before anything is changed, that a rollback to it is allowed.

        Raises ConfigurationError for an update that is no target, and SlipwayError (3) if the policies forbid it.
        """
        history = stack.history()
        present = history.present()
        if present is None:
            raise _never_updated(stack.name)
        require_history(history)
        goes_on = resume_target(stack, history.entries, options.services) if to is None else None
        to = to if goes_on is None else goes_on
        target = default_target(history, present, options.services) if to is None else _target(history, to)
        unmanaged = stack.unmanaged_namespace()
        request = RollbackRequest(
            target.number, options.services, options.keep_secrets, options.include_stateful, unmanaged
        )
        plan, opened = _plan(stack, _state(history, target), present, request)
        moved = cluster_difference(stack, opened, options.services)
        # A rollback that was killed at its very end was neither verified nor recorded. In a cluster that cannot be
        # listed, it is not known what a failed update has left.
        unknown = options.automatic and moved.unread
        if not moved and not unknown and goes_on is None:
            _require_difference(plan, opened, target, stack.name, options.services)
        if not options.reason:
            config = _plain(target.config) if options.automatic else stack.config()
            _require_policies(plan, stack, target, config)
        number = history.entries[-1].number
        migrated = _migrated_since(history, target, plan, opened, options.services)
        return cls(stack, number, target, request, plan, opened, options.reason, migrated, moved)

    @property
    def message(self) -> str:
        return rollback_message(self.source, self.target.number, self.request.services, self.reason)

    @property
    def warning(self) -> str:
        """A warning about data that stay as they are although the services go back; empty if there are none."""
        if not self.migrated:
            return ""
        return (
            f"The migrations since #{self.target.number} are not undone ({', '.join(self.migrated)}): "
            "a rollback runs no migrations, neither backwards nor again."
        )

    def arguments(self) -> list[str]:
        """More arguments of `pulumi`: it does not change images, resources that are already as recorded, and, with some
        services only, resources of the others.

        With services, the resources that may change are targets, and the others are not excluded: the engine deletes
        nothing that an excluded resource depends on, and an old ConfigMap would stay. The outputs of resources that are
        not targets are still set.
        """
        if not self.request.services:
            left = [f"**{IMAGE_TYPE}::*", *sorted(self.unchanged)]
            return [argument for urn in left for argument in ("--exclude", urn)]
        there = {each.urn for each in resources(self.present)}
        both = {**objects(self.present), **self.plan.objects()}
        touched = [urn for urn, each in both.items() if each.service in self.request.services]
        touched += [each.urn for each in self.plan.resources if each.urn not in there and each.type != IMAGE_TYPE]
        # The engine deletes a target that is not declared.
        named = (urn for urn in dict.fromkeys(touched) if urn not in self.unchanged)
        return [argument for urn in named for argument in ("--target", urn)]

    @cached_property
    def unchanged(self) -> set[str]:
        """The URNs of resources that are already as recorded; empty if the engine has to refresh."""
        return set() if self._has_moved else unchanged_resources(self.plan, self.present)

    @property
    def _has_moved(self) -> bool:
        return bool(self.moved or self.moved.unread)

    def variables(self) -> dict[str, str]:
        """The variables that make the program replay, read right before it starts; the policies were evaluated here."""
        request = replace(self.request, unchanged=unchanged_digest(self.unchanged) if self.unchanged else "")
        return {ROLLBACK_VARIABLE: request.to_text(), **skip_program_gate(self.stack.project, self.stack.name)}

    def run(self, progress: Progress) -> Update:
        """Declare the recorded state again; raises an error that says why if that fails, or if the stack has changed.

        If the program refuses, the state is put back as it was: a failed update removes the stack's outputs.
        """
        history = self.stack.history()
        if (last := history.numbers[-1]) != self.source:
            raise SlipwayError(
                f"{self.stack} was not rolled back: it has changed since the rollback was prepared.",
                why=f"Its last update was #{self.source}, now it is #{last}.",
                next_step=f"`slipway history -s {self.stack}` shows the updates since; start the rollback again.",
            )
        before = history.present()
        unfinished = UnfinishedRollback(self.source, self.target.number, self.request.services)
        with mark_in_progress(self.stack, unfinished) as go_on_remembering:
            revert_replacements(self.stack, {urn: each.id for urn, each in self.plan.objects().items()})
            refresh = ["--refresh"] if self._has_moved else []
            update = run_update(
                self.stack,
                [*self.arguments(), *refresh, "--message", self.message],
                progress,
                environment=self.variables(),
                title=f"Roll {self.stack} back to #{self.target.number}",
                command="rollback",
            )
            if update.killed or update.ended.interrupted:
                go_on_remembering()
        try:
            require_success(self.stack.name, update, progress)
        except SlipwayError as error:
            if before and update.changed_nothing and self._is_all_since():
                import_state(self.stack, before)
            raise self.as_its_own(error) from error
        return update

    def _is_all_since(self) -> bool:
        """Whether this rollback is the only update since it was prepared: one that found the stack locked is not
        recorded, and the update that held the lock may have changed the stack since.
        """
        latest = self.stack.history().latest(2)
        return [each.message for each in latest if each.number > self.source] == [self.message]

    @property
    def command(self) -> str:
        """The command that does the same again."""
        flags = [f"--service {name}" for name in self.request.services]
        flags += ["--keep-secrets"] if self.request.keep_secrets else []
        flags += ["--include-stateful"] if self.request.include_stateful else []
        flags += [f"--break-glass {shlex.quote(self.reason)}"] if self.reason else []
        return " ".join([f"slipway rollback -s {self.stack} --to {self.target.number}", *flags])

    def as_its_own(self, error: SlipwayError) -> SlipwayError:
        """The error of an update, worded for a rollback: its advice would lead forward to the release left behind."""
        what = error.what.replace("The update of", "The rollback of", 1)
        next_step = re.sub(
            rf"`slipway up -s {re.escape(self.stack.name)}[^`]*`", lambda _: f"`{self.command}`", error.next_step
        )
        return SlipwayError(what, why=error.why, next_step=next_step, code=error.code)

    def verify(self) -> Proof:
        """Compare every recorded input with the present state and cluster; raises SlipwayError if one differs."""
        return prove(self.stack, self.target.number, self.plan, self.request.services)


@dataclass(frozen=True)
class RollbackOptions:
    """The options of a rollback."""

    services: tuple[str, ...] = ()
    keep_secrets: bool = False
    include_stateful: bool = False
    reason: str = ""
    automatic: bool = False
    """Whether it undoes a failed update. Its settings are then not used, because they may be the cause."""


def checks_met(update: Update) -> str:
    """How many of its recorded checks the state met, as text."""
    number = update.outputs.get("checks", 0)
    return f"{number} check{'' if number == 1 else 's'} met"


def require_history(history: History) -> None:
    """Raise ConfigurationError if the stack was never updated: there is nothing to go back to."""
    if not history.numbers:
        raise _never_updated(history.stack)


def _never_updated(stack: str) -> ConfigurationError:
    return ConfigurationError(
        f"Stack {stack} has no history: it was never updated.",
        next_step=f"`slipway up -s {stack}` makes the first entry.",
    )


def _target(history: History, number: int) -> UpdateInfo:
    try:
        entry = history.entry(number)
    except SlipwayError as error:
        raise ConfigurationError(error.what, why=error.why, next_step=error.next_step) from error
    if entry.problem or not entry.succeeded:
        raise ConfigurationError(
            f"Update #{number} of {history.stack} cannot be rolled back to: {entry.problem or 'it failed'}.",
            next_step=f"`slipway history -s {history.stack}` lists those that succeeded.",
        )
    return entry


def _state(history: History, target: UpdateInfo) -> Snapshot:
    """The state that `target` left; raises ConfigurationError if it cannot be read, as for an update that failed."""
    try:
        return history.checkpoint(target.number)
    except SlipwayError as error:
        raise ConfigurationError(error.what, why=error.why, next_step=error.next_step) from error


def _plan(stack: Stack, target: Snapshot, present: Snapshot, request: RollbackRequest) -> tuple[RollbackPlan, Snapshot]:
    """The plan to declare, and the present state, decrypted."""
    with ThreadPoolExecutor() as pool:
        then, now = pool.map(stack.decrypted, (target, present))
    return plan_rollback(then, now, request), now


def _require_difference(
    plan: RollbackPlan, present: Snapshot, target: UpdateInfo, stack: str, services: Sequence[str]
) -> None:
    if is_settled(present) and not compared(plan.objects(), objects(present)).differences:
        what = f"{', '.join(services)} of {stack}" if services else stack
        raise NothingToRollBackError(
            f"There is nothing to roll back: {what} is as update #{target.number} left it.",
            why="Every recorded input is the same.",
            next_step=f"`slipway history -s {stack}` lists others; `slipway drift -s {stack}` looks at the cluster.",
        )


def _migrated_since(
    history: History, target: UpdateInfo, plan: RollbackPlan, present: Snapshot, services: Sequence[str]
) -> tuple[str, ...]:
    """The services whose migrations have run since `target`; states that cannot be read are left out.

    If neither the target nor the present state has migrations, the states between the two are not read.
    """
    if not migrations(resources(present)) and not migrations(plan.resources):
        return ()
    between = [present]
    for number in history.numbers:
        if number > target.number:
            with suppress(SlipwayError):
                between.append(history.checkpoint(number))
    found = services_migrated_since(plan, between)
    return tuple(each for each in found if not services or each in services)


def _require_policies(plan: RollbackPlan, stack: Stack, target: UpdateInfo, config: Mapping[str, str]) -> None:
    """Raise SlipwayError (3) if today's policies forbid what `plan` declares, or the builds of its promoted images."""
    try:
        # The engine's environment: the user's own variables do not have the registry of a lab.
        judge = Judge.of(stack.name, config, stack.engine.environment)
        reports = [
            judge.evaluate(from_checkpoint(each.raw) for each in plan.resources),
            judge.evaluate(map(from_checkpoint, _promoted_builds(plan, stack, target))),
        ]
    except (PolicyFileError, RuleError) as error:
        raise SlipwayError("The policies could not be evaluated, so nothing was changed.", why=str(error)) from error
    for report in reports:
        if report.refusals:
            what, _, why = refusal(report).partition("\n")
            raise _forbidden(f"{what} That is what update #{target.number} declares; nothing was changed.", why)


def _promoted_builds(plan: RollbackPlan, stack: Stack, target: UpdateInfo) -> list[Mapping[str, Any]]:
    """The builds of the promoted images of `plan`, with their unit tests, from the states of other environments.

    Builds in a history that cannot be read, or that was recreated, are left out: the record in this stack's own state
    was checked against that history when the image was first deployed.
    """
    histories = cache(lambda name: History.open(stack.engine, stack.project, name))
    builds: list[Mapping[str, Any]] = []
    for service, each in promotions_of(plan.resources).items():
        try:
            builds += build_of(histories, service, each).images
        except UnknownUpdateError:
            continue
        except ProvenanceError as error:
            what = f"The policies forbid a rollback of {stack} to #{target.number}: {error.what}"
            raise _forbidden(what, error.why) from error
        except SlipwayError:
            continue
    return builds


def _forbidden(what: str, why: str) -> SlipwayError:
    return SlipwayError(
        what,
        why=why,
        next_step='Choose another update with --to, waive the rule, or override it: --break-glass "REASON".',
        code=ExitCode.POLICY,
    )


def _plain(recorded: Mapping[str, object]) -> dict[str, str]:
    """The plain values of a recorded configuration."""
    return {key: value for key, value in recorded.items() if isinstance(value, str)}
