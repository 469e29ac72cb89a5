"""Whether the cluster has what a state declares, whoever has written it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from slipway.changes.summary import Operation, ResourceChange
from slipway.diagnosis import is_rolled_out
from slipway.errors import SlipwayError
from slipway.live import drifted
from slipway.live.deployed import deployed
from slipway.live.drifted import Drift
from slipway.live.verification import DEPLOYMENT_TYPE
from slipway.session import Session
from slipway.state.checkpoint import Deployment, Recorded, objects


@dataclass(frozen=True)
class OutOfPlace:
    """What of a state the cluster has otherwise: declared fields that are others, objects that are gone."""

    changes: tuple[ResourceChange, ...] = ()
    undeclared: tuple[str, ...] = ()
    """Fields that somebody has set beside what is declared, and objects of this project that no state has."""
    incomplete: tuple[str, ...] = ()
    """Deployments that are not rolled out."""
    changed_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By URN, the field managers that wrote an object beside the program's own."""
    unread: str = ""
    """Why the cluster could not be compared; empty when it was."""

    def __bool__(self) -> bool:
        return bool(self.changes)

    def by_others(self) -> str:
        """The objects that somebody else has changed or deleted, for people."""
        theirs = (each for each in self.changes if self.changed_by.get(each.resource.urn))
        return ", ".join(str(each.resource) for each in theirs)

    def lines(self) -> list[str]:
        """What is where, without values."""
        return [f"{each.resource}: {', '.join(field.path for field in each.fields) or 'gone'}" for each in self.changes]


def out_of_place(session: Session, stack: str, state: Deployment, services: tuple[str, ...]) -> OutOfPlace:
    """What of `state`, decrypted, the cluster has otherwise; of these services, or of all where none is named.

    A person who may change objects may lack the right to list them, which is no reason to refuse a rollback.
    """
    recorded = objects(state)
    if not recorded:
        return OutOfPlace()
    try:
        found = drifted.find(deployed(session, stack, state), session.project.name)
    except SlipwayError as error:
        return OutOfPlace(unread=error.why)
    return compared_with(recorded, found, services)


def compared_with(recorded: Mapping[str, Recorded], found: Drift, services: tuple[str, ...]) -> OutOfPlace:
    """`found` sorted into what is declared and what is not, without fields that a resource ignores. Pure."""
    declared, undeclared = [], []
    for change in found.changes:
        if services and change.service not in services:
            continue
        if change.operation is Operation.CREATE:
            undeclared.append(str(change.resource))
            continue
        resource = recorded.get(change.resource.urn)
        ignored = tuple(resource.raw.get("ignoreChanges") or ()) if resource else ()
        fields = tuple(each for each in change.fields if not _is_below(each.path, ignored))
        undeclared += [f"{change.resource}: {each.path}" for each in fields if each.kind == "add"]
        fields = tuple(each for each in fields if each.kind != "add")
        if fields or change.operation is Operation.DELETE:
            declared.append(replace(change, fields=fields))
    incomplete = [
        str(each.name)
        for urn, each in recorded.items()
        if each.type == DEPLOYMENT_TYPE and (not services or each.service in services)
        if urn in found.live and not is_rolled_out(found.live[urn])
    ]
    return OutOfPlace(tuple(declared), tuple(undeclared), tuple(incomplete), found.changed_by)


def _is_below(path: str, ignored: Iterable[str]) -> bool:
    return any(path == each or path.startswith((f"{each}.", f"{each}[")) for each in ignored)
