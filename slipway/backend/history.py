"""Finds the backend that the engine uses, opens the history of a stack in it, and reads and decrypts its states.

In Pulumi Cloud the history is read through the engine's own command line.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from slipway.backend.self_managed import CHECKPOINT_VERSION, ORGANIZATION, SelfManagedSource, backend_folder
from slipway.backend.storage import EXTRAS, BucketStorage, Folder, bucket
from slipway.backend.update_info import Record, Source, UnreadableError, UpdateInfo, entry, unreadable
from slipway.engine.errors import failure
from slipway.engine.pulumi_cli import Completed, Pulumi
from slipway.environment_variables import BACKEND_URL
from slipway.errors import ConfigurationError, SlipwayError
from slipway.masking import masked_text
from slipway.project import Project
from slipway.state.checkpoint import Snapshot, renamed
from slipway.values import has_encrypted

PULUMI_CLOUD = "https://api.pulumi.com"
PASSPHRASE, FORMER_PASSPHRASE = "PULUMI_CONFIG_PASSPHRASE", "SLIPWAY_FORMER_PASSPHRASE"
PAGE_SIZE = 100
UNFINISHED = ("in-progress", "not-started")
PREVIEW = "preview"


@dataclass(frozen=True)
class History:
    """The recorded updates of one stack, and the states they left."""

    project: str
    stack: str
    source: Source = field(repr=False)

    @classmethod
    def open(cls, engine: Pulumi, project: Project, stack: str) -> History:
        """Find the backend as the engine does; raises ConfigurationError if none is set or its kind cannot be read."""
        name, url = project.name, backend_url(engine, project)
        scheme = urlsplit(url).scheme
        source: Source
        if scheme in ("http", "https"):
            source = CloudHistory(url, engine, stack)
        elif folder := backend_folder(url, engine.folder):
            source = SelfManagedSource(Folder(folder), name, stack)
        elif scheme in EXTRAS:
            storage = BucketStorage.open(bucket(url, engine.environment), engine.environment)
            source = SelfManagedSource(storage, name, stack)
        else:
            raise ConfigurationError(
                f"The history of the backend {masked_text(url)} cannot be read.",
                why=f"Supported: file://, {', '.join(f'{each}://' for each in EXTRAS)}, and Pulumi Cloud's https://.",
                next_step="Move the stack to one of them, or use `pulumi stack history`.",
            )
        return cls(name, stack, source)

    @cached_property
    def entries(self) -> tuple[UpdateInfo, ...]:
        """All updates, oldest first; no state is read."""
        return self._read(self._records)

    def latest(self, count: int) -> tuple[UpdateInfo, ...]:
        """The last `count` updates, oldest first; only these are read."""
        return self._read(self._records[-count:])

    def entry(self, number: int) -> UpdateInfo:
        """The update with that number; raises ConfigurationError if there is none."""
        return self._read([self._record(number)])[0]

    def checkpoint(self, number: int) -> Snapshot:
        """The state that the update with that number left, under the stack's present name; raises SlipwayError if it
        cannot be read.
        """
        record = self._record(number)
        try:
            if record.problem:
                raise UnreadableError(record.problem)
            # A stack reference of Pulumi Cloud has the organization in front.
            state = self.source.checkpoint(record)
            return dict(renamed(state, self.project, self.stack.rpartition("/")[2]))
        except UnreadableError as error:
            raise SlipwayError(
                f"The state that update #{number} of {self.stack} left cannot be read.",
                why=str(error),
                next_step=f"Choose another update: `slipway history -s {self.stack}` lists them.",
            ) from error

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of all updates, oldest first; only the list of updates is read."""
        return tuple(record.number for record in self._records)

    def identity(self, number: int) -> str:
        """A text that changes with the record of that update; the record itself is not read."""
        record = self._record(number)
        return f"{record.number} {record.finished.isoformat()} {record.checkpoint} {record.size}"

    def present(self) -> Snapshot | None:
        """The present state of the stack; `None` if the stack does not exist."""
        try:
            return self.source.present()
        except UnreadableError as error:
            raise SlipwayError(
                f"The state of stack {self.stack} cannot be read.",
                why=str(error),
                next_step=f"Restore it from a checkpoint or a backup: `pulumi stack import -s {self.stack} --file F`.",
            ) from error

    @cached_property
    def _records(self) -> Sequence[Record]:
        return self.source.records()

    @cached_property
    def _by_number(self) -> dict[int, Record]:
        return {record.number: record for record in self._records}

    def _record(self, number: int) -> Record:
        if record := self._by_number.get(number):
            return record
        known = "Its history is empty: it was never updated."
        if self._records:
            known = f"Its history goes from #{self._records[0].number} to #{self._records[-1].number}."
        raise ConfigurationError(
            f"There is no update #{number} of {self.stack}.",
            why=known,
            next_step=f"`slipway history -s {self.stack}` lists them.",
        )

    def _read(self, records: Sequence[Record]) -> tuple[UpdateInfo, ...]:
        whole = [record for record in records if not record.problem]
        found = dict(zip((record.number for record in whole), self.source.updates(whole), strict=True))
        entries = []
        for record in records:
            update = found.get(record.number)
            if update is None or isinstance(update, UnreadableError):
                entries.append(unreadable(record.number, record.finished, record.problem or str(update)))
                continue
            try:
                entries.append(entry(record.number, update, self.project))
            except ValueError as error:
                entries.append(unreadable(record.number, record.finished, f"{record.update}: {error}"))
        return tuple(entries)


def backend_url(engine: Pulumi, project: Project) -> str:
    """The URL of the engine's backend; raises ConfigurationError if none is set."""
    url = find_backend_url(engine, project)
    if not url:
        raise ConfigurationError(
            "No backend is set, so there is no history.",
            why="PULUMI_BACKEND_URL is not set, Pulumi.yaml has no `backend.url`, and `pulumi login` has not run.",
            next_step='Run `eval "$(slipway env)"` for the lab\'s, or `pulumi login URL` for your own.',
        )
    return url


def find_backend_url(engine: Pulumi, project: Project) -> str:
    """The URL from the engine's sources, in its order: PULUMI_BACKEND_URL, `backend.url` of Pulumi.yaml, the login, and
    Pulumi Cloud if only a token for it is set. Empty if there is none.
    """
    variables = engine.environment
    if url := variables.get(BACKEND_URL) or variables.get("PULUMI_BACKEND_URL"):
        return url
    content = yaml.safe_load(project.file.read_text(encoding="utf-8"))
    backend = content.get("backend") if isinstance(content, dict) else None
    if isinstance(backend, dict) and backend.get("url"):
        return str(backend["url"])
    home = variables.get("PULUMI_HOME") or str(Path(variables.get("HOME") or Path.home()) / ".pulumi")
    file = Path(variables.get("PULUMI_CREDENTIALS_PATH") or home) / "credentials.json"
    try:
        logins = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        logins = {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be read.", why=str(error), next_step="Run `pulumi login`.") from error
    if isinstance(logins, dict) and logins.get("current"):
        return str(logins["current"])
    return (variables.get("PULUMI_API") or PULUMI_CLOUD) if variables.get("PULUMI_ACCESS_TOKEN") else ""


def decrypted(engine: Pulumi, project: str, stack: str, snapshot: Snapshot) -> Snapshot:
    """The state with its secrets decrypted (`plaintext` instead of `ciphertext`) by the engine itself.

    The state contains its secrets provider; it is put, still encrypted, into a temporary backend for this call.
    Decrypted secrets are never written to a file. Raises ConfigurationError if neither the present passphrase or key
    nor a former passphrase decrypts it.
    """
    if not has_encrypted(snapshot):
        return snapshot
    done = _opened(engine, project, stack, snapshot)
    former = next((each for each in ("", "_FILE") if engine.environment.get(f"{FORMER_PASSPHRASE}{each}")), None)
    if done.exit_code and former is not None:
        # Before a `pulumi stack change-secrets-provider` the state was encrypted with another passphrase.
        environment = {name: value for name, value in engine.environment.items() if not name.startswith(PASSPHRASE)}
        environment[f"{PASSPHRASE}{former}"] = environment[f"{FORMER_PASSPHRASE}{former}"]
        done = _opened(replace(engine, environment=environment), project, stack, snapshot)
    if done.exit_code:
        raise ConfigurationError(
            f"The secrets of a recorded state of stack {stack} cannot be decrypted.",
            why=(done.errors or done.output).strip(),
            next_step=f"Set {PASSPHRASE} or {PASSPHRASE}_FILE, or give access to the key. If the state was recorded "
            f"under another passphrase, also set {FORMER_PASSPHRASE} or {FORMER_PASSPHRASE}_FILE to that one.",
        )
    opened: Snapshot = json.loads(done.output)["deployment"]
    return opened


def _opened(engine: Pulumi, project: str, stack: str, snapshot: Snapshot) -> Completed:
    with tempfile.TemporaryDirectory(prefix="slipway-state-") as name:
        folder = Path(name)
        (folder / "Pulumi.yaml").write_text(json.dumps({"name": project, "runtime": "python"}))
        stacks = folder / ".pulumi" / "stacks" / project
        stacks.mkdir(parents=True)
        (folder / ".pulumi" / "meta.yaml").write_text("version: 1\n")
        # Pending operations do not concern the secrets, and an export warns of them.
        latest = {key: value for key, value in snapshot.items() if key != "pending_operations"}
        checkpoint = {"stack": f"{ORGANIZATION}/{project}/{stack}", "latest": latest}
        (stacks / f"{stack}.json").write_text(json.dumps({"version": CHECKPOINT_VERSION, "checkpoint": checkpoint}))
        scratch = {
            **engine.environment,
            "PULUMI_BACKEND_URL": folder.as_uri(),
            "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
        }
        return replace(engine, environment=scratch).run(
            "stack", "export", "--show-secrets", "--stack", stack, folder=folder
        )


@dataclass(frozen=True)
class CloudHistory:
    """One stack in Pulumi Cloud, which numbers updates itself: its version is the number here.

    This project is tested without an account: in the tests, the JSON that the engine's source documents
    (pkg/cmd/pulumi/stack/stack_history.go, `updateInfoJSON`: fields are added to it, never changed) replaces the
    engine.
    """

    url: str
    engine: Pulumi
    stack: str

    @property
    def place(self) -> str:
        return f"{self.url} {self.engine.folder} {self.stack}"

    def records(self) -> list[Record]:
        updates = sorted(self._updates.items())
        return [Record(number, datetime.fromisoformat(update["endTime"])) for number, update in updates]

    def updates(self, records: Sequence[Record]) -> list[Mapping[str, Any] | UnreadableError]:
        found: list[Mapping[str, Any] | UnreadableError] = []
        for record in records:
            update = self._updates[record.number]
            # In the form that the engine writes to files: times in seconds.
            times = {name: datetime.fromisoformat(update[name]).timestamp() for name in ("startTime", "endTime")}
            found.append({**update, **times})
        return found

    def checkpoint(self, record: Record) -> Snapshot:
        return self._exported(f"update #{record.number}", "--version", str(record.number))

    def present(self) -> Snapshot | None:
        return self._exported("the present state")

    def is_held(self) -> bool:
        return any(update.get("result") in UNFINISHED and update.get("kind") != PREVIEW for update in self._page(1))

    @cached_property
    def _updates(self) -> dict[int, dict[str, Any]]:
        """All finished updates, by version; previews do not count."""
        found: dict[int, dict[str, Any]] = {}
        page: list[dict[str, Any]] = []
        for number in range(1, 1_000_000):
            page = self._page(number)
            known = len(found)
            for update in page:
                is_finished = update.get("endTime") and update.get("result") not in UNFINISHED
                if is_finished and update.get("kind") != PREVIEW:
                    found[update["version"]] = update
            if len(page) < PAGE_SIZE or (found and len(found) == known):
                break
        return found

    def _page(self, number: int) -> list[dict[str, Any]]:
        paging = ("--page-size", str(PAGE_SIZE), "--page", str(number))
        done = self.engine.run("stack", "history", "--stack", self.stack, "--json", "--full-dates", *paging)
        if done.exit_code:
            raise failure(self.stack, (), done.errors or done.output)
        try:
            page: list[dict[str, Any]] = json.loads(done.output or "[]")
        except ValueError:  # instead of an empty page the engine may print a sentence
            return []
        return page

    def _exported(self, what: str, *options: str) -> Snapshot:
        done = self.engine.run("stack", "export", "--stack", self.stack, *options)
        if done.exit_code:
            raise UnreadableError(f"{what}: {(done.errors or done.output).strip()}")
        try:
            snapshot = json.loads(done.output)["deployment"] or {}
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableError(f"{what}: the engine printed no state: {error}") from error
        return {**snapshot, "resources": snapshot.get("resources") or []}
