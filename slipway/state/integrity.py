"""Checks a state as the engine does before it uses it, and repairs a state that the engine refuses. Pure.

https://github.com/pulumi/pulumi/blob/v3.259.0/pkg/resource/deploy/snapshot.go (VerifyIntegrity)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from slipway.state.checkpoint import PROVIDER_PREFIX, ResourceState, Snapshot

Key = TypeVar("Key", str, int)
Raw = Mapping[str, Any]


def in_order(known: Iterable[Key], needed: Callable[[Key], Iterable[Key]]) -> Iterator[Key]:
    """Each of `known` once, after those that it needs, otherwise in the order given.

    A cycle, which can result from a mix of two states, is entered anywhere.
    """
    everything = list(known)
    waiting = set(everything)

    def unbegun(keys: Iterable[Key]) -> Iterator[Key]:
        for key in keys:
            if key in waiting:
                waiting.remove(key)
                yield key

    for root in everything:
        way, path = [unbegun([root])], []
        while way:
            if (key := next(way[-1], None)) is not None:
                path.append(key)
                way.append(unbegun(needed(key)))
                continue
            way.pop()
            if path:
                yield path.pop()


def problems(snapshot: Snapshot) -> list[str]:
    """Why the engine refuses the state, in the order of its resources; empty if it accepts the state."""
    raws = list(snapshot.get("resources") or ())
    everything = {str(raw.get("urn", "")) for raw in raws}
    found: list[str] = []
    urns: set[str] = set()
    providers: set[str] = set()
    for index, raw in enumerate(raws):
        if not raw.get("urn") or not raw.get("type"):
            found.append(f"resource {index} has no {'type' if raw.get('urn') else 'URN'}")
            continue
        urn = str(raw["urn"])
        if not raw.get("custom") and raw.get("id"):
            found.append(f"{urn} is not a custom resource but has an id")
        if _is_provider(raw):
            if not raw.get("id"):
                found.append(f"provider {urn} has no id")
            providers.add(_reference(raw))
        provider = str(raw.get("provider") or "")
        if provider and provider not in providers and not raw.get("pendingReplacement"):
            found.append(f"{urn} refers to unknown provider {provider}")
        for needed in _needs(raw):
            if needed not in urns:
                found.append(
                    f"{urn} needs {needed}, which {'comes after it' if needed in everything else 'is missing'}"
                )
        urns.add(urn)
    counts = Counter(str(raw.get("urn")) for raw in raws if not raw.get("delete"))
    found += [f"{urn} is listed {count} times" for urn, count in counts.items() if count > 1]
    return found


def repaired(snapshot: Snapshot, recorded: Iterable[Snapshot] = ()) -> Snapshot:
    """The state in an order that the engine accepts, each resource once.

    A missing provider or parent is taken from the first of the `recorded` states that has it; a dependency on any
    other missing resource is left out.
    """
    usable = []
    for raw in snapshot.get("resources") or ():
        # A provider without an id cannot be referred to.
        if raw.get("urn") and raw.get("type") and (raw.get("id") or not _is_provider(raw)):
            usable.append(raw)
    raws: list[Raw] = []
    for raw in _each_once(usable):
        # Only a custom resource has an id.
        has_wrong_id = raw.get("id") and not raw.get("custom")
        raws.append({key: each for key, each in raw.items() if key != "id"} if has_wrong_id else raw)
    raws = _complete(raws, list(recorded))
    known = {str(raw["urn"]) for raw in raws}
    present = {str(raw["urn"]): _reference(raw) for raw in raws if _is_provider(raw) and not raw.get("delete")}
    references = {_reference(raw) for raw in raws if _is_provider(raw)}
    raws = [_of_known(raw, known, references, present) for raw in raws]
    return {**snapshot, "resources": in_engine_order(raws)}


def in_engine_order(resources: Sequence[Raw]) -> list[Raw]:
    """Each resource after those that it needs, as the engine requires.

    If two have the same URN, a reference means the one that stays; for two providers, the one with the named id.
    """
    marked_first = sorted(enumerate(resources), key=lambda each: not each[1].get("delete"))
    places = {str(raw["urn"]): index for index, raw in marked_first}
    places |= {_reference(raw): index for index, raw in marked_first if raw.get("id")}

    def needed(index: int) -> list[int]:
        references = (str(resources[index].get("provider", "")), *ResourceState(resources[index]).needs)
        return [places[reference] for reference in references if reference in places]

    return [resources[index] for index in in_order(range(len(resources)), needed)]


def _is_provider(raw: Raw) -> bool:
    return str(raw["type"]).startswith(PROVIDER_PREFIX)


def _reference(raw: Raw) -> str:
    return f"{raw['urn']}::{raw.get('id', '')}"


def _needs(raw: Raw) -> Iterator[str]:
    """URNs of all resources that must come before it, except its provider."""
    by_property: Mapping[str, Sequence[str]] = raw.get("propertyDependencies") or {}
    named = (
        raw.get("parent"),
        raw.get("deletedWith"),
        *(raw.get("dependencies") or ()),
        *(raw.get("replaceWith") or ()),
    )
    found = (*named, *(urn for urns in by_property.values() for urn in urns or ()))
    return iter(dict.fromkeys(str(urn) for urn in found if urn))


def _each_once(raws: Sequence[Raw]) -> Iterator[Raw]:
    """Of several with one URN that are not marked for deletion, the last one; of duplicates that are marked, one."""
    last = {str(raw["urn"]): index for index, raw in enumerate(raws) if not raw.get("delete")}
    seen: set[tuple[str, str]] = set()
    for index, raw in enumerate(raws):
        key = (str(raw["urn"]), str(raw.get("id", "")))
        if not raw.get("delete"):
            if last[key[0]] == index:
                yield raw
        elif key not in seen:
            seen.add(key)
            yield raw


def _complete(raws: list[Raw], recorded: Sequence[Snapshot]) -> list[Raw]:
    """The resources with the missing providers and parents, and those that these need in turn."""
    known = [raw for state in recorded for raw in state.get("resources") or () if raw.get("urn")]
    found = list(raws)
    waiting = list(raws)
    while waiting:
        raw = waiting.pop()
        urns, references = {str(each["urn"]) for each in found}, {_reference(each) for each in found}
        provider, parent = str(raw.get("provider") or ""), str(raw.get("parent") or "")
        missing = []
        if parent and parent not in urns:
            missing.append(_of_urn(known, parent))
        if provider and provider not in references:
            same = next((each for each in known if _reference(each) == provider), None)
            missing.append(same or _of_urn(known, provider.rpartition("::")[0]))
        for each in missing:
            if each and str(each["urn"]) not in urns:
                found.append(each)
                waiting.append(each)
    return found


def _of_urn(known: Iterable[Raw], urn: str) -> Raw | None:
    return next((raw for raw in known if raw["urn"] == urn and not raw.get("delete")), None)


def _of_known(raw: Raw, urns: set[str], references: set[str], present: Mapping[str, str]) -> Raw:
    """The resource without references to missing ones; with the present provider if its id has changed."""
    changed: dict[str, Any] = {}
    provider = str(raw.get("provider") or "")
    if provider and provider not in references:
        changed["provider"] = present.get(provider.rpartition("::")[0], "")
    if raw.get("parent") and raw["parent"] not in urns:
        changed["parent"] = next((urn for urn in urns if "::pulumi:pulumi:Stack::" in urn), "")
    if raw.get("deletedWith") and raw["deletedWith"] not in urns:
        changed["deletedWith"] = ""
    for key in ("dependencies", "replaceWith"):
        if any(urn not in urns for urn in raw.get(key) or ()):
            changed[key] = [urn for urn in raw[key] if urn in urns]
    by_property = raw.get("propertyDependencies") or {}
    if any(urn not in urns for needed in by_property.values() for urn in needed or ()):
        changed["propertyDependencies"] = {
            key: [urn for urn in needed or () if urn in urns] for key, needed in by_property.items()
        }
    return {key: each for key, each in {**raw, **changed}.items() if key not in changed or each} if changed else raw
