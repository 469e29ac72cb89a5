"""Whether the cluster has what a state declares: somebody may have changed or deleted it without the program."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from slipway.changes.summary import Operation, ResourceChange
from slipway.errors import SlipwayError
from slipway.live import drifted
from slipway.live.deployed import deployed
from slipway.session import Session
from slipway.state.checkpoint import Deployment, objects


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
    if not objects(state):
        return OutOfPlace()
    try:
        found = drifted.find(deployed(session, stack, state), session.project.name, others=frozenset())
    except SlipwayError as error:
        return OutOfPlace(unread=error.why)
    failed = {urn for urn, each in objects(state).items() if each.raw.get("initErrors")}
    theirs = (each for each in found.changes if not services or each.service in services)
    return OutOfPlace(tuple(_declared(each for each in theirs if each.resource.urn not in failed)))


def _declared(changes: Iterator[ResourceChange]) -> Iterator[ResourceChange]:
    for change in changes:
        fields = tuple(field for field in change.fields if field.kind != "add")
        if change.operation is Operation.DELETE:
            yield change
        elif change.operation is Operation.UPDATE and fields:
            yield replace(change, fields=fields)
