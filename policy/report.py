"""Writes the results of the rules as text: short lines for the engine's list, and the whole text of a refusal."""

from __future__ import annotations

from collections.abc import Iterable

from policy.judge import Report
from policy.model import Level, Result, State
from slipway.engine.messages import DECIDED_AT_UPDATE, POLICY_ERROR, POLICY_VIOLATION, WAIVED

ERROR = f"{POLICY_ERROR} "
WHERE_TO_LOOK = "All rules: docs/policy.md. To waive a rule for a limited time: policy/waivers.yaml."


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
    return (
        "\n".join(["values that mandatory rules need are not known before the update.", *_listed(mandatory)])
        if mandatory
        else ""
    )


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
    return [line for same in by_rule.values() for line in _of_one_rule(same)]


def _of_one_rule(results: list[Result]) -> list[str]:
    first = results[0]
    lines = [f"  {first.rule.id} [{first.level}] {first.rule.title}"]
    for result in results:
        lines += [f"    {result.resource.ref}  {problem}" for problem in result.problems]
        if result.waiver:
            lines.append(f"    {WAIVED}{result.waiver}")
    if first.state is State.VIOLATION:
        lines += [f"    Why: {first.rule.why}", f"    Fix: {first.rule.remedy}"]
    return lines
