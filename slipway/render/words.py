"""The words for a preview's summary that the terminal and the comment on a pull request have in common. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

import yaml

from slipway.deploy.summary import Commits, ImageChange, PreviewResult, PreviewSummary, Violation
from slipway.masking import UNKNOWN
from slipway.render.markdown_text import shortened
from slipway.state.difference import FieldChange, Operation, ResourceChange

POD = "spec.template.spec."
CHANGES = "(changes)"
COMMIT_DIGITS = 8
DIGEST_DIGITS = 8
DIGEST_UNKNOWN = UNKNOWN.replace("(", "(digest ")
NAME = "…"
DRIFT_NOTES = {Operation.CREATE: "in the cluster, not in the state", Operation.DELETE: "gone from the cluster"}


def counted(number: int, noun: str) -> str:
    """`1 rule`, `2 rules`, `2 policies`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def is_incomplete(summary: PreviewSummary) -> bool:
    return summary.result in (PreviewResult.FAILED, PreviewResult.INTERRUPTED)


def rules_text(summary: PreviewSummary) -> str:
    """How many policies were evaluated, or that none was."""
    if not summary.rules:
        return "No policy was evaluated" + (": it ended before that." if is_incomplete(summary) else ".")
    if is_incomplete(summary):
        ended = "was interrupted" if summary.result is PreviewResult.INTERRUPTED else "failed"
        return f"{counted(summary.rules, 'policy')} evaluated before it {ended}."
    broken = {violation.rule for violation in summary.violations}
    passed = max(0, summary.rules - len(broken))
    return f"{counted(summary.rules, 'policy')} evaluated, {passed} passed."


def kinds_text(changes: Iterable[ResourceChange]) -> str:
    """`2 Deployment, Service`: how many there are of each kind."""
    found = Counter(change.resource.kind for change in changes)
    return ", ".join(kind if number == 1 else f"{number} {kind}" for kind, number in sorted(found.items()))


def how_replaced(change: ResourceChange) -> str:
    return "the old one is deleted first: it is gone in between" if change.deleted_first else "new one first"


def short_path(path: str) -> str:
    """The path, for fields of pods without their common prefix."""
    return f"…{path.removeprefix(POD)}" if path.startswith(POD) else path


def value_texts(field: FieldChange) -> tuple[str, str]:
    """The old and the new value; an empty text if there is none."""
    if field.kind == "update":
        return shortened(field.old or ""), shortened(field.new) if field.new is not None else CHANGES
    return shortened(field.old or ""), shortened(field.new or "")


def image_texts(image: ImageChange) -> tuple[str, str]:
    """Old and new, without the repository if that stays the same."""
    new = image.new
    if image.new == UNKNOWN:
        new = f"{repository(image.old)}:{image.new_tag} {DIGEST_UNKNOWN}" if image.new_tag else UNKNOWN
    old = image.old
    if repository(old) == repository(new):
        old, new = (text.removeprefix(repository(old)).lstrip("@:") for text in (old, new))
    return shortened(old), shortened(new)


def repository(reference: str) -> str:
    """An image reference without tag and digest."""
    before = reference.split("@", maxsplit=1)[0]
    host, slash, path = before.rpartition("/")
    return f"{host}{slash}{path.split(':')[0]}"


def as_yaml(text: str | None) -> str:
    """An object or a list in JSON, as YAML; empty for any other text."""
    if not text or text[0] not in "[{":
        return ""
    try:
        value = json.loads(text)
    except ValueError:
        return ""
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True)) if value else ""


def commits_text(commits: Commits) -> str:
    """`1234abcd → 5678ef01`: the deployed commit and the previewed one, as far as they are known."""
    shown = []
    for commit in filter(None, (commits.deployed, commits.previewed)):
        digits, dash, mark = commit.partition("-")
        shown.append(f"{digits[:COMMIT_DIGITS]}{dash}{mark}")
    return " → ".join(dict.fromkeys(shown))


def grouped_violations(violations: Iterable[Violation]) -> dict[tuple[str, str, str], list[Violation]]:
    """Violations by rule, weight and message; in a message for several resources, "…" stands for each one's own name.

    The resources of each are in alphabetical order: the engine reports them in another order every time.
    """
    groups: dict[tuple[str, str, str], list[Violation]] = {}
    for violation in violations:
        name = violation.resource.name if violation.resource else ""
        message = violation.message.replace(name, NAME) if name else violation.message
        groups.setdefault((violation.rule, violation.weight, message), []).append(violation)
    return {
        (rule, weight, alike[0].message if len(alike) == 1 else message): sorted(
            alike, key=lambda each: str(each.resource)
        )
        for (rule, weight, message), alike in groups.items()
    }
