"""What an update would do, in the terms of the person who has to decide on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from slipway.engine.events import Urn
from slipway.engine.messages import DECIDED_AT_UPDATE, WAIVED
from slipway.state.difference import Operation, ResourceChange

MANDATORY = "mandatory"


class PreviewResult(StrEnum):
    """How the preview ended; part of the JSON that is documented in docs/pull-requests.md."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    """A mandatory policy is violated, and nothing else went wrong."""
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class ImageChange:
    """A running image that another replaces; a preview knows `new_tag` even if it does not know the digest."""

    resource: Urn
    service: str
    old: str
    new: str
    new_tag: str = ""


class ViolationState(StrEnum):
    """The result of a rule for a resource that does not keep it, or may not keep it."""

    VIOLATION = "violation"
    UNDECIDED = "undecided"
    """It depends on a value that only the update will know."""
    WAIVED = "waived"


@dataclass(frozen=True)
class Violation:
    """A rule that a resource (`None`: the stack as a whole) does not keep, or may not keep."""

    rule: str
    level: str
    message: str
    resource: Urn | None
    pack: str = ""

    @property
    def state(self) -> ViolationState:
        if self.message.startswith(DECIDED_AT_UPDATE):
            return ViolationState.UNDECIDED
        return ViolationState.WAIVED if self.message.startswith(WAIVED) else ViolationState.VIOLATION

    @property
    def weight(self) -> str:
        """The level to show: a violation that refuses nothing is advisory to the engine, whatever its rule's level."""
        return self.level if self.state is ViolationState.VIOLATION else self.state.value

    @property
    def refuses(self) -> bool:
        return self.level == MANDATORY and self.state is ViolationState.VIOLATION


@dataclass(frozen=True)
class PreviewProblem:
    """A failure; `step` and `output` are those of an image build, for example of its unit tests."""

    message: str
    resource: Urn | None = None
    service: str = ""
    step: str = ""
    output: tuple[str, ...] = ()
    next_step: str = ""


@dataclass(frozen=True)
class Commits:
    """The commit that is previewed and the one that the stack was last updated from; empty if unknown."""

    previewed: str = ""
    deployed: str = ""


@dataclass(frozen=True)
class PreviewSummary:
    """A preview, complete or until it ended."""

    project: str
    stack: str
    result: PreviewResult
    duration_seconds: float = 0.0
    changes: tuple[ResourceChange, ...] = ()
    unchanged: int = 0
    services: tuple[str, ...] = ()
    """Every service of the program, whether or not it changes."""
    images: tuple[ImageChange, ...] = ()
    tested: tuple[str, ...] = ()
    """The services whose unit tests were run, or taken from the build cache, and passed."""
    rules: int = 0
    """How many rules were evaluated; 0 means that nothing was checked."""
    violations: tuple[Violation, ...] = ()
    problems: tuple[PreviewProblem, ...] = ()
    warnings: tuple[str, ...] = ()
    drift: tuple[ResourceChange, ...] | None = None
    """What differs from the recorded state, as `slipway drift` finds it; `None` if not requested."""
    changed_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The field managers, other than the program's own, that wrote an object, by URN, if drift was requested."""
    commits: Commits = field(default_factory=Commits)

    def of(self, operation: Operation) -> tuple[ResourceChange, ...]:
        """The changes of one operation, without image builds: those are `built`."""
        return tuple(change for change in self.changes if change.operation is operation and not change.is_build)

    def built(self) -> tuple[ResourceChange, ...]:
        return tuple(change for change in self.changes if change.is_build)

    def counts(self) -> Counter[Operation]:
        """The number of resources per operation, without builds and kept resources."""
        return Counter(change.operation for change in self.changes if not (change.is_build or change.kept))

    def refusals(self) -> tuple[Violation, ...]:
        return tuple(violation for violation in self.violations if violation.refuses)

    def advice(self) -> tuple[Violation, ...]:
        violations = (each for each in self.violations if each.state is ViolationState.VIOLATION)
        return tuple(violation for violation in violations if not violation.refuses)

    def notes(self) -> tuple[Violation, ...]:
        """Violations that are waived, or that only the update can decide."""
        return tuple(violation for violation in self.violations if violation.state is not ViolationState.VIOLATION)
