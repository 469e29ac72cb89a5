"""The automatic rollback of `slipway up` after a failed update: to the last good state, once, never in a loop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from slipway.backend import UpdateInfo
from slipway.deploy.preparation import prepare_stack
from slipway.deploy.update import NotDeletedError, Update
from slipway.engine.events import Diagnostic, Event, Failed, Started
from slipway.engine.messages import CHECKS_FAILED, DIAGNOSIS
from slipway.engine.stages import KUBERNETES_PREFIX
from slipway.errors import ExitCode, SlipwayError, report
from slipway.progress import Progress
from slipway.rollback.plan import DataAtStakeError
from slipway.rollback.run import NothingToRollBackError, Rollback, RollbackOptions, checks_met
from slipway.rollback.target import last_good
from slipway.stack import Stack
from slipway.state.checkpoint import resources
from slipway.state.kubernetes_objects import migrations


@dataclass(frozen=True)
class FailedUpdate:
    """An update of `stack` that failed, and the error that says why."""

    stack: Stack = field(repr=False)
    update: Update = field(repr=False)
    error: SlipwayError

    def undone(self, progress: Progress) -> SlipwayError:
        """Roll back to the last good state and verify it; returns the error that the command ends with.

        That is the update's own error if there is nothing to undo. Otherwise its exit code is 4 after a verified
        rollback, and 5 if the rollback failed. The update's own error is printed before the rollback begins.
        """
        events = self.update.events
        started = (event for event in events if isinstance(event, Started | Failed) and event.changes)
        touched_cluster = any(event.resource.type.startswith(KUBERNETES_PREFIX) for event in started)
        may_have_broken = touched_cluster or _does_not_work(events)
        if isinstance(self.error, NotDeletedError) or not may_have_broken:  # a release works even if a delete failed
            return self.error
        try:
            target = self._target(progress)
        except SlipwayError as second:
            return self._not_undone(second, None)
        if target is None:
            return _with_note(self.error, f"There is no earlier state of {self.stack} to go back to.")
        try:
            prepared = Rollback.prepare(self.stack, target.number, RollbackOptions(automatic=True))
        except NothingToRollBackError:
            left = f"{self.stack} is still as update #{target.number} left it: nothing to roll back."
            # The update did not run these migrations: only their database shows whether they ran in it.
            if services := ", ".join(sorted(migrations(resources(self.stack.present() or {})))):
                left += (
                    f"\nThe migration of {services} ran in an earlier update. If the database is empty now, "
                    f"`slipway up -s {self.stack} --force` runs it again."
                )
            return _with_note(self.error, left)
        except SlipwayError as second:
            return self._not_undone(second, target)
        report(self.error)
        return self._replayed(prepared, progress)

    def _target(self, progress: Progress) -> UpdateInfo | None:
        if self.update.killed:
            prepare_stack(self.stack, progress.note)
        return last_good(self.stack.history())

    def _replayed(self, prepared: Rollback, progress: Progress) -> SlipwayError:
        progress.note(f"Going back to #{prepared.target.number}, the last good state.")
        if prepared.warning:
            progress.note(prepared.warning)
        try:
            rollback = prepared.run(progress)
            proof = prepared.verify()
        except SlipwayError as second:
            return self._failed_twice(second, prepared.target)
        others = prepared.moved.by_others()
        by_hand = f"The cluster differed from the state, which may be the cause: {others}." if others else ""
        log = f"The cause is above. Engine log: {self.update.log}"
        return SlipwayError(
            f"The update of {self.stack} failed and was rolled back to #{prepared.target.number}: "
            f"{proof}, {checks_met(rollback)}.",
            why="\n".join(filter(None, (by_hand, log))),
            next_step=f"Fix it and run `slipway up -s {self.stack}` again. "
            f"To keep the next failed update for debugging, add --no-rollback.",
            code=ExitCode.ROLLED_BACK,
        )

    def _not_undone(self, second: SlipwayError, target: UpdateInfo | None) -> SlipwayError:
        report(self.error)
        return self._failed_twice(second, target)

    def _failed_twice(self, second: SlipwayError, target: UpdateInfo | None) -> SlipwayError:
        if second.code is ExitCode.INTERRUPTED:
            return second
        where = f" to #{target.number}" if target else ""
        again = f" --to {target.number}" if target else ""
        override = ' --break-glass "REASON"' if second.code is ExitCode.POLICY else ""
        override += " --include-stateful" if isinstance(second, DataAtStakeError) else ""
        return SlipwayError(
            f"The update of {self.stack} failed, and so did the rollback{where}.",
            why="\n".join(filter(None, (second.what, second.why, second.next_step))),
            next_step="By hand:\n"
            f"slipway history -s {self.stack}                 the states to go back to\n"
            f"slipway rollback -s {self.stack}{again}{override}   go back again\n"
            f"slipway up -s {self.stack}                      or forward, with a fixed program",
            code=ExitCode.ROLLBACK_FAILED,
        )


def _does_not_work(events: Iterable[Event]) -> bool:
    """Whether a rollout or a check failed, also one left by an earlier update that was kept for debugging or killed."""
    errors = (event for event in events if isinstance(event, Diagnostic) and event.severity == "error")
    return any(event.message.startswith(DIAGNOSIS) or CHECKS_FAILED.search(event.message) for event in errors)


def _with_note(error: SlipwayError, note: str) -> SlipwayError:
    why = "\n".join(filter(None, (error.why, note)))
    return SlipwayError(error.what, why=why, next_step=error.next_step, code=error.code)
