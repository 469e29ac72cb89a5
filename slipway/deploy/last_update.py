"""The inputs with which the last update passed the policies. The same inputs need no second preview; if only one
service has changed since, the update need not declare the others.

A preview is a second run of the program. In an unchanged environment it would double the time of `slipway up --yes` and
repeat the result of the last update. It is skipped only if everything that it depends on is the same. The update has
the policy pack in any case.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from services.catalog import RESOURCES_FILE, SPEC_FILE
from services.contradictions import RESERVED_NAMESPACES
from services.yaml_source import DEFAULTS_KEY, SAFE_LOADER, SERVICES_KEY
from slipway.deploy import approval
from slipway.deploy.approval import SERVICES, Approval
from slipway.engine.events import STACK_TYPE
from slipway.errors import SlipwayError
from slipway.paths import STACK_PLACEHOLDER
from slipway.stack import Stack
from slipway.state.checkpoint import ENVIRONMENT_TYPE, PROVIDER_PREFIX, Snapshot, is_settled, resources

# Variables of a shell that do not affect a program.
NOISE = {"_", "PWD", "OLDPWD", "SHLVL", "COLUMNS", "LINES"}
FILE_SUFFIX = "_FILE"
OWN_KEYS = {
    *("image", "build", "contexts", "command", "args", "replicas", "resources", "env", "envFrom", "secrets", "files"),
    *("imagePullSecrets", "initContainers", "sidecars", "egress", "scratch", "health", "checks", "autoscaling"),
    *("rollout", "labels", "annotations", "serviceAccount", "nodeSelector", "tolerations", "affinity"),
    *("priorityClassName", "topologySpreadConstraints", "hostAliases", "dnsPolicy", "dnsConfig", "cronJob"),
    "migration",
}
"""Keys of service.yaml that affect no object of another service. Any other key counts as affecting others."""
NAMING_KEYS = {"files", "migration"}
"""Keys of objects made of other files than service.yaml and named by content: another content is another object."""


class LastUpdate(BaseModel):
    """An update that passed, as hashes of everything that its preview depended on, and of the state that it left."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    state: str
    files: Mapping[str, str]
    """By path in the project's folder."""
    settings: Mapping[str, str]
    """By key."""
    surroundings: str
    """Of variables, the files that they name, plugins and the day."""
    shared: Mapping[str, str]
    """Of the part of each service.yaml that affects other services, by its path."""

    def changed_files(self, now: Approval) -> set[str]:
        return _changed(self.files, now.files)

    def changed_settings(self, now: Approval) -> set[str]:
        return _changed(self.settings, now.settings)

    def is_same(self, now: Approval) -> bool:
        """Whether files and settings approved now are the same as what passed; the commit alone changes nothing."""
        return not self.changed_files(now) and not self.changed_settings(now)


def _changed(then: Mapping[str, str], now: Mapping[str, str]) -> set[str]:
    return {name for name in {*then, *now} if then.get(name) != now.get(name)}


def last_update(stack: Stack, now: Approval) -> LastUpdate | None:
    """The last update that passed, if state and surroundings are still as it left them; `None` if that is not
    certain.
    """
    try:
        passed = LastUpdate.model_validate_json(stack.own_file("passed").read_bytes())
    except (OSError, ValidationError):  # none yet, or not ours: a preview decides
        return None
    if passed.state == now.state and passed.surroundings == surroundings_hash(stack):
        return passed
    return None


def record_last_update(stack: Stack, approved: Approval) -> None:
    """Record that `approved` was updated and the state that it left, unless another update may have interfered."""
    with suppress(OSError, SlipwayError):  # the update succeeded anyway, and the next one is previewed
        state = approval.state_hash(stack)
        updates = approval.updates_since(stack, approved)
        if len(updates) == 1 and updates[0].succeeded:
            passed = LastUpdate(
                number=updates[0].number,
                state=state,
                files=approved.files,
                settings=approved.settings,
                surroundings=surroundings_hash(stack),
                # Read now: if a file has changed since it was approved, its hash shows it.
                shared=shared_parts(stack.project.folder),
            )
            file = stack.own_file("passed")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(passed.model_dump_json(), encoding="utf-8")


def inputs_hash(stack: Stack, files: Mapping[str, str], settings: Mapping[str, str]) -> str:
    """A hash of everything that could change the result of a preview, except the state and the digest of a tag in a
    registry.

    The commit is not in it: the commit alone changes nothing.
    """
    return _hash({"files": dict(files), "settings": dict(settings), "surroundings": surroundings_hash(stack)})


def surroundings_hash(stack: Stack) -> str:
    """A hash of what a preview needs besides files and settings: variables, files they name, installed software."""
    environment = stack.engine.environment
    contents = {}
    for name, value in environment.items():
        if name == "KUBECONFIG" or name.endswith(FILE_SUFFIX):
            for path in filter(None, value.split(os.pathsep)):
                file = Path(path.replace(STACK_PLACEHOLDER, stack.name))
                content = file.read_bytes() if file.is_file() else b""
                contents[f"{name} {path}"] = hashlib.sha256(content).hexdigest()
    # The names, with versions, of the program's packages and the engine's plugins, and the engine's path and time.
    installed: list[str] = []
    for packages in (stack.project.folder / ".venv").glob("lib/python*/site-packages"):
        installed += (entry.name for entry in os.scandir(packages) if entry.name.endswith(".dist-info"))
    home = Path(environment.get("PULUMI_HOME") or Path(environment.get("HOME", "/"), ".pulumi"))
    if (home / "plugins").is_dir():
        installed += (entry.name for entry in os.scandir(home / "plugins"))
    if engine := shutil.which("pulumi", path=environment.get("PATH")):
        installed.append(f"{engine} {Path(engine).stat().st_mtime_ns}")
    return _hash(
        {
            "variables": {name: value for name, value in environment.items() if name not in NOISE},
            "contents": contents,
            "installed": sorted(installed),
            "day": datetime.now(UTC).date().isoformat(),  # waivers expire
        }
    )


def _hash(parts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


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
    if of_files is None:
        return ()
    changed, renaming = of_files
    for setting in last.changed_settings(now):
        readers = {each.name for each in known if _is_own(setting, each.name)}
        if not readers:  # it affects other services, or the program
            return ()
        changed |= readers
        renaming |= readers
    # Those who call them, or their callers: while an unchanged service depends on a Deployment, the engine deletes
    # nothing that the Deployment depended on, and the old ConfigMap would stay.
    callers: set[str] = set()
    while more := {each.name for each in known if {*renaming, *callers} & set(each.calls)} - callers:
        callers |= more
    changed |= callers
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


@dataclass(frozen=True)
class ServiceSources:
    """A service by its name; `spec` is its service.yaml, `places` are the folders and files that it is made from, all
    relative to the project's folder.
    """

    name: str
    spec: str
    places: tuple[str, ...]
    shared: str
    """A hash of what in its service.yaml affects others."""
    calls: tuple[str, ...] = ()
    """The services that it names."""
    is_named_by_content: bool = False
    """Whether files beside service.yaml decide the names of some of its objects."""

    def reads(self, file: str) -> bool:
        return any(file == place or file.startswith(f"{place}/") for place in self.places)


def service_sources(folder: Path, settings: Mapping[str, Any] | None = None) -> list[ServiceSources]:
    """The sources of every service of the project in `folder`; `settings` are the environment's `config`, which may
    name other places. Raises ValueError if a file cannot be read.

    Without the catalogue, which takes a hundredth of a second per service and validates again.
    """
    settings = settings or {}
    overrides, defaults = settings.get(SERVICES_KEY) or {}, settings.get(DEFAULTS_KEY) or {}
    found = []
    for file in sorted(folder.glob(f"{SERVICES}/*/{SPEC_FILE}")):
        try:
            spec = yaml.load(file.read_bytes(), SAFE_LOADER)  # noqa: S506 -- it is the safe one, in C if available
        except (OSError, yaml.YAMLError) as error:
            raise ValueError(f"{file} cannot be read: {error}") from error
        if not isinstance(spec, dict):
            raise ValueError(f"{file} is not a mapping")
        own, name = file.parent.relative_to(folder).as_posix(), str(spec.get("name"))
        written = [spec, overrides.get(name) if isinstance(overrides, dict) else None, defaults]
        sections = [each for each in written if isinstance(each, dict)]
        calls = {str(callee) for each in sections for callee in each.get("calls") or ()}
        # Under any key: a path leaves the folder only by `..`.
        outside = {os.path.normpath(f"{own}/{text}") for each in written for text in _texts(each) if ".." in text}
        shared = {key: value for key, value in spec.items() if key not in OWN_KEYS}
        text = json.dumps(shared, sort_keys=True, default=str)
        found.append(
            ServiceSources(
                name,
                f"{own}/{SPEC_FILE}",
                (own, *sorted(outside)),
                hashlib.sha256(text.encode()).hexdigest(),
                tuple(sorted(calls)),
                is_named_by_content=any(key in NAMING_KEYS for each in sections for key in _keys(each)),
            )
        )
    return found


def shared_parts(folder: Path) -> dict[str, str]:
    """A hash of what in each service.yaml affects other services, by its path; empty if one cannot be read."""
    try:
        return {each.spec: each.shared for each in service_sources(folder)}
    except ValueError:
        return {}


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from map(str, value)
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(each)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for each in value.values() for text in _texts(each))
    elif isinstance(value, list):
        yield from (text for each in value for text in _texts(each))
