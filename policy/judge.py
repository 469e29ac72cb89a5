"""Checks rules on resources, within a deadline, and writes the results (violation, undecided, waived) as text."""

from __future__ import annotations

import faulthandler
import threading
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from policy.declaration import Problem, Resource, Undecided, View
from policy.files import PolicySettings, Waivers, load_settings, load_waivers
from policy.model import Level, Result, Rule, State
from policy.rules import ALL
from policy.stack import DeclaredStack
from slipway.engine.messages import DECIDED_AT_UPDATE, POLICY_ERROR, POLICY_VIOLATION, WAIVED

T = TypeVar("T")
DEADLINE_SECONDS = 60.0
# For a rule that lets no other thread run, such as a regular expression that backtracks for ever.
LAST_RESORT_SECONDS = 5.0
ERROR = f"{POLICY_ERROR} "
WHERE_TO_LOOK = "All rules: docs/policy.md. To waive a rule for a limited time: policy/waivers.yaml."


class DeadlineError(TimeoutError):
    """A call was not done in time; says which."""


class Deadline:
    """The time for each of any number of calls, in seconds; if a call blocks the process, the process is ended."""

    def __init__(self, timeout_seconds: float = DEADLINE_SECONDS) -> None:
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._running = 0

    def run(self, work: Callable[[], T], doing: Callable[[], str]) -> T:
        """The result of `work`. If it takes too long, raises DeadlineError, which names the result of `doing`."""
        result: Future[T] = Future()

        def fulfil() -> None:
            try:
                result.set_result(work())
            except BaseException as error:  # noqa: BLE001 (handed over to the caller)
                result.set_exception(error)

        with self._lock:
            self._running += 1
            faulthandler.dump_traceback_later(self._timeout_seconds + LAST_RESORT_SECONDS, exit=True)
        try:
            threading.Thread(target=fulfil, daemon=True).start()
            return result.result(self._timeout_seconds)
        except TimeoutError as error:
            if result.done():  # it raised a TimeoutError of its own
                raise
            raise DeadlineError(f"{doing()} did not finish in {self._timeout_seconds:g} s") from error
        finally:
            with self._lock:
                self._running -= 1
                if not self._running:
                    faulthandler.cancel_dump_traceback_later()


UNDECIDED = "not known before the update"
# These tell the program to roll back to a recorded state: slipway/rollback/plan.py, and a key of the stack's settings.
REPLAY_VARIABLE, REPLAY_KEY = "SLIPWAY_ROLLBACK", "slipway:rollbackTo"


class RuleError(RuntimeError):
    """A rule itself failed. Says where, without the values it looked at."""

    def __init__(self, rule: Rule, resource: Resource, error: Exception) -> None:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        super().__init__(f"rule `{rule.id}` failed on {resource.ref}: {type(error).__name__} at {place}")


@dataclass
class Judge:
    """The rules that are checked in one stack. `current` is the check in progress, for the deadline's message."""

    settings: PolicySettings
    waivers: Waivers = field(default_factory=Waivers)
    rules: tuple[Rule, ...] = ALL
    current: str = ""
    replays: bool = False
    """Whether a recorded state is judged."""

    @classmethod
    def of(cls, stack: str, config: Mapping[str, str], environ: Mapping[str, str]) -> Judge:
        """The judge of a stack from the files of this folder; raises PolicyFileError for unusable settings."""
        waivers = load_waivers(stack, (rule.id for rule in ALL))
        replays = bool(environ.get(REPLAY_VARIABLE)) or REPLAY_KEY in config
        if replays:  # today's waivers belong to today's program: a rollback does not report their problems
            waivers = replace(waivers, problems=())
        return cls(load_settings(stack, config, environ), waivers, replays=replays)

    def level(self, rule: Rule) -> Level:
        return rule.levels.of(self.settings.tier)

    def evaluate_resource(self, resource: Resource) -> list[Result]:
        """The results of the rules for single resources; rules that do not apply to it give none."""
        return self._ask(resource, DeclaredStack([resource]), stack_wide=False)

    def evaluate_stack(self, resources: Iterable[Resource], others: Collection[str] = ()) -> list[Result]:
        """The results of the stack-wide rules for all resources except those with URNs in `others`."""
        stack = DeclaredStack(resources, self.settings.registries)
        judged = (each for each in stack.resources if each.urn not in others)
        return [result for each in judged for result in self._ask(each, stack, stack_wide=True)]

    def evaluate(self, resources: Iterable[Resource]) -> Report:
        """All rules, over all resources of a stack."""
        resources = tuple(resources)
        alone = [result for each in resources for result in self.evaluate_resource(each)]
        return self.report([*alone, *self.evaluate_stack(resources)])

    def report(self, results: Iterable[Result]) -> Report:
        """The results of a whole stack, with the problems of the waivers."""
        results = tuple(results)
        return Report(self.settings, results, (*self.waivers.problems, *self.unused_waivers(results)))

    def unused_waivers(self, results: Iterable[Result]) -> list[str]:
        """A problem for each waiver that no result of a whole stack needed.

        A waiver of a rule that is off here is left out: it may be needed elsewhere.
        """
        if self.replays:
            return []
        waived = [each for each in results if each.state is State.WAIVED]
        used = [self.waivers.of(each.rule.id, each.resource.ref) for each in waived]
        off = {rule.id for rule in self.rules if self.level(rule) is Level.OFF}
        return self.waivers.unused([*filter(None, used), *(each for each in self.waivers.entries if each.rule in off)])

    def _ask(self, resource: Resource, stack: DeclaredStack, *, stack_wide: bool) -> list[Result]:
        results: list[Result] = []
        subjects: dict[object, list[View]] = {}
        for rule in self.rules:
            if rule.stack_wide is not stack_wide or self.level(rule) is Level.OFF:
                continue
            self.current = f"rule `{rule.id}` on {resource.ref}"
            try:
                if rule.subjects not in subjects:
                    subjects[rule.subjects] = list(rule.subjects(resource))
                if subjects[rule.subjects]:
                    results.append(self._result(rule, resource, subjects[rule.subjects], stack))
            except Exception as error:
                raise RuleError(rule, resource, error) from error
        return results

    def _result(self, rule: Rule, resource: Resource, subjects: list[View], stack: DeclaredStack) -> Result:
        problems: list[Problem] = []
        unknown: list[Problem] = []
        for subject in subjects:
            try:
                # One by one: problems found before an unknown value count.
                for problem in rule.check(subject, stack):
                    problems.append(problem)
            except Undecided as reason:
                unknown.append(Problem(reason.path, UNDECIDED))
        state = State.VIOLATION if problems else State.UNDECIDED if unknown else State.PASS
        waiver = self.waivers.of(rule.id, resource.ref) if state is not State.PASS else None
        if waiver:
            return Result(rule, self.level(rule), resource, State.WAIVED, tuple(problems or unknown), str(waiver))
        return Result(rule, self.level(rule), resource, state, tuple(problems or unknown))


@dataclass(frozen=True)
class Report:
    """The results of the rules on a whole stack; `waiver_problems` are texts with file and line."""

    settings: PolicySettings
    results: tuple[Result, ...]
    waiver_problems: tuple[str, ...] = ()

    def of(self, state: State) -> list[Result]:
        return [result for result in self.results if result.state is state]

    @property
    def refusals(self) -> list[Result]:
        return [result for result in self.results if result.refuses]

    @property
    def refuses(self) -> bool:
        """Whether the update is refused."""
        return bool(self.refusals or self.waiver_problems)


def message(result: Result) -> str:
    """The text that the engine shows under the rule's name; its first words tell the states apart."""
    problems = "\n".join(map(str, result.problems))
    if result.state is State.UNDECIDED:
        return DECIDED_AT_UPDATE + problems
    if result.state is State.WAIVED:
        return f"{WAIVED}{result.waiver}\n{problems}"
    return f"{problems}\n{result.rule.remedy}"


def refusal(report: Report) -> str:
    """Why the update is refused; empty if it is not."""
    if not report.refuses:
        return ""
    rules = len({result.rule.id for result in report.refusals})
    broken = f"stack {report.settings.stack} breaks {rules} mandatory rule{'' if rules == 1 else 's'}" if rules else ""
    waivers = "policy/waivers.yaml has errors" if report.waiver_problems else ""
    what = " and ".join(filter(None, (broken, waivers)))
    lines = [*_listed(report.refusals), *(f"  {problem}" for problem in report.waiver_problems)]
    return "\n".join([f"{POLICY_VIOLATION} {what}.", *lines, WHERE_TO_LOOK])


def undecided(report: Report) -> str:
    """The mandatory rules that cannot be decided before the update; empty if there are none."""
    mandatory = [each for each in report.of(State.UNDECIDED) if each.level is Level.MANDATORY]
    if not mandatory:
        return ""
    return "\n".join(["values that mandatory rules need are not known before the update.", *_listed(mandatory)])


def notes(report: Report) -> str:
    """Results that people should know but that refuse nothing; empty if there are none."""
    parts = (
        _part("Policy advice:", (each for each in report.of(State.VIOLATION) if each.level is Level.ADVISORY)),
        _part("Policies that only the update can decide:", report.of(State.UNDECIDED)),
        _part("Waived policies:", report.of(State.WAIVED)),
    )
    return "\n".join(filter(None, parts))


def _part(title: str, results: Iterable[Result]) -> str:
    lines = _listed(results)
    return "\n".join([title, *lines]) if lines else ""


def _listed(results: Iterable[Result]) -> list[str]:
    """Rule by rule, because one mistake in a component shows in every service."""
    by_rule: dict[str, list[Result]] = {}
    for result in results:
        by_rule.setdefault(result.rule.id, []).append(result)
    lines: list[str] = []
    for same in by_rule.values():
        first = same[0]
        lines.append(f"  {first.rule.id} [{first.level}] {first.rule.title}")
        for result in same:
            lines += [f"    {result.resource.ref}  {problem}" for problem in result.problems]
            if result.waiver:
                lines.append(f"    {WAIVED}{result.waiver}")
        if first.state is State.VIOLATION:
            lines += [f"    Why: {first.rule.why}", f"    Fix: {first.rule.remedy}"]
    return lines
