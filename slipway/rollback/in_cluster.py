"""Whether the cluster has what a state declares: somebody may have changed or deleted it without the program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from slipway.changes.summary import Operation, ResourceChange
from slipway.errors import SlipwayError
from slipway.live import drifted
from slipway.live.deployed import deployed
from slipway.session import Session
from slipway.state.checkpoint import Deployment, Recorded, objects


@dataclass(frozen=True)
class OutOfPlace:
    """Declared fields that are others in the cluster, and objects that are gone from it."""

    changes: tuple[ResourceChange, ...] = ()
    unread: str = ""
    """Why the cluster could not be compared; empty when it was."""

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __str__(self) -> str:
        return ", ".join(str(each.resource) for each in self.changes)

    def lines(self) -> list[str]:
        """What is where, without values."""
        return [f"{each.resource}: {', '.join(field.path for field in each.fields) or 'gone'}" for each in self.changes]


def out_of_place(session: Session, stack: str, state: Deployment, services: tuple[str, ...]) -> OutOfPlace:
    """What of `state`, decrypted, the cluster has otherwise; of these services, or of all where none is named.

    What somebody has set beside it is no part of it: it was never declared, and no recorded state says what it was.
    Nor is an object whose last update failed: the state does not claim to know it, and the engine updates it anyway.
    A person who may change objects may lack the right to list them, which is no reason to refuse a rollback.
    """
    recorded = objects(state)
    if not recorded:
        return OutOfPlace()
    try:
        found = drifted.find(deployed(session, stack, state), session.project.name, others=frozenset())
    except SlipwayError as error:
        return OutOfPlace(unread=error.why)
    theirs = (each for each in found.changes if not services or each.service in services)
    return OutOfPlace(tuple(_declared(theirs, recorded, found.changed_by)))


def _declared(
    changes: Iterable[ResourceChange], recorded: Mapping[str, Recorded], changed_by: Mapping[str, Sequence[str]]
) -> Iterator[ResourceChange]:
    """Without fields that the resource ignores, and those that nobody but the cluster itself has changed: an admission
    webhook would change them again.
    """
    for change in changes:
        urn = change.resource.urn
        raw = recorded[urn].raw if urn in recorded else {}
        ignored = tuple(raw.get("ignoreChanges") or ())
        fields = tuple(field for field in change.fields if field.kind != "add" and not _is_below(field.path, ignored))
        if change.operation is Operation.DELETE:
            yield change
        elif fields and changed_by.get(urn) and not raw.get("initErrors"):
            yield replace(change, fields=fields)


def _is_below(path: str, ignored: Iterable[str]) -> bool:
    return any(path == each or path.startswith((f"{each}.", f"{each}[")) for each in ignored)
