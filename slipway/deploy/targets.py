"""Finds the only services that have changed since the last update, so that the update need not declare the others."""

from __future__ import annotations

from collections.abc import Sequence

from services.catalog import RESOURCES_FILE
from services.contradictions import RESERVED_NAMESPACES
from services.yaml_source import SERVICES_KEY
from slipway.deploy.approval import SERVICES, Approval
from slipway.deploy.last_update import LastUpdate
from slipway.deploy.service_sources import OWN_KEYS, ServiceSources, service_sources
from slipway.engine.events import STACK_TYPE
from slipway.stack import Stack
from slipway.state.checkpoint import ENVIRONMENT_TYPE, PROVIDER_PREFIX, Snapshot, is_settled, resources


def changed_services(stack: Stack, last: LastUpdate, now: Approval) -> Sequence[str]:
    """The only services that an update can change since the last one.

    Empty if that is not certain, or if it is most of them: a whole update decides then. State and surroundings are as
    `last` says, so only changed files and settings can make a difference.
    """
    state = stack.present()
    if not state or not is_settled(state) or any(stack.project.folder.glob(f"{SERVICES}/*/{RESOURCES_FILE}")):
        return ()
    try:
        known = service_sources(stack.project.folder, stack.project.settings(stack.name))
    except ValueError:  # the program reports it, with file and line
        return ()
    of_files = _of_files(known, last, now)
    of_settings = _of_settings(known, last, now)
    if of_files is None or of_settings is None:
        return ()
    changed, renaming = of_files[0] | of_settings, of_files[1] | of_settings
    changed |= _callers(known, renaming)
    deployed = {each.service for each in resources(state) if each.service}
    is_known = {each.name for each in known} == deployed and has_services_alone(state)
    return sorted(changed) if is_known and 2 * len(changed) <= len(known) else ()


def _of_files(known: Sequence[ServiceSources], last: LastUpdate, now: Approval) -> tuple[set[str], set[str]] | None:
    """The services that read a changed file, and those of them whose objects may get other names because of it; `None`
    if a file affects other services, or the program.
    """
    changed: set[str] = set()
    renaming: set[str] = set()
    for file in last.changed_files(now):
        # A file beside the services' folders belongs to the program.
        readers = [each for each in known if each.reads(file)] if file.count("/") > 1 else []
        says_to_others = any(each.spec == file and last.shared.get(file) != each.shared for each in readers)
        if not readers or says_to_others:
            return None
        changed.update(each.name for each in readers)
        renaming.update(each.name for each in readers if file == each.spec or each.is_named_by_content)
    return changed, renaming


def _of_settings(known: Sequence[ServiceSources], last: LastUpdate, now: Approval) -> set[str] | None:
    """The services with a changed setting or secret; `None` if one affects other services."""
    changed: set[str] = set()
    for setting in last.changed_settings(now):
        readers = [each.name for each in known if _is_own(setting, each.name)]
        if not readers:
            return None
        changed.update(readers)
    return changed


def _callers(known: Sequence[ServiceSources], services: set[str]) -> set[str]:
    """The services that call these, or call their callers. While an unchanged service depends on a Deployment, the
    engine deletes nothing that the Deployment depended on, and the old ConfigMap would stay.
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


def has_services_alone(state: Snapshot) -> bool:
    """Whether only the environment and its services are declared: other resources may depend on any service."""
    found = resources(state)
    environments = {each.urn for each in found if each.type == ENVIRONMENT_TYPE}
    return all(
        each.service
        or each.type == STACK_TYPE
        or each.type.startswith(PROVIDER_PREFIX)
        or {each.urn, each.parent} & environments
        for each in found
    )
