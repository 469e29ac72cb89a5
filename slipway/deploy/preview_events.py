"""Collects the engine's events of a preview, and makes a summary of what an update would do.

It reads the streamed events (`PULUMI_ENABLE_STREAMING_JSON_PREVIEW`), not the digest of `pulumi preview --json`: the
digest drops policies, failures and build logs, and comes only at the end.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.backend.promotion import runs_tests
from slipway.deploy.summary import PreviewProblem, PreviewResult, PreviewSummary, Violation
from slipway.engine.errors import ECHOES
from slipway.engine.events import (
    STACK_TYPE,
    Diagnostic,
    Event,
    Finished,
    Started,
    StepEvent,
    SummaryEvent,
    Urn,
    is_debug,
    parse,
)
from slipway.engine.stages import EXIT_CODE, IMAGE_TYPE, TEST_STAGE, BuildLog, build_logs
from slipway.masking import masked, masked_text, without_keys
from slipway.render.service_changes import image_changes
from slipway.state.checkpoint import CONTENT, TEST_SUFFIX, WORKLOAD_COMPONENTS, service_of, successors, with_owners
from slipway.state.difference import FieldChange, Operation, ResourceChange, StepDetails, field_changes

STREAMING = {"PULUMI_ENABLE_STREAMING_JSON_PREVIEW": "true"}
OPERATIONS = {
    "create": Operation.CREATE,
    "import": Operation.CREATE,
    "update": Operation.UPDATE,
    "delete": Operation.DELETE,
    "discard": Operation.DELETE,
    "replace": Operation.REPLACE,
    "create-replacement": Operation.REPLACE,
    "import-replacement": Operation.REPLACE,
    "delete-replaced": Operation.REPLACE,
}
# A test stage that leaves the state is not built.
BUILDING = ("create", "update", "replace", "create-replacement")
POLICY_EVENT = "policyEvent"
PROVIDER_PREFIX = "pulumi:providers:"
# Most events of a large stack are about resources that do not change; they need not be read.
UNCHANGED = '{"metadata":{"op":"same",'
# Providers and the engine print these in every preview; a reviewer does not need them.
NOT_BUILT = "Skipping preview build because some inputs are unknown"
NOISE = ("using pulumi-", NOT_BUILT)

Steps = Mapping[str, Mapping[str, Any]]
"""What the engine announced for one resource, by operation."""


@dataclass
class PreviewEvents:
    """Collects the output, line by line; `summary` may be called at any time, also after a preview broke off."""

    events: list[Event] = field(default_factory=list)
    rules: set[tuple[str, str]] = field(default_factory=set)
    violations: list[Violation] = field(default_factory=list)
    _steps: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: defaultdict(dict))

    def take(self, line: str, at_seconds: float) -> Event | None:
        """Process one line of the engine's output; returns the typed event, to show progress."""
        if is_debug(line):
            return None
        if UNCHANGED not in line[:120]:
            self._remember(_loaded(line))
        event = parse(line, at_seconds)
        if event is not None:
            self.events.append(event)
        return event

    def _remember(self, event: Mapping[str, Any]) -> None:
        if step := event.get("resourcePreEvent"):
            metadata = step["metadata"]
            if metadata["op"] != "refresh":
                self._steps[metadata["urn"]][metadata["op"]] = metadata
        if body := event.get(POLICY_EVENT):
            self.violations.append(_violation(body))
        for name in ("policyAnalyzeSummaryEvent", "policyAnalyzeStackSummaryEvent"):
            if body := event.get(name):
                rules = (*body.get("passed", ()), *body.get("failed", ()))
                self.rules.update((body.get("policyPackName", ""), rule) for rule in rules)

    def summary(self, project: str, stack: str, **more: Any) -> PreviewSummary:
        """The summary so far; `more` are fields of PreviewSummary that the events do not have."""
        states = (step.get("new") or step.get("old") for steps in self._steps.values() for step in steps.values())
        services = {each.urn: each.service for each in with_owners(filter(None, states))}
        changes = tuple(change for steps in _paired(self._steps) if (change := _change(steps, services)))
        problems = self.problems()
        ended = (event for event in reversed(self.events) if isinstance(event, SummaryEvent))
        counts: Mapping[str, int] = next((event.changes for event in ended), {})
        declared = (event for event in self.events if isinstance(event, StepEvent) and event.operation != "delete")
        return PreviewSummary(
            project,
            stack,
            self._result(problems),
            changes=tuple(sorted(changes, key=_order)),
            unchanged=counts.get("same", 0),
            services=tuple(
                sorted({step.resource.name for step in declared if step.resource.type in WORKLOAD_COMPONENTS})
            ),
            images=image_changes(changes),
            tested=self._tested(),
            rules=len(self.rules),
            violations=tuple(self.violations),
            problems=problems,
            warnings=self._warnings(),
            **more,
        )

    def problems(self) -> tuple[PreviewProblem, ...]:
        logs = build_logs(self.events)
        found = (_problem(event, logs) for event in self._diagnostics("error"))
        return tuple(dict.fromkeys(found))

    def _tested(self) -> tuple[str, ...]:
        """The services whose test stage was completely built."""
        built = {event.resource for event in self.events if isinstance(event, Finished) and event.operation in BUILDING}
        built -= {event.resource for event in self._diagnostics("warning") if event.message.startswith(NOT_BUILT)}
        started = [event for event in self.events if isinstance(event, Started) and event.resource.type == IMAGE_TYPE]
        with_tests = {event.resource for event in started if runs_tests(event.inputs)}
        with_tests |= {event.resource for event in started if event.resource.name.endswith(TEST_SUFFIX)}
        return tuple(sorted(resource.name.removesuffix(TEST_SUFFIX) for resource in built & with_tests))

    def _diagnostics(self, severity: str) -> list[Diagnostic]:
        return [
            event
            for event in self.events
            if isinstance(event, Diagnostic)
            and event.severity == severity
            and not event.ephemeral
            and event.message.strip()
            and not event.message.strip().startswith(ECHOES)
        ]

    def _warnings(self) -> tuple[str, ...]:
        said = [
            f"{event.resource}: {masked_text(event.message)}" if _named(event.resource) else masked_text(event.message)
            for event in self._diagnostics("warning")
            if not event.message.startswith(NOISE)
        ]
        return tuple(dict.fromkeys(said))

    def _result(self, problems: tuple[PreviewProblem, ...]) -> PreviewResult:
        if problems:
            return PreviewResult.FAILED
        if any(violation.refuses for violation in self.violations):
            return PreviewResult.REFUSED
        ended = [event for event in self.events if isinstance(event, SummaryEvent)]
        return PreviewResult.SUCCEEDED if ended and ended[-1].result == "succeeded" else PreviewResult.FAILED


def _problem(event: Diagnostic, logs: Mapping[Urn, BuildLog]) -> PreviewProblem:
    """The problem of an error event: a failed image build has no failed operation in a preview, only an error."""
    resource, message = _named(event.resource), masked_text(event.message.strip())
    service = service_of(resource.urn) if resource else ""
    log = logs.get(resource) if resource and resource.type == IMAGE_TYPE else None
    step = log.failed_step() if log else None
    if step is None:
        return PreviewProblem(message, resource, service)
    if exit_code := EXIT_CODE.search(message):
        what = "The unit tests" if step.stage == TEST_STAGE else "The build"
        message = f"{what} stopped with exit code {exit_code[1]}."
    output = masked_text("\n".join(step.output)).split("\n") if step.output else ()
    return PreviewProblem(message, resource, service, masked_text(step.instruction or step.title), tuple(output))


def _loaded(line: str) -> Mapping[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:  # a plugin printed it past the engine; `parse` ignores it too
        return {}
    return event if isinstance(event, dict) else {}


def _order(change: ResourceChange) -> tuple[int, str, str, str]:
    return list(Operation).index(change.operation), change.service, change.resource.kind, change.resource.name


def _paired(all_steps: Mapping[str, Steps]) -> Iterator[Steps]:
    """The steps of each resource; two resources that are one object with other content become one replacement."""
    deleted = [urn for urn, steps in all_steps.items() if "delete" in steps]
    created = [urn for urn, steps in all_steps.items() if "create" in steps]
    pairs = successors(deleted, created)
    for urn, steps in all_steps.items():
        if urn in pairs:
            old, new = steps["delete"].get("old") or {}, all_steps[pairs[urn]]["create"]
            content = [key for key in CONTENT if key in (old.get("inputs") or {})]
            yield {"replace": {**new, "old": old, "diffs": content, "keys": content}}
        elif urn not in pairs.values():
            yield steps


def _change(steps: Steps, services: Mapping[str, str]) -> ResourceChange | None:
    """One change from the steps that the engine announced for a resource; `None` if it is no real object."""
    known = [operation for operation in steps if operation in OPERATIONS]
    telling = next((name for name in ("replace", "create-replacement", *known) if name in known), None)
    if telling is None:
        return None
    step, operation = steps[telling], OPERATIONS[telling]
    old, new = step.get("old") or {}, step.get("new") or {}
    resource = Urn(step["urn"])
    if not (new or old).get("custom") or (resource.type.startswith(PROVIDER_PREFIX) and operation is Operation.CREATE):
        return None
    replacement = next((name for name in known if name in ("create-replacement", "import-replacement")), None)
    return ResourceChange(
        resource,
        operation,
        services.get(resource.urn, ""),
        _fields(step, old, new) if operation in (Operation.UPDATE, Operation.REPLACE) else (),
        deleted_first=replacement is not None and "delete-replaced" in known[: known.index(replacement)],
        kept=operation is Operation.DELETE and (bool(old.get("retainOnDelete")) or telling == "discard"),
        before={} if operation is Operation.CREATE else masked(old.get("inputs") or {}, resource.type),
        after={} if operation is Operation.DELETE else masked(new.get("inputs") or {}, resource.type),
    )


def _fields(step: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    return field_changes(
        StepDetails(
            Urn(step["urn"]).type,
            old.get("inputs") or {},
            new.get("inputs") or {},
            old.get("outputs") or {},
            step.get("detailedDiff") or {},
            step.get("diffs") or (),
            step.get("keys") or (),
        )
    )


def violation_in(line: str) -> Violation | None:
    """The policy violation in one line of the engine's output; `None` for any other line."""
    body = _loaded(line).get(POLICY_EVENT) if f'"{POLICY_EVENT}":' in line else None
    return _violation(body) if body else None


def _violation(body: Mapping[str, Any]) -> Violation:
    urn = body.get("resourceUrn")
    return Violation(
        str(body.get("policyName", "")),
        str(body.get("enforcementLevel", "")),
        without_keys(str(body.get("message", "")).strip()),
        _named(Urn(urn)) if urn else None,
        str(body.get("policyPackName", "")),
    )


def _named(resource: Urn | None) -> Urn | None:
    """The resource; `None` for the stack itself, whose name means nothing to a reader."""
    return None if resource is None or resource.type == STACK_TYPE else resource
