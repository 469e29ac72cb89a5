"""Notices a run of the engine that does not end because the policy pack does not load, or does not answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from slipway.engine.events import STACK_TYPE, Event, Failed, Finished, Started, Urn
from slipway.errors import ConfigurationError

VARIABLE = "SLIPWAY_POLICY_TIMEOUT_SECONDS"
ADVICE = f"Fix the policy that hangs, and test it with `slipway preview`. For a slow one, raise {VARIABLE}."
LOADING_SECONDS = 60.0
# Longer than the deadline that the pack sets for its own rules (policy/judge.py), which names the rule.
SILENCE_SECONDS = 300.0
LOADING = '"policyLoadEvent":'
LOADED = '"preludeEvent":'


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
        text = environment.get(VARIABLE, "")
        if not text:
            return cls(pack)
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not seconds > 0:
            raise ConfigurationError(
                f"{VARIABLE} is `{text}`.", why="Allowed is a number of seconds above 0.", next_step="Set or unset it."
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
