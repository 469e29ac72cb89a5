"""What an approval, in a file or not, covers: commit, files, settings and state; and what has changed since."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from policy import program_check
from slipway.backend import UpdateInfo
from slipway.backend.self_managed import FILE
from slipway.engine.errors import failure
from slipway.errors import ConfigurationError, SlipwayError
from slipway.render.markdown_text import some_of
from slipway.stack import Stack
from slipway.values import CIPHERTEXT, SIGNATURE, Secret, mapped

NAMED = 8
COMMIT_DIGITS = 8
LOOKED_BACK = 20
SERVICES = "services"
NO_SOURCES = ("__pycache__", "node_modules")
# The engine itself writes it into the settings, and it does not affect what is deployed.
SALT = "encryptionsalt"
# The key of the recorded state that says when and by which engine it was written.
VOLATILE = "manifest"
# Keys of a resource with the lines of code that declared it, which move when a comment moves.
WHERE_DECLARED = {"sourcePosition", "stackTrace"}


@dataclass(frozen=True)
class Approval:
    """The inputs of a preview when it began; values by name are hashes, so that no secret is kept."""

    taken: datetime
    commit: str
    files: Mapping[str, str]
    settings: Mapping[str, str]
    state: str
    number: int | None = None
    """Of the last update; `None` if only a slow request could tell it."""


def take(stack: Stack) -> Approval:
    """Everything that a preview of `stack` depends on if it begins now."""
    folder = stack.project.folder
    in_folder = stack.backend_url().startswith(FILE)
    return Approval(
        datetime.now(UTC).replace(microsecond=0),  # the engine records whole seconds
        program_check.head(folder),
        file_hashes(folder),
        settings_of(stack),
        state_hash(stack),
        max((entry.number for entry in stack.history().latest(1)), default=0) if in_folder else None,
    )


def require_unchanged(stack: Stack, before: Approval) -> None:
    """Return if everything approved is unchanged; else raises SlipwayError, which names the changes."""
    after = take(stack)
    others = () if before.state == after.state else updates_since(stack, before)
    if lines := changed_since_preview(before, after, others):
        raise SlipwayError(
            f"{stack} was not updated: it has changed since the preview.",
            why="\n".join(lines),
            next_step=f"`slipway up -s {stack}` previews it as it is now.",
        )


def changed_since_preview(before: Approval, after: Approval, others: Sequence[UpdateInfo] = ()) -> list[str]:
    """The differences, one line each, without values of settings; `others` are updates that ended since `before`."""
    lines = []
    if before.commit != after.commit:
        lines.append(f"commit: {_short(before.commit)} → {_short(after.commit)}")
    for what, old, new in (("files", before.files, after.files), ("settings", before.settings, after.settings)):
        added = {name: "new" for name in new if name not in old}
        removed = {name: "removed" for name in old if name not in new}
        changed = {name: "changed" for name in old if name in new and old[name] != new[name]}
        if changes := [f"{name} ({how})" for name, how in sorted({**added, **removed, **changed}.items())]:
            lines.append(f"{what}: {some_of(changes, NAMED)}")
    if before.state == after.state:
        return lines
    for entry in others:
        by = f" by {entry.author}" if entry.author else ""
        at = entry.started.astimezone().strftime("%H:%M:%S")
        commit = f", commit {_short(entry.commit)}" if entry.commit else ""
        result = "succeeded" if entry.succeeded else "failed"
        lines.append(f"state: {entry.kind} #{entry.number}{by}, started at {at}{commit}, {result}")
    if not others:
        lines.append(
            "state: changed, though no update was recorded since; `pulumi state` and `pulumi stack import` do that"
        )
    return lines


def file_hashes(folder: Path) -> dict[str, str]:
    """A hash of every file that decides what is built and declared, by its path in `folder`, without settings."""
    hashes = program_check.file_hashes(folder)
    hashes = {name: value for name, value in hashes.items() if not name.startswith("Pulumi.") or name == "Pulumi.yaml"}
    for name, file in source_files(folder):
        if name not in hashes and (value := _content_hash(file)):
            hashes[name] = value
    return hashes


def settings_of(stack: Stack) -> dict[str, str]:
    """A hash of each value in the settings of `stack`, by its key."""
    return setting_hashes(stack.project.environment_file(stack.name).read_text(encoding="utf-8"))


def setting_hashes(text: str) -> dict[str, str]:
    """A hash of each value in the text of a `Pulumi.ENV.yaml`, by its key, nested keys joined by dots."""
    content = yaml.safe_load(text) or {}
    content.pop(SALT, None)
    config = content.pop("config", None) or {}
    return {name: _hash(value) for part in (config, content) for name, value in _leaves(part)}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value and set(value) != {"secure"}:
        for key, each in value.items():
            yield from _leaves(each, f"{path}.{key}" if path else str(key))
    elif path:
        yield path, value


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def source_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Files and links of the project's services, by their path in its `folder`, without folders that tools create.

    A name that is not UTF-8 is escaped, because JSON has to keep it too.
    """
    for parent, folders, files in os.walk(folder / SERVICES):
        named = [name for name in folders if not (name.startswith(".") or name in NO_SOURCES)]
        folders[:] = sorted(name for name in named if not Path(parent, name, "pyvenv.cfg").exists())
        for file in (Path(parent, name) for name in sorted(files)):
            yield os.fsencode(file.relative_to(folder)).decode(errors="backslashreplace"), file


def _content_hash(file: Path) -> str:
    """A hash of the file; empty if it has no content: a file that is gone by now, a socket."""
    if file.is_symlink():
        return _hash(str(file.readlink()))
    try:
        return program_check.content_hash(file) if file.is_file() else ""
    except FileNotFoundError:
        return ""
    except PermissionError as error:
        raise ConfigurationError(
            f"{file} cannot be read.", why=str(error.strerror), next_step="Let this user read it, or remove it."
        ) from error


def state_hash(stack: Stack) -> str:
    """A hash of the recorded state of `stack`. From a folder the state is read directly, which takes milliseconds."""
    if stack.backend_url().startswith(FILE):
        state: Mapping[str, Any] = stack.present() or {}
    else:
        done = stack.engine.run("stack", "export", "--stack", stack.name)
        if done.exit_code:
            raise failure(stack.name, (), done.errors or done.output)
        state = json.loads(done.output).get("deployment") or {}
    return _hash(normalized(state))


def normalized(state: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded state without the parts that differ each time the engine writes it, even if nothing has changed.

    A program declares in parallel, so the order of resources and of their dependencies has no meaning.
    """
    resources = []
    for resource in state.get("resources") or ():
        kept = {name: value for name, value in resource.items() if name not in WHERE_DECLARED}
        # Most have no secret: to write one as JSON takes a tenth of the time that a check of every value in it takes.
        if SIGNATURE in json.dumps(kept):
            kept = {name: _without_ciphertexts(value) for name, value in kept.items()}
        kept["dependencies"] = sorted(resource.get("dependencies") or ())
        by_property = resource.get("propertyDependencies") or {}
        kept["propertyDependencies"] = {name: sorted(urns or ()) for name, urns in by_property.items()}
        resources.append(kept)
    resources.sort(key=lambda each: (each["urn"], str(each.get("delete")), str(each.get("id"))))
    rest = {name: value for name, value in state.items() if name not in (VOLATILE, "resources")}
    return {**_without_ciphertexts(rest), "resources": resources}


def _without_ciphertexts(value: Any) -> Any:
    """The value without ciphertexts: a secret is encrypted again each time the state is written.

    A secret that really changes shows in the name of its Kubernetes Secret.
    """

    def without(each: Any, _path: object) -> Any:
        if not isinstance(each, Secret):
            return each
        return replace(each, fields={name: field for name, field in each.fields.items() if name != CIPHERTEXT})

    return mapped(value, without)


def updates_since(stack: Stack, before: Approval) -> Sequence[UpdateInfo]:
    """The updates that ended after `before` was taken; empty if the backend's history cannot be read from here."""
    try:
        entries = stack.history().latest(LOOKED_BACK)
    except SlipwayError:  # it is known anyway that the state changed
        return ()
    if before.number is not None:
        return [entry for entry in entries if entry.number > before.number]
    return [entry for entry in entries if entry.started + timedelta(seconds=entry.duration_seconds) >= before.taken]


def _short(commit: str) -> str:
    return commit[:COMMIT_DIGITS] or "(no commit)"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    stack: str
    approval: Approval


def require_approved(stack: Stack, file: Path, now: Approval) -> None:
    """Return if `file`, which a preview wrote, approves `now`; else raises SlipwayError, which names the changes.

    Raises ConfigurationError if no preview of this stack wrote the file.
    """
    name = f"{stack.project.name}/{stack}"
    try:
        content = _File.model_validate_json(file.read_bytes())
        problem = "" if content.stack == name else f"It is for {content.stack}."
    except ValidationError as error:
        problem = "\n".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    except OSError as error:
        problem = str(error)
    if problem:
        raise ConfigurationError(
            f"{file} is not an approval of {name}.",
            why=problem,
            next_step=f"`slipway preview -s {stack} --approval {file}` writes one.",
        )
    before = content.approval
    others = () if before.state == now.state else updates_since(stack, before)
    if lines := changed_since_preview(before, now, others):
        raise SlipwayError(
            f"{stack} was not updated: it has changed since the approval.",
            why="\n".join(lines),
            next_step=f"`slipway preview -s {stack} --approval {file}` writes a new approval.",
        )


def to_text(approval: Approval, project: str, stack: str) -> str:
    """The text that `require_approved` reads, on any machine."""
    return _File(stack=f"{project}/{stack}", approval=approval).model_dump_json(indent=1) + "\n"
