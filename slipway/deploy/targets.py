"""Finds the services that alone have changed since the last update, so that the update need declare no other."""

from __future__ import annotations

from collections.abc import Sequence

from services.catalog import RESERVED_NAMESPACES, RESOURCES_FILE
from services.yaml_source import SERVICES_KEY
from slipway.deploy.approval import SERVICES, Approval
from slipway.deploy.last_update import LastUpdate
from slipway.deploy.service_sources import OWN_KEYS, ServiceSources, service_sources
from slipway.engine.events import STACK_TYPE
from slipway.stack import Stack
from slipway.state.checkpoint import ENVIRONMENT_TYPE, PROVIDER_PREFIX, Snapshot, is_settled, resources


def changed_services(stack: Stack, last: LastUpdate, now: Approval) -> Sequence[str]:
    """The services that alone can come out of an update in another way than the last one left them.

    None where that is not certain, or where it is most of them: a whole update finds out. `last` holds for state and
    surroundings as they are; so what can differ is what files and settings that have moved can change.
    """
    state = stack.present()
    if not state or not is_settled(state) or any(stack.project.folder.glob(f"{SERVICES}/*/{RESOURCES_FILE}")):
        return ()
    try:
        known = service_sources(stack.project.folder, stack.project.settings(stack.name))
    except ValueError:  # which the program says, with file and line
        return ()
    of_files = _of_files(known, last, now)
    of_settings = _of_settings(known, last, now)
    if of_files is None or of_settings is None:
        return ()
    changed, renaming = of_files[0] | of_settings, of_files[1] | of_settings
    changed |= _callers(known, renaming)
    deployed = {each.service for each in resources(state) if each.service}
    is_known = {each.name for each in known} == deployed and _has_services_alone(state)
    return sorted(changed) if is_known and 2 * len(changed) <= len(known) else ()


def _of_files(known: Sequence[ServiceSources], last: LastUpdate, now: Approval) -> tuple[set[str], set[str]] | None:
    """The services that read a file which has moved, and those of them whose objects may get other names by it; `None`
    where a file says something to others, or to the program.
    """
    changed: set[str] = set()
    renaming: set[str] = set()
    for file in last.changed_files(now):
        # What stands beside the services' folders is of the program.
        readers = [each for each in known if each.reads(file)] if file.count("/") > 1 else []
        says_to_others = any(each.spec == file and last.shared.get(file) != each.shared for each in readers)
        if not readers or says_to_others:
            return None
        changed.update(each.name for each in readers)
        renaming.update(each.name for each in readers if file == each.spec or each.is_named_by_content)
    return changed, renaming


def _of_settings(known: Sequence[ServiceSources], last: LastUpdate, now: Approval) -> set[str] | None:
    """The services of which a setting or a secret has moved; `None` where one says something to others."""
    changed: set[str] = set()
    for setting in last.changed_settings(now):
        readers = [each.name for each in known if _is_own(setting, each.name)]
        if not readers:
            return None
        changed.update(readers)
    return changed


def _callers(known: Sequence[ServiceSources], services: set[str]) -> set[str]:
    """The services that call these, or call their callers: while one that is left as it is depends on a Deployment,
    the engine deletes nothing that this one depended on, and the ConfigMap before would stay.
    """
    found: set[str] = set()
    while more := {each.name for each in known if {*services, *found} & set(each.calls)} - found:
        found |= more
    return found


def _is_own(setting: str, service: str) -> bool:
    prefix = f"{SERVICES_KEY}.{service}."
    if setting.startswith(prefix):
        return setting.removeprefix(prefix).split(".")[0] in OWN_KEYS
    return service not in RESERVED_NAMESPACES and setting.startswith(f"{service}:")


def _has_services_alone(state: Snapshot) -> bool:
    """Whether all that is declared is the environment and its services: what a program adds may rest on any of them."""
    found = resources(state)
    environments = {each.urn for each in found if each.type == ENVIRONMENT_TYPE}
    return all(
        each.service
        or each.type == STACK_TYPE
        or each.type.startswith(PROVIDER_PREFIX)
        or {each.urn, each.parent} & environments
        for each in found
    )
