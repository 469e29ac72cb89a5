"""Evaluates the policies for what the program declares, without the engine: a preview is needed only if it is read."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policy import program_check
from services.catalog import RESOURCES_FILE, SPEC_FILE, CatalogError, Overrides, load
from services.yaml_source import DEFAULTS_KEY, SERVICES_KEY
from slipway.backend.self_managed import ORGANIZATION
from slipway.deploy.approval import SERVICES, settings_of, source_files
from slipway.deploy.last_update import inputs_hash
from slipway.deploy.preview import skip_program_gate
from slipway.deploy.summary import Violation
from slipway.engine.events import Urn
from slipway.engine.stages import KUBERNETES_PREFIX
from slipway.stack import Stack
from slipway.state.checkpoint import Snapshot, resources
from slipway.state.content_names import stem

HOW_BUILT = re.compile(r"Dockerfile|\.dockerignore$")
# Also a Dockerfile of another name, whose content the catalogue reads.
MOUNTS_FILES = re.compile(rb"\b(?:files|dockerfile)\b")


@dataclass(frozen=True)
class PassedPolicies:
    """The policies allow what the program declares: how many were evaluated, and notes for a person."""

    rules: int
    notes: str
    seconds: float
    """How long the check took."""
    variables: Mapping[str, str]
    """They make the program skip its own gate, only for the files that were judged."""


def passed_policies(stack: Stack) -> PassedPolicies | None:
    """The result; `None` if only a preview can tell, or tells it better: something is refused, wrong or not known yet.

    The content of the services' own sources goes into images: while only that changes, the last verdict holds. Files
    that a service mounts go into ConfigMaps, and count.
    """
    began = time.monotonic()
    folder = stack.project.folder
    others_rules = folder.resolve() != program_check.CHECKOUT
    if others_rules or stack.backend_url().startswith(("http:", "https:")):
        return None
    state = stack.present()
    if not state or not resources(state):
        return None
    if stack.has_new_digests():  # a preview looks them up, and refuses before anything changes
        return None
    variables = skip_program_gate(stack.project, stack.name)
    inputs = policy_inputs(stack)
    verdict = _read(stack.own_file("policies")).get(inputs)
    if verdict is None:
        judged = judge_program(stack)
        if judged.refusal or judged.undecided or judged.program_error or judged.not_inspectable or judged.error:
            return None
        declared = [f"{type_}::{name}" for type_, name in judged.judged if type_.startswith(KUBERNETES_PREFIX)]
        verdict = {"rules": judged.rules, "notes": judged.notes, "declared": declared}
        _write(stack, inputs, verdict)
    if _is_new(verdict["declared"], state):
        return None
    return PassedPolicies(verdict["rules"], verdict["notes"], time.monotonic() - began, variables)


def record_passed(stack: Stack, inputs: str, rules: int, violations: Iterable[Violation]) -> None:
    """Record that an update of all services passed the policy pack, with these results that refuse nothing.

    `inputs` is what `policy_inputs` returned before the update, which evaluated as many `rules`. Nothing is recorded
    where a service declares objects of its own: a policy may ask for values of these that only a preview knows in time.
    """
    if any(stack.project.folder.glob(f"{SERVICES}/*/{RESOURCES_FILE}")):
        return
    notes = [f"  {each.rule} [{each.weight}] {each.resource or 'the stack'}: {each.message}" for each in violations]
    declared = [f"{urn.type}::{urn.name}" for urn in (Urn(each.urn) for each in resources(stack.present() or {}))]
    verdict = {
        "rules": rules,
        "notes": "\n".join(["Policy advice and waivers:", *notes]) if notes else "",
        "declared": [each for each in declared if each.startswith(KUBERNETES_PREFIX)],
    }
    _write(stack, inputs, verdict)


def policy_inputs(stack: Stack) -> str:
    """A hash of everything that the verdict depends on; the content of files that only go into images is not in it."""
    folder = stack.project.folder
    files = {**program_check.file_hashes(folder), **dict(_sources(folder)), **dict(_mounted_files(stack))}
    return inputs_hash(stack, files, settings_of(stack))


def _is_new(declared: Iterable[str], state: Snapshot) -> bool:
    """Whether any of these objects, `type::name`, would be created. Another owner may have created it already, which a
    preview finds before anything changes. An object named by its content is not new if it has a predecessor.
    """
    urns = (Urn(each.urn) for each in resources(state))
    known = {stem(f"urn::::{urn.type}::{urn.name}") for urn in urns}
    return any(stem(f"urn::::{each}") not in known for each in declared)


def _sources(folder: Path) -> Iterator[tuple[str, str]]:
    """The parts of the services' files that the program reads before the builds: names, modes, links, and the content
    of files that define the builds. A `resources.py` may read any file beside it.
    """
    declaring = folder.glob(f"{SERVICES}/*/{RESOURCES_FILE}")
    with_resources = tuple(f"{file.parent.relative_to(folder)}/" for file in declaring)
    for name, file in source_files(folder):
        read = HOW_BUILT.search(file.name) or name.startswith(with_resources)
        content = program_check.content_hash(file) if read and file.is_file() else ""
        yield f"source {name}", f"{file.lstat().st_mode:o} {file.exists()} {content}"


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


def _write(stack: Stack, inputs: str, verdict: Mapping[str, Any]) -> None:
    file = stack.own_file("policies")
    with suppress(OSError):  # the next update evaluates again
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({inputs: verdict}), encoding="utf-8")


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or not ours
        return {}
    return content if isinstance(content, dict) else {}


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
