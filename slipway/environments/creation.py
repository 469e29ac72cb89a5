"""Creates or updates a temporary environment: its stack, its settings like another's, and its expiry."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from services.catalog import CatalogError, Overrides, Service, load
from services.fields import LABEL_MAX_LENGTH
from services.spec import ServiceSpec
from services.yaml_source import DEFAULTS_KEY, SERVICES_KEY
from slipway import project as projects
from slipway.backend.self_managed import backend_folder
from slipway.backend.stacks import Stacks
from slipway.environments.temporary import (
    HEADER,
    Temporary,
    exclude_from_git,
    include_in_git,
    is_declared,
    is_generated,
    parse_duration,
    require_name,
)
from slipway.errors import ConfigurationError
from slipway.project import Project
from slipway.stack import Stack, open_stack

# Keys of a settings file: how the stack's own secrets are encrypted.
SECRETS_KEYS = ("secretsprovider", "encryptedkey", "encryptionsalt")
NAMESPACE_KEY, PULL_SECRETS_KEY = "slipway:namespace", "slipway:imagePullSecrets"
# Settings for one environment only: its namespace, the update it rolls back to, the objects of others it takes over.
OWN_KEYS = (NAMESPACE_KEY, "slipway:rollbackTo", "slipway:adopt")


@dataclass(frozen=True)
class TemporaryRequest:
    """The options `--like` and `--expires` of `slipway up`; each may be empty."""

    like: str = ""
    expires: str = ""


def ensure_temporary(name: str, request: TemporaryRequest, say: Callable[[str], None]) -> Temporary:
    """Create or update environment `name` as `request` says, and return its data.

    With `like` its settings are written again from those of that environment. Without `like` only its expiry changes,
    and the settings are written if this clone does not have them. Raises ConfigurationError, before anything is
    created, if the repository declares it, its stack was not made with `--like`, or there is no environment to make it
    like.
    """
    project = projects.require(Path.cwd())
    duration = parse_duration(request.expires) if request.expires else None
    require_name(name)
    if is_declared(project, name):
        raise ConfigurationError(
            f"{name} is not temporary: Pulumi.{name}.yaml belongs to the repository.",
            why="--like and --expires make an environment that has no committed settings.",
            next_step=f"`slipway up -s {name}` updates it as it is; choose another name with -s for a temporary one.",
        )
    like = request.like or _present_like(project, name)
    if like == name:
        raise ConfigurationError(
            f"{name} cannot be created with --like {name}.", next_step="Name another environment with --like."
        )
    source = open_stack(like, cluster=False)
    present = _present(source, name)
    expires = datetime.now(UTC) + duration if duration else present.expires if present else None
    requested = Temporary(like, expires)
    if request.like or not is_generated(project.folder / f"Pulumi.{name}.yaml"):
        derived = derive_settings(source.project.settings(source.name), _services(source), name, like)
        _require_openable(source, derived)
        _make(source, name, derived, requested, created=present is None)
        shown = "\n".join(f"  {note}" for note in derived.notes)
        say(f"{name} is like {like}, in namespace slipway-{name}, {requested.until()}.\n{shown}".rstrip())
    elif requested != present:
        source.stacks.set_tags(name, requested.tags())
        say(f"{name} stays {requested.until()}.")
    return requested


def _present_like(project: Project, name: str) -> str:
    """The environment that `name` is made like, if `--like` is not given: the tags of its existing stack say so."""
    others = [each for each in project.environments() if each != name]
    source = open_stack(others[0], cluster=False) if others else None
    present = _present(source, name) if source else None
    if present is None:
        raise ConfigurationError(
            f"There is no temporary environment {name}.",
            why=f"Environments to make one like: {', '.join(others)}.",
            next_step=f"Name one of them: `slipway up -s {name} --like ENV`.",
        )
    return present.like


def _present(source: Stack, name: str) -> Temporary | None:
    """The data in the stack's tags; `None` if there is no stack. Raises ConfigurationError if it is not temporary."""
    if not source.stacks.exists(name):
        return None
    try:
        found = Temporary.of_tags(source.stacks.tags(name))
    except ValueError:  # it is written again
        found = Temporary(source.name)
    if found is None:
        raise ConfigurationError(
            f"There is a stack {name} already, and it was not created with --like.",
            why="Its state would become that of a temporary environment, which `slipway reap` deletes.",
            next_step="Choose another name with -s, or remove that stack with "
            f"`pulumi destroy -s {name} && pulumi stack rm {name}`.",
        )
    return found


def _services(source: Stack) -> Sequence[Service]:
    settings: dict[str, dict[str, Any]] = {}
    for key in (SERVICES_KEY, DEFAULTS_KEY):
        value = source.project.settings(source.name).get(key) or {}
        services = value.values() if isinstance(value, dict) and key == SERVICES_KEY else ()
        if not isinstance(value, dict) or not all(isinstance(each, dict) for each in services):
            raise ConfigurationError(
                f"Pulumi.{source}.yaml: `{key}` is {value!r}.",
                why="Allowed: a mapping, of services for `slipway:services`.",
                next_step="Fix it.",
            )
        settings[key] = value
    overrides = Overrides(settings[SERVICES_KEY], settings[DEFAULTS_KEY])
    folder = source.project.folder / "services"
    try:
        return load(folder, overrides) if folder.is_dir() else ()
    except CatalogError as error:
        raise ConfigurationError(
            f"The services of {source} are not valid.", why="\n".join(error.problems), next_step="Fix them."
        ) from error


def _require_openable(source: Stack, derived: DerivedSettings) -> None:
    """Raise ConfigurationError if secrets must be copied, but the stack that they are encrypted for does not exist."""
    if not _has_secrets(derived):
        return
    if source.stacks.in_lab:
        source.stacks.ensure(source.name, lambda _text: None)
    elif not source.stacks.exists(source.name):
        raise ConfigurationError(
            f"The secrets of {source} cannot be copied: there is no stack {source} in this backend.",
            next_step=f"Set PULUMI_BACKEND_URL to the backend that has it, or make it with `slipway up -s {source}`.",
        )


def _has_secrets(derived: DerivedSettings) -> bool:
    return any(is_secret(value) for value in derived.config.values())


def _make(source: Stack, name: str, derived: DerivedSettings, requested: Temporary, *, created: bool) -> None:
    """Create the stack if `created`, its tags and the settings file. If one fails, a created stack is removed."""
    content = yaml.safe_load(source.project.environment_file(source.name).read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        content = {}
    others = {key: value for key, value in content.items() if key not in ("config", *SECRETS_KEYS)}
    with tempfile.TemporaryDirectory(prefix="slipway-") as temporary:
        # A copy, so that the engine does not rewrite a committed file.
        folder = Path(temporary)
        shutil.copy(source.project.file, folder)
        shutil.copy(source.project.environment_file(source.name), folder)
        stacks = _in_copy(source)
        if created:
            provider = content.get("secretsprovider")
            more = ("--secrets-provider", str(provider)) if provider else ()
            stacks.run(name, "stack", "init", name, "--no-select", *more, folder=folder)
        try:
            stacks.set_tags(name, requested.tags())
            if _has_secrets(derived):
                # The engine decrypts each and encrypts it for the new stack: no file and no argument has the plaintext.
                stacks.run(name, "config", "cp", "--stack", source.name, "--dest", name, folder=folder)
            file = folder / f"Pulumi.{name}.yaml"
            copied = (yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else None) or {}
            encrypted = {
                key: value
                for key, value in (copied.get("config") or {}).items()
                if is_secret(value) and key in derived.config
            }
            others |= {key: copied[key] for key in SECRETS_KEYS if key in copied}
            text = replace(derived, config={**derived.config, **encrypted}).text(name, source.name, others)
            exclude_from_git(source.project.folder, name)
            partial = source.project.folder / f".{file.name}.partial"
            partial.write_text(text, encoding="utf-8")
            partial.replace(source.project.folder / file.name)
        except BaseException:
            if created:
                stacks.remove(name)
                include_in_git(source.project.folder, name)
            raise


def _in_copy(source: Stack) -> Stacks:
    """The stacks for another folder: a backend's relative path begins at the project."""
    variables = {"PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true"}
    if folder := backend_folder(source.backend_url(), source.project.folder):
        variables["PULUMI_BACKEND_URL"] = f"file://{folder}"
    return replace(source.stacks, engine=source.engine.with_variables(variables))


@dataclass(frozen=True)
class DerivedSettings:
    """The values under `config`, and lines for the user: differences from the other environment, and shared parts."""

    config: dict[str, Any]
    notes: tuple[str, ...] = ()

    def text(self, name: str, like: str, others: Mapping[str, Any]) -> str:
        """The text of the file; `others` are keys beside `config`."""
        head = f"{HEADER} {like}`, and never committed: `slipway down -s {name}` removes it.\n"
        return head + yaml.safe_dump({"config": self.config, **others}, sort_keys=False, allow_unicode=True)


def derive_settings(config: Mapping[str, Any], services: Sequence[Service], name: str, like: str) -> DerivedSettings:
    """The settings of environment `name`, like those of `like`, which `config` and `services` belong to.

    In a cluster, only one Service can have a node port, or the host and path of an Ingress. So the cluster chooses node
    ports, and the first label of a host gets the environment's name in front. Raises ConfigurationError if the two
    would be in one namespace, and for a host that gets too long.
    """
    namespace = config.get(NAMESPACE_KEY)
    if isinstance(namespace, Mapping) and namespace.get("managed") is False:
        raise ConfigurationError(
            f"{name} cannot be created like {like}: {like} does not manage its namespace "
            f"{namespace.get('name')}, and both would be in it.",
            why=f"A temporary environment creates its own namespace, slipway-{name}, and deletes it.",
            next_step=f"Write Pulumi.{name}.yaml with a `{NAMESPACE_KEY}` that was created for it, or name another "
            "environment with --like.",
        )
    derived = {key: copy.deepcopy(value) for key, value in config.items() if key not in OWN_KEYS}
    overrides = derived.setdefault(SERVICES_KEY, {})
    notes: list[str] = []
    for service in services:
        changed, about_changes = _changes(service.spec, name)
        notes += about_changes
        for section, values in changed.items():
            own = overrides.setdefault(service.name, {})
            own[section] = {**(own.get(section) or {}), **values}
    if not overrides:
        del derived[SERVICES_KEY]
    notes += [f"{key} of {like} is left out" for key in OWN_KEYS if key in config and key != NAMESPACE_KEY]
    if secrets := sorted(key for key, value in derived.items() if is_secret(value)):
        notes.append(
            f"secrets copied from {like}: {', '.join(secrets)}; the systems they open, such as databases, are shared"
        )
    pull_secrets = {str(each) for each in config.get(PULL_SECRETS_KEY) or ()}
    pull_secrets |= {each for service in services for each in service.spec.image_pull_secrets}
    if pull_secrets:
        notes.append(
            f"images are pulled with {', '.join(sorted(pull_secrets))}, to be made in namespace slipway-{name}"
        )
    return DerivedSettings(derived, tuple(notes))


def is_secret(value: Any) -> bool:
    """Whether a value under `config` is encrypted, or contains an encrypted value."""
    if isinstance(value, Mapping):
        return set(value) == {"secure"} or any(is_secret(each) for each in value.values())
    return isinstance(value, list) and any(is_secret(each) for each in value)


def _changes(spec: ServiceSpec, name: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Sections of `service.yaml` with the values that override them, and lines on this for the user."""
    changed: dict[str, dict[str, Any]] = {}
    notes = []
    if spec.service.node_port:
        changed["service"] = {"nodePort": None}
        notes.append(f"{spec.name}: the cluster chooses its node port; {spec.service.node_port} is taken")
    if spec.ingress:
        host = _host(spec.name, spec.ingress.host, name)
        changed["ingress"] = {"host": host}
        notes.append(f"{spec.name}: its host is {host}, which needs a DNS record for this cluster")
        if spec.ingress.tls_secret_name:
            notes.append(
                f"{spec.name}: its TLS secret {spec.ingress.tls_secret_name} is to be made in the new namespace"
            )
    return changed, notes


def _host(service: str, host: str, name: str) -> str:
    """`shop.example` becomes `pr-123-shop.example`: as many labels, so that a DNS wildcard and its certificate fit."""
    wildcard, rest = ("*.", host[2:]) if host.startswith("*.") else ("", host)
    label, dot, domain = f"{name}-{rest}".partition(".")
    if len(label) > LABEL_MAX_LENGTH:
        raise ConfigurationError(
            f"{name} cannot be created: the Ingress of {service} would have the host {label}{dot}{domain}.",
            why=f"Its first part has {len(label)} characters; allowed are {LABEL_MAX_LENGTH}.",
            next_step="Choose a shorter name with -s.",
        )
    return f"{wildcard}{label}{dot}{domain}"
