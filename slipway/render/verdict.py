"""How a preview ended, in a line: what would change, by service, and whether it may. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from slipway.deploy.summary import PreviewResult, PreviewSummary
from slipway.engine.stages import IMAGE_TYPE
from slipway.render.markdown_text import some_of
from slipway.render.service_changes import Fate, ServiceChanges, service_changes
from slipway.render.words import counted
from slipway.state.difference import Operation

FATES = {
    Fate.REMOVED: ("is removed", "are removed"),
    Fate.CHANGED: ("changes", "change"),
    Fate.NEW: ("is new", "are new"),
}
NAMED_SERVICES = 6
OUTSIDE = "outside any service"


def verdict(summary: PreviewSummary) -> str:
    """How it ended, in a few words."""
    refusals = len(summary.refusals())
    if summary.result is PreviewResult.REFUSED:
        return f"refused by policy, {counted(refusals, 'mandatory violation')}"
    if summary.result is PreviewResult.FAILED:
        also = f", and {counted(refusals, 'mandatory policy violation')}" if refusals else ""
        return f"failed{also}"
    if summary.result is PreviewResult.INTERRUPTED:
        return "interrupted"
    drifted = f"; {counted(len(summary.drift), 'object')} drifted from the state" if summary.drift else ""
    return f"{counts(summary)}{drifted}"


def symbol(summary: PreviewSummary) -> str:
    """❌ if it may not happen, ⚠️ if something is deleted or has drifted, or if nothing was checked."""
    if summary.result is not PreviewResult.SUCCEEDED:
        return "❌"
    lost = any(not change.kept for change in summary.of(Operation.DELETE))
    risky = lost or any(change.deleted_first for change in summary.changes) or summary.drift or not summary.rules
    return "⚠️" if risky else "✅"


def counts(summary: PreviewSummary) -> str:
    """`2 services change, 1 service is new, 1 other object changes`."""
    changes = service_changes(summary)
    fates = Counter(each.fate for each in changes if each.service)
    parts = [f"{counted(fates[fate], 'service')} {FATES[fate][fates[fate] != 1]}" for fate in Fate if fates[fate]]
    others = sum(not change.service and change.resource.type != IMAGE_TYPE for change in summary.changes)
    if others:
        parts.append(f"{counted(others, 'other object')} {FATES[Fate.CHANGED][others != 1]}")
    return ", ".join(parts) or "nothing changes in the cluster" * bool(summary.built()) or "nothing to do"


def restarts_text(changes: Sequence[ServiceChanges], services: Sequence[str], most: int = NAMED_SERVICES) -> str:
    """Which pods restart, and that no others do: `order-service (2 pods); no pod of the other 48 services.`"""
    restarting = [each for each in changes if each.restarts and each.pods != 0]
    others = len(set(services) - {each.service for each in restarting})
    if not restarting:
        return "No pod restarts."
    pods = [f" ({counted(each.pods, 'pod')})" if each.pods is not None else "" for each in restarting]
    names = [f"{each.service or OUTSIDE}{number}" for each, number in zip(restarting, pods, strict=True)]
    rest = f"; no pod of the other {counted(others, 'service') if others > 1 else 'service'}" if others else ""
    return f"Pods restart: {some_of(names, most)}{rest}."
