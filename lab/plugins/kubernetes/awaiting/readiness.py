"""The answer of a readiness function, and what it is asked about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from lab.plugins.kubernetes.values import Object, int_at, list_at, mapping_at, text_at


class State(Enum):
    """How an object stands."""

    DONE = "done"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True)
class Readiness:
    """How an object stands; `message` is for the screen now, `reasons` for the error if it stays so."""

    state: State
    message: str = ""
    reasons: tuple[str, ...] = ()


DONE = Readiness(State.DONE)


def waiting(message: str, *reasons: str) -> Readiness:
    return Readiness(State.WAITING, message, reasons)


def failed(message: str, *reasons: str) -> Readiness:
    return Readiness(State.FAILED, message, reasons)


def _no_age(_key: str) -> float:
    return 0.0


@dataclass(frozen=True)
class Sight:
    """What is seen at one moment: the object, the objects it depends on by role, and for how long things have been so.

    `age(key)` is the number of seconds since this wait first asked about that key without a break.
    """

    live: Object
    related: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    seconds: float = 0.0
    age: Callable[[str], float] = _no_age

    def of(self, role: str) -> Sequence[Object]:
        return self.related.get(role, ())


Judge = Callable[[Sight], Readiness]


def condition(live: Object, kind: str) -> Object:
    """The status condition of a type, or an empty object."""
    for item in list_at(live, "status", "conditions"):
        if isinstance(item, dict) and item.get("type") == kind:
            return item
    return {}


def is_condition_true(live: Object, kind: str) -> bool:
    return condition(live, kind).get("status") == "True"


def reason_of(item: Object) -> str:
    """A condition as the official plugin prints it: `[reason] message`."""
    return f"[{text_at(item, 'reason')}] {text_at(item, 'message')}"


def is_observed(live: Object) -> bool:
    """Whether the object's controller has seen its current specification."""
    return int_at(live, "status", "observedGeneration") >= int_at(live, "metadata", "generation")


def is_owned_by(item: Object, owner: Object) -> bool:
    uid = text_at(owner, "metadata", "uid")
    return any(text_at(reference, "uid") == uid for reference in list_at(item, "metadata", "ownerReferences"))


def labels_match(selector: Object, labels: Object) -> bool:
    """Whether a plain map of labels (a Service's selector) picks these labels."""
    return all(labels.get(key) == value for key, value in selector.items())


def selector_matches(selector: Object, labels: Object) -> bool:
    """Whether a LabelSelector with `matchLabels` and `matchExpressions` picks these labels."""
    return labels_match(mapping_at(selector, "matchLabels"), labels) and all(
        _expression_matches(expression, labels) for expression in list_at(selector, "matchExpressions")
    )


def _expression_matches(expression: Object, labels: Object) -> bool:
    key, operator, values = text_at(expression, "key"), text_at(expression, "operator"), list_at(expression, "values")
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return (key in labels) == (operator == "Exists")


def labels_of(item: Object) -> Object:
    return mapping_at(item, "metadata", "labels")
