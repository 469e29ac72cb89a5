"""Follows a run of the engine: shows each resource that changes, and notices policies that do not answer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from slipway.engine.events import STACK_TYPE, Diagnostic, Event, Failed, Finished, Started, StepEvent, Urn
from slipway.engine.stages import IMAGE_TYPE, ROLLED_OUT, ROLLING_OUT, BuildLog, without_marks
from slipway.errors import ConfigurationError
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

POLICY_TIMEOUT_VARIABLE = "SLIPWAY_POLICY_TIMEOUT_SECONDS"
POLICY_TIMEOUT_ADVICE = (
    f"Fix the policy that hangs, and test it with `slipway preview`. For a slow one, raise {POLICY_TIMEOUT_VARIABLE}."
)
LOADING_SECONDS = 60.0
# Longer than the deadline that the pack sets for its own rules (policy/judge.py), which names the rule.
SILENCE_SECONDS = 300.0
LOADING = '"policyLoadEvent":'
LOADED = '"preludeEvent":'

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
            if event.resource:
                self._show_status(event.resource, event)
        elif event.severity != "error" and event.message.strip() and not event.message.startswith(NOISE):
            about = f"{event.resource}: " if event.resource and event.resource.type != STACK_TYPE else ""
            self.progress.note(f"{about}{event.message}")

    def _show_status(self, resource: Urn, event: Diagnostic) -> None:
        text = event.message
        # A rollout has a line of its own: the program waits for it after the engine is done with the Deployment.
        rollout = (resource, ROLLING_OUT)
        if text.startswith(ROLLED_OUT):
            self._leave(rollout, None)
            return
        if text.startswith(ROLLING_OUT):
            if rollout not in self._running:
                context = self.progress.step(f"Roll out {resource.name}")
                self._running[rollout] = (context, context.__enter__())
            self._running[rollout][1].update(text.removeprefix(f"{ROLLING_OUT}: "))
            return
        if resource.type == IMAGE_TYPE:
            text = without_marks(text)
            started = self._builds.setdefault(resource, BuildLog()).add(event.message, event.at_seconds)
            if started and not self.progress.console.is_interactive:
                self.progress.note(f"{resource.name}: {started.headline}")
        for (running, _), (_, step) in self._running.items():
            if running == resource and text.strip():
                step.update(text)


def _is_worth_a_line(event: StepEvent) -> bool:
    """Not for components and providers: they take no time, and are not in the cluster."""
    return event.custom and not event.resource.type.startswith("pulumi:")


@dataclass
class PolicyPackTimeout:
    """Follows the engine's events; `overdue` says what has taken too long, and is called from another thread.

    Silence counts only while no resource is in progress: builds and providers have their own timeouts. An update may be
    silent while its checks run, so it is watched only until its first resource, while nothing is changed.
    """

    pack: Path
    loading_seconds: float = LOADING_SECONDS
    silence_seconds: float = SILENCE_SECONDS
    first_alone: bool = False
    """Whether to stop watching once a resource is done."""
    _loading: bool = False
    _judging: bool = False
    _heard_at_seconds: float = 0.0
    _under_way: set[tuple[Urn, str]] = field(default_factory=set)
    _last: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str], pack: Path) -> PolicyPackTimeout:
        """A watch with the user's deadline, if it is set; ConfigurationError if it is not a number above 0."""
        text = environment.get(POLICY_TIMEOUT_VARIABLE, "")
        if not text:
            return cls(pack)
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not seconds > 0:
            raise ConfigurationError(
                f"{POLICY_TIMEOUT_VARIABLE} is `{text}`.",
                why="Allowed is a number of seconds above 0.",
                next_step="Set or unset it.",
            )
        return cls(pack, seconds, seconds)

    @classmethod
    def of_update(cls, environment: Mapping[str, str], pack: Path) -> PolicyPackTimeout:
        """As `of`, for an update."""
        return replace(cls.of(environment, pack), first_alone=True)

    def take(self, line: str, event: Event | None, at_seconds: float) -> None:
        """Process one line of the engine's output and the event in it."""
        self._heard_at_seconds = at_seconds
        if LOADING in line:
            self._loading = True
        elif LOADED in line:
            self._loading, self._judging = False, True
        if isinstance(event, Started) and event.resource.type != STACK_TYPE:
            self._under_way.add((event.resource, event.operation))
        elif isinstance(event, Finished | Failed):
            self._under_way.discard((event.resource, event.operation))
            self._last = str(event.resource)

    def overdue(self, now_seconds: float) -> str:
        """What has taken too long by now; empty if all is well."""
        silent_seconds = now_seconds - self._heard_at_seconds
        if self._loading and silent_seconds > self.loading_seconds:
            return f"the policy pack {self.pack} did not load in {self.loading_seconds:g} s"
        watched = self._judging and not self._under_way and not (self.first_alone and self._last)
        if watched and silent_seconds > self.silence_seconds:
            after = f" after {self._last}" if self._last else ""
            return f"the program and the policy pack {self.pack} sent no message{after} for {self.silence_seconds:g} s"
        return ""
