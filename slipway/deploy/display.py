"""Shows an update while it runs: one line per resource that changes, and the output of the program and the builds."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from slipway.engine.events import STACK_TYPE, Diagnostic, Event, Failed, Finished, Started, StepEvent, Urn
from slipway.engine.stages import IMAGE_TYPE, ROLLED_OUT, ROLLING_OUT, BuildLog, without_marks
from slipway.progress import Progress, Step

VERBS = {
    "create": "Create",
    "update": "Update",
    "delete": "Delete",
    "create-replacement": "Create replacement of",
    "delete-replaced": "Delete replaced",
    "import": "Import",
}
# The engine prints it about itself each time, and it is useless.
NOISE = ("using pulumi-",)

Key = tuple[Urn, str]


class OperationError(Exception):
    """Marks a line of the display as failed; it is never shown."""


@dataclass
class UpdateDisplay:
    """Feeds the engine's events to `progress`."""

    progress: Progress
    whole: Step
    _running: dict[Key, tuple[AbstractContextManager[Step], Step]] = field(default_factory=dict)
    _builds: dict[Urn, BuildLog] = field(default_factory=dict)
    _changed: int = 0
    _unchanged: int = 0

    def show(self, event: Event) -> None:
        if isinstance(event, Started):
            self._start(event)
        elif isinstance(event, Finished):
            self._end(event, None)
        elif isinstance(event, Failed):
            self._end(event, OperationError())
        elif isinstance(event, Diagnostic):
            self._say(event)

    def close(self, *, interrupted: bool) -> None:
        """End the lines that the engine never ended: it was interrupted, or a build failed in a preview."""
        for key in list(self._running):
            self._leave(key, KeyboardInterrupt() if interrupted else OperationError())

    def _start(self, event: Started) -> None:
        if event.operation in VERBS and _is_worth_a_line(event):
            title = f"{VERBS[event.operation]} {event.resource}"
            context = self.progress.step(title)
            self._running[event.resource, event.operation] = (context, context.__enter__())

    def _end(self, event: StepEvent, error: BaseException | None) -> None:
        if _is_worth_a_line(event):
            self._changed += event.operation in VERBS
            self._unchanged += event.operation == "same"
            self.whole.update(f"{self._changed} changed, {self._unchanged} unchanged")
        self._leave((event.resource, event.operation), error)

    def _leave(self, key: Key, error: BaseException | None) -> None:
        context, _ = self._running.pop(key, (None, None))
        if context is None:
            return
        try:
            context.__exit__(type(error) if error else None, error, None)
        except (OperationError, KeyboardInterrupt) as raised:
            if raised is not error:
                raise

    def _say(self, event: Diagnostic) -> None:
        if event.ephemeral:
            self._status(event)
        elif event.severity != "error" and event.message.strip() and not event.message.startswith(NOISE):
            about = f"{event.resource}: " if event.resource and event.resource.type != STACK_TYPE else ""
            self.progress.note(f"{about}{event.message}")

    def _status(self, event: Diagnostic) -> None:
        resource = event.resource
        if resource is None:
            return
        text = event.message
        if text.startswith((ROLLING_OUT, ROLLED_OUT)):
            self._roll_out(resource, text)
            return
        if resource.type == IMAGE_TYPE:
            text = without_marks(text)
            started = self._builds.setdefault(resource, BuildLog()).add(event.message, event.at_seconds)
            if started and not self.progress.console.is_interactive:
                self.progress.note(f"{resource.name}: {started.headline}")
        for (running, _), (_, step) in self._running.items():
            if running == resource and text.strip():
                step.update(text)

    def _roll_out(self, resource: Urn, text: str) -> None:
        """Show a separate line for a rollout: the program waits for it after the engine is done with the Deployment."""
        key = (resource, ROLLING_OUT)
        if text.startswith(ROLLED_OUT):
            self._leave(key, None)
            return
        if key not in self._running:
            context = self.progress.step(f"Roll out {resource.name}")
            self._running[key] = (context, context.__enter__())
        self._running[key][1].update(text.removeprefix(f"{ROLLING_OUT}: "))


def _is_worth_a_line(event: StepEvent) -> bool:
    """Not for components and providers: they take no time, and are not in the cluster."""
    return event.custom and not event.resource.type.startswith("pulumi:")
