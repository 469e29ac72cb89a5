"""Evaluates the policies for what the program declares, without the engine: a preview is needed only if it is read."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from policy import program_check
from policy.program_check import DeclaredObject
from services.catalog import RESOURCES_FILE, SPEC_FILE, CatalogError, Overrides, load
from services.yaml_source import DEFAULTS_KEY, SERVICES_KEY
from slipway.backend.self_managed import ORGANIZATION
from slipway.cluster.client import Cluster, ClusterError, NotFoundError
from slipway.cluster.deployed import ApiResource, is_inside, object_path
from slipway.cluster.diagnosis.model import text_at
from slipway.cluster.ownership import NAMESPACE
from slipway.deploy.approval import SERVICES, settings_of, source_files
from slipway.deploy.last_update import has_services_alone, inputs_hash
from slipway.deploy.preview import skip_program_gate
from slipway.deploy.summary import Violation
from slipway.engine.events import Urn
from slipway.errors import SlipwayError
from slipway.stack import Stack
from slipway.state.checkpoint import resources, stem

HOW_BUILT = re.compile(r"Dockerfile|\.dockerignore$")
# Also a Dockerfile of another name, whose content the catalogue reads.
MOUNTS_FILES = re.compile(rb"\b(?:files|dockerfile)\b")


@dataclass(frozen=True)
class _PolicyVerdict:
    """What is kept of an evaluation that refused nothing."""

    rules: int
    notes: str
    objects: list[DeclaredObject]


_VERDICTS = TypeAdapter(dict[str, _PolicyVerdict])
"""By the hash of the inputs."""


@dataclass(frozen=True)
class PassedPolicies:
    """The policies allow what the program declares: how many were evaluated, and notes for a person."""

    rules: int
    notes: str
    seconds: float
    """How long the check took."""
    variables: Mapping[str, str]
    """They make the program skip its own policy check, only for the files that were judged."""


def passed_policies(stack: Stack) -> PassedPolicies | None:
    """The result; `None` if only a preview can tell, or tells it better: something is refused, wrong or not known yet.

    The content of the services' own sources goes into images: while only that changes, the last verdict holds. Files
    that a service mounts go into ConfigMaps, and count.
    """
    began = time.monotonic()
    folder = stack.project.folder
    if folder.resolve() != program_check.CHECKOUT or stack.backend_url().startswith(("http:", "https:")):
        return None
    if stack.has_new_digests():  # a preview looks them up, and refuses before anything changes
        return None
    variables = skip_program_gate(stack.project, stack.name)
    inputs = policy_inputs(stack)
    verdict = _read(stack, inputs)
    if verdict is None:
        judged = judge_program(stack)
        if judged.refusal or judged.undecided or judged.program_error or judged.not_inspectable or judged.error:
            return None
        verdict = _PolicyVerdict(judged.rules, judged.notes, judged.objects)
        _write(stack, inputs, verdict)
    if creates_beside_others(stack, verdict.objects):
        return None
    return PassedPolicies(verdict.rules, verdict.notes, time.monotonic() - began, variables)


def record_passed(stack: Stack, inputs: str, rules: int, violations: Iterable[Violation]) -> None:
    """Record that an update of all services passed the policy pack, with these results that refuse nothing.

    `inputs` is what `policy_inputs` returned before the update, which evaluated as many `rules`. Nothing is recorded if
    anything but the services is declared: a policy may ask for values of it that only a preview knows in time.
    """
    with suppress(SlipwayError):  # the update succeeded anyway, and the next one evaluates again
        state = stack.present() or {}
        if not has_services_alone(state) or any(stack.project.folder.glob(f"{SERVICES}/*/{RESOURCES_FILE}")):
            return
        notes = [f"  {each.rule} [{each.weight}] {each.resource or 'the stack'}: {each.message}" for each in violations]
        notes = ["Policy advice and waivers:", *notes] if notes else []
        objects = [
            DeclaredObject(
                type=each.type,
                resource=each.name,
                api_version=text_at(each.inputs, "apiVersion"),
                kind=text_at(each.inputs, "kind"),
                namespace=text_at(each.inputs, "metadata", "namespace"),
                name=text_at(each.inputs, "metadata", "name"),
            )
            for each in resources(state)
            if program_check.may_change_something(each.type)
        ]
        _write(stack, inputs, _PolicyVerdict(rules, "\n".join(notes), objects))


def policy_inputs(stack: Stack) -> str:
    """A hash of everything that the verdict depends on; the content of files that only go into images is not in it."""
    folder = stack.project.folder
    files = {**program_check.file_hashes(folder), **dict(_sources(folder)), **dict(_mounted_files(stack))}
    return inputs_hash(stack, files, settings_of(stack))


def creates_beside_others(stack: Stack, declared: Iterable[DeclaredObject]) -> bool:
    """Whether an object would be created anywhere but in a namespace that does not exist either. In any other place a
    preview may find, before anything changes, that it is another owner's or that the API server refuses it. An object
    named by its content is not new if it has a predecessor.
    """
    urns = (Urn(each.urn) for each in resources(stack.present() or {}))
    known = {stem(f"urn::::{urn.type}::{urn.name}") for urn in urns}
    new = [each for each in declared if stem(f"urn::::{each.type}::{each.resource}") not in known]
    if not new:
        return False
    try:
        cluster = stack.cluster()
        namespaces = [each for each in new if (each.api_version, each.kind) == (NAMESPACE.api_version, NAMESPACE.name)]
        absent = {each.name for each in namespaces if each.name and not _exists(cluster, each.name)}
        return any(
            each.name not in absent if each in namespaces else not _is_inside(cluster, each, absent) for each in new
        )
    except ClusterError:  # a preview says what is wrong
        return True


def _exists(cluster: Cluster, namespace: str) -> bool:
    try:
        return bool(cluster.read(f"{NAMESPACE.root}/namespaces/{namespace}"))
    except NotFoundError:
        return False


def _is_inside(cluster: Cluster, declared: DeclaredObject, namespaces: Collection[str]) -> bool:
    """Whether the object is certainly in one of these namespaces: its kind is served, and is not cluster-scoped."""
    if not declared.api_version or declared.namespace not in namespaces:
        return False
    path = object_path(cluster, ApiResource(declared.api_version, declared.kind), declared.namespace, declared.name)
    return is_inside(path, declared.namespace)


def _sources(folder: Path) -> Iterator[tuple[str, str]]:
    """The parts of the services' files that the program reads before the builds: names, modes, links, and the content
    of files that define the builds. A `resources.py` may read any file beside it.
    """
    declaring = folder.glob(f"{SERVICES}/*/{RESOURCES_FILE}")
    with_resources = tuple(f"{file.parent.relative_to(folder)}/" for file in declaring)
    for name, file in source_files(folder):
        read = HOW_BUILT.search(file.name) or name.startswith(with_resources)
        try:
            content = program_check.content_hash(file) if read and file.is_file() else ""
            described = f"{file.lstat().st_mode:o} {file.exists()} {content}"
        except FileNotFoundError:  # deleted just now
            continue
        yield f"source {name}", described


def _mounted_files(stack: Stack) -> Iterator[tuple[str, str]]:
    """The content of files that services mount, which is in ConfigMaps that the policies read.

    The catalogue takes a hundredth of a second per service: it is read only if the settings or a spec mention files.
    """
    folder, settings = stack.project.folder, stack.project.environment_file(stack.name)
    specs = list(folder.glob(f"{SERVICES}/*/{SPEC_FILE}"))
    if not specs or not any(MOUNTS_FILES.search(file.read_bytes()) for file in (settings, *specs) if file.is_file()):
        return
    config = stack.project.settings(stack.name)
    overrides = Overrides(config.get(SERVICES_KEY) or {}, config.get(DEFAULTS_KEY) or {})
    try:
        services = load(folder / SERVICES, overrides)
    except CatalogError as error:  # the program reports it too
        yield "services", str(error)
        return
    for service in services:
        for file in service.files:
            yield f"file {service.name} {file.key}", hashlib.sha256(file.content).hexdigest()


def _write(stack: Stack, inputs: str, verdict: _PolicyVerdict) -> None:
    file = stack.own_file("policies")
    with suppress(OSError):  # the next update evaluates again
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_VERDICTS.dump_json({inputs: verdict}))


def _read(stack: Stack, inputs: str) -> _PolicyVerdict | None:
    try:
        return _VERDICTS.validate_json(stack.own_file("policies").read_bytes()).get(inputs)
    except (OSError, ValidationError):  # none yet, or not ours
        return None


def judge_program(stack: Stack) -> program_check.Verdict:
    """The verdict on the program of `stack`, with its decrypted settings; `error` if these cannot be read."""
    done = stack.engine.run("config", "--stack", stack.name, "--json", "--show-secrets")
    if done.exit_code:
        return program_check.Verdict(error=done.errors)
    settings = json.loads(done.output)
    config = {key: str(each.get("value", "")) for key, each in settings.items()}
    secret_keys = [key for key, each in settings.items() if each.get("secret")]
    request = program_check.CheckRequest(
        str(stack.project.folder), stack.project.name, stack.name, ORGANIZATION, config, secret_keys
    )
    return program_check.judge(request, environ=stack.engine.environment)
