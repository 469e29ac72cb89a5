"""What every operation of a configured provider works with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from pulumi.runtime.proto import provider_pb2

from lab.plugins.kubernetes import directives, values
from lab.plugins.kubernetes.awaiting.registry import rule_for
from lab.plugins.kubernetes.awaiting.runner import NotReadyError, Wait
from lab.plugins.kubernetes.client import Answer
from lab.plugins.kubernetes.cluster import Cluster, Reached
from lab.plugins.kubernetes.discovery import Endpoint
from lab.plugins.kubernetes.engine import Engine
from lab.plugins.kubernetes.naming import object_id
from lab.plugins.kubernetes.settings import Settings
from lab.plugins.kubernetes.values import Object
from lab.plugins.serving import PluginError


@dataclass
class Configured:
    """One configured provider: its settings, its cluster, and the engine to talk to."""

    settings: Settings
    cluster: Cluster
    engine: Engine
    cancelled: threading.Event
    # Namespaces a preview found missing: every dry run in them would fail the same way.
    missing_namespaces: set[str] = field(default_factory=set)

    def reporter(self, urn: str) -> Reporter:
        return Reporter(self.engine, urn)

    def show_warnings(self, urn: str, answer: Answer) -> None:
        """Show what the API server warns of: deprecated versions, unknown fields, pod security."""
        for warning in answer.warnings:
            if not (self.settings.suppress_deprecation_warnings and "deprecated" in warning):
                self.engine.warn(urn, warning)

    def forces(self, inputs: Object) -> bool:
        """Whether fields of other managers are to be taken over."""
        return self.settings.enable_patch_force or directives.is_true(inputs, directives.PATCH_FORCE)

    def wait_until_ready(
        self, reached: Reached, endpoint: Endpoint, live: Object, inputs: Object, *, urn: str, timeout_seconds: float
    ) -> Object:
        """The object once it is ready; raises `NotReadyError`."""
        rule = rule_for(endpoint.target, inputs)
        if rule is None:
            return live
        allowed = directives.timeout_seconds(inputs, timeout_seconds) or rule.timeout_seconds
        report = self.reporter(urn)
        try:
            return Wait(reached, endpoint, live, rule, cancelled=self.cancelled, report=report).run(allowed)
        finally:
            report.clear()


class Reporter:
    """Shows one resource's progress; the same message is sent once."""

    def __init__(self, engine: Engine, urn: str) -> None:
        self._engine = engine
        self._urn = urn
        self._last = ""

    def __call__(self, message: str) -> None:
        if message and message != self._last:
            self._last = message
            self._engine.status(self._urn, message)

    def clear(self) -> None:
        if self._last:
            self._last = ""
            self._engine.status(self._urn, "")


Report = Callable[[str], None]


def half_done(error: NotReadyError, message: str, state: Object, inputs: Object | None = None) -> PluginError:
    """The error that makes the engine record an object that exists but is not ready, with the reasons."""
    detail = provider_pb2.ErrorResourceInitFailed(
        id=object_id(error.live),
        properties=values.write(state),
        reasons=[message, *error.reasons],
    )
    if inputs is not None:
        detail.inputs.CopyFrom(values.write(inputs))
    return PluginError(message, detail=detail)
