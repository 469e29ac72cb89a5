"""Records an update of one stack of a self-managed backend: lock, journal, state, history, backup.

All files but the journal's are those that the engine itself would write. The journal says what an update has started
and done: `begin` writes what the history will say and a hash of the state at the start, `append` a batch of the
engine's entries. At the end the state is computed from them, and the journal is removed. If it is there while no update
runs, an update was killed together with its command line: `settle` writes the state from it.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import secrets
import socket
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json, to_json

from slipway.backend.self_managed import CHECKPOINT, CHECKPOINT_VERSION, UPDATE, SelfManagedSource, decompressed
from slipway.backend.update_info import Source
from slipway.environment_variables import TRUE
from slipway.state.checkpoint import Snapshot
from slipway.state.integrity import problems
from slipway.state.journal import Journal

FEATURES_VERSION = 4
"""The version of a state that holds more than version 3 can; `features` names what."""
STARTED, WRITTEN, BATCH = ".begun.json", ".written.json", ".batch.json"
ENGINE_MUST_WRITE = (
    "PULUMI_DISABLE_JOURNALING", "PULUMI_DIY_BACKEND_GZIP", "PULUMI_DIY_BACKEND_ZSTD",
    "PULUMI_SELF_MANAGED_STATE_GZIP", "PULUMI_SELF_MANAGED_STATE_ZSTD",
    "PULUMI_DIY_BACKEND_RETAIN_CHECKPOINTS", "PULUMI_RETAIN_CHECKPOINTS",
    "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS", "PULUMI_DISABLE_CHECKPOINT_BACKUPS",
)  # fmt: skip
SLASHES_OF_A_WHOLE_NAME = 2


class HeldError(Exception):
    """Another update holds the stack, or has left a journal; the engine shows the text."""


@dataclass(frozen=True)
class RecordedStack(SelfManagedSource):
    """The same stack, whose files are written too; any of its methods may raise OSError."""

    @classmethod
    def of(cls, source: Source) -> RecordedStack | None:
        """The stack of `source`; `None` if its backend is not self-managed."""
        return cls(source.storage, source.project, source.stack) if isinstance(source, SelfManagedSource) else None

    def keeps_journal(self, settings: Mapping[str, Any], variables: Mapping[str, str]) -> bool:
        """Whether an update can be recorded here, with the stack's `settings` as in `Pulumi.<stack>.yaml`.

        The engine itself writes compressed states, those that another key encrypts than the settings name, those that
        refer to other stacks by short names, which it knows in this kind of backend only, and all if its user has
        switched the journal off.
        """
        path = self._state_path()
        switched = any(variables.get(name, "").lower() in TRUE for name in ENGINE_MUST_WRITE)
        if path is None or not path.endswith(".json") or switched or not self._has_projects:
            return False
        latest = self.present() or {}
        references = [raw for raw in latest["resources"] if raw["type"] == "pulumi:pulumi:StackReference"]
        names = [str((raw.get("inputs") or {}).get("name")) for raw in references]
        falls_back = variables.get("PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER", "").lower() in TRUE
        return _has_key(latest.get("secrets_providers") or {}, settings, falls_back=falls_back) and all(
            name.count("/") == SLASHES_OF_A_WHOLE_NAME for name in names
        )

    def exists(self) -> bool:
        return self._state_path() is not None

    def content(self) -> bytes:
        """The file of the present state, not compressed; empty if the stack does not exist."""
        path = self._state_path()
        return decompressed(self._contents([path])[0]) if path else b""

    def tags(self) -> dict[str, str]:
        """The stack's tags: pulumi's pkg/backend/diy/stack_tags.go."""
        try:
            (content,) = self._contents([f"{self._folder('stacks')}/{self.stack}.pulumi-tags"])
        except FileNotFoundError:
            return {}
        return dict(from_json(content).get("tags") or {})

    def lock(self, pid: int) -> str:
        """Lock the stack for the process `pid`, and return the lock; raises HeldError if another holds it."""
        own = f".pulumi/locks/{self.qualified_name()}/{uuid.uuid4()}.json"
        self._require_no_other_lock(own)
        holder = {"pid": pid, "username": getpass.getuser(), "hostname": socket.gethostname(), "timestamp": _now()}
        try:
            self.storage.write(own, to_json(holder))
            self._require_no_other_lock(own)
        except BaseException:
            self.storage.delete([own])
            raise
        return own

    def _require_no_other_lock(self, own: str) -> None:
        others = [path for path in self._locks() if path != own]
        if not others:
            return
        text = (
            f"the stack is currently locked by {len(others)} lock(s). Either wait for the other process(es) to end "
            "or delete the lock file with `pulumi cancel`."
        )
        for lock in others:
            with suppress(FileNotFoundError):  # released just now
                held = from_json(self._contents([lock])[0])
                by = f"{held['username']}@{held['hostname']} (pid {held['pid']})"
                text += f"\n  {self.storage.place(lock)}: created by {by} at {held['timestamp']}"
        raise HeldError(text)

    def unlock(self, lock: str) -> None:
        self.storage.delete([lock])

    def save(self, content: bytes) -> None:
        """Replace the state by `content`; the state before it is kept as `.bak`."""
        path = f"{self._folder('stacks')}/{self.stack}.json"
        if self._state_path() == path:
            self.storage.copy(path, f"{path}.bak")
        self.storage.write(path, content)

    def add_to_history(self, update: Mapping[str, Any], stamp: int) -> None:
        """Add an update to the history, with the present state as the state that it left; `stamp` is the time of its
        end in nanoseconds, and its name: what is added again is there once.
        """
        state = f"{self._folder('stacks')}/{self.stack}.json"
        stem = f"{self._folder('history', self.stack)}/{self.stack}-{stamp}"
        self.storage.write(f"{stem}{UPDATE}", to_json(update))
        self.storage.copy(state, f"{stem}{CHECKPOINT}")
        self.storage.copy(state, f"{self._folder('backups', self.stack)}/{self.stack}.{stamp}.json")

    def begin(self, header: Mapping[str, Any]) -> UpdateJournal:
        """Start a journal on the present state; the stack is locked. `header` has the engine's version as `engine`.

        Raises HeldError if a journal is left over: its update was killed since the stack was looked at.
        """
        if self._has_journal():
            raise HeldError(f"another update of {self.stack} was killed meanwhile: run the command again")
        journal = UpdateJournal(
            self, secrets.token_hex(8), {**header, "base": _resources_hash(_latest(self.content()))}
        )
        self.storage.write(journal.path(STARTED), to_json(journal.header))
        return journal

    def journal_folder(self) -> str:
        return self._folder("journals", self.stack)

    def journals(self) -> list[UpdateJournal]:
        """The journal of an update that runs, or those of killed ones; each has a name that no other has."""
        names = [file.name for file in self._list(self.journal_folder())]
        found = []
        for identity in sorted(name.removesuffix(STARTED) for name in names if name.endswith(STARTED)):
            batches = sorted(name for name in names if name.startswith(f"{identity}.") and name.endswith(BATCH))
            written = [f"{identity}{WRITTEN}"] if f"{identity}{WRITTEN}" in names else []
            own = [f"{identity}{STARTED}", *batches, *written]
            header, *rest = self._contents([f"{self.journal_folder()}/{name}" for name in own])
            digest = rest.pop().decode() if written else ""
            found.append(UpdateJournal(self, identity, from_json(header), rest, digest))
        return found

    def is_left_over(self, *, holds_lock: bool) -> bool:
        """Whether there is the journal of an update that no longer runs; one that holds the lock is the only one."""
        if holds_lock:
            return self._has_journal()
        # Looked for again at the end: its update may have ended meanwhile.
        return self._has_journal() and not self.is_held() and self._has_journal()

    def _has_journal(self) -> bool:
        return any(file.name.endswith(STARTED) for file in self._list(self.journal_folder()))

    def settle(self) -> list[str]:
        """Write the state from the journals of updates that were killed; returns what to say of them.

        A journal of another state than the present one stays, under another name, as does one that cannot be read.
        Does nothing while an update holds the stack.
        """
        try:
            lock = self.lock(os.getpid())
        except HeldError:
            return []
        said = []
        try:
            for journal in self.journals():
                why = ""
                try:
                    if journal.write_state():
                        journal.remove()
                    else:
                        why = "its state was replaced since"
                except (ValueError, KeyError) as error:
                    why = f"its journal cannot be read ({error})"
                if why:
                    kept = journal.keep_aside()
                    said.append(f"An update of {self.stack} was killed, and {why}. The journal is kept: {kept}")
                else:
                    said.append(f"An update of {self.stack} was killed: the state was written from its journal.")
        finally:
            self.unlock(lock)
        return said

    def remove_journals(self) -> None:
        """Remove what is left of a removed stack."""
        folder = self.journal_folder()
        self.storage.delete([f"{folder}/{file.name}" for file in self._list(folder)])

    def _contents(self, paths: Sequence[str]) -> list[bytes]:
        found = self.storage.read(paths)
        contents = []
        for path in paths:
            content = found[path]
            if isinstance(content, OSError):
                raise content
            contents.append(content)
        return contents


@dataclass
class UpdateJournal:
    """What an update of `stack` has started and done, in batches of the engine's entries."""

    stack: RecordedStack
    identity: str
    header: Mapping[str, Any]
    batches: list[bytes] = field(default_factory=list, repr=False)
    written: str = ""
    """The hash of the state that the journal leads to, if it was about to be written."""
    damage: list[str] = field(default_factory=list)
    """Why the engine would refuse the state that was written; empty if it accepts it."""

    def path(self, part: str) -> str:
        return f"{self.stack.journal_folder()}/{self.identity}{part}"

    def append(self, batch: bytes) -> None:
        """Keep a batch, in JSON; the engine goes on when this returns."""
        self.stack.storage.write(self.path(f".{len(self.batches):08}{BATCH}"), batch)
        self.batches.append(batch)

    def write_state(self) -> bool:
        """Write the state that the journal leads to; False if the journal is not of the present state."""
        content = self.stack.content()
        if not self.batches or self.written == _digest(content):  # nothing started, or killed after it was written
            return True
        latest = _latest(content)
        if self.header["base"] != _resources_hash(latest):
            return False
        journal = Journal(latest)
        for batch in self.batches:
            for entry in from_json(batch).get("entries") or ():
                journal.add(entry)
        state = journal.state()
        self.damage = problems(state)
        features = journal.features(state)
        engine = self.header["engine"]
        manifest = {"time": _now(), "magic": _digest(engine.encode()), "version": engine}
        # `metadata` may have the engine's note of a problem; an engine that finds none removes it.
        after = {**state, "manifest": manifest, "metadata": {}}
        version = {"version": FEATURES_VERSION, "features": features} if features else {"version": CHECKPOINT_VERSION}
        checkpoint = to_json({**version, "checkpoint": {"stack": self.stack.qualified_name(), "latest": after}})
        self.written = _digest(checkpoint)
        self.stack.storage.write(self.path(WRITTEN), self.written.encode())
        self.stack.save(checkpoint)
        return True

    def remove(self) -> None:
        """Remove the journal, its beginning first: without it there is none."""
        self.stack.storage.delete([self.path(STARTED)])
        numbers = range(len(self.batches))
        self.stack.storage.delete([*(self.path(f".{at:08}{BATCH}") for at in numbers), self.path(WRITTEN)])

    def keep_aside(self) -> str:
        """Keep the journal under another name; returns where."""
        kept = f"{self.path('')}.{datetime.now(UTC):%Y%m%d-%H%M%S}.refused"
        whole = {"begun": self.header, "batches": [batch.decode(errors="replace") for batch in self.batches]}
        self.stack.storage.write(kept, to_json(whole))
        self.remove()
        return self.stack.storage.place(kept)


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _has_key(kept: Mapping[str, Any], settings: Mapping[str, Any], *, falls_back: bool) -> bool:
    """Whether the settings lead the engine to the key that encrypts the state, `kept` in its `secrets_providers`.

    Without a key in the settings the engine takes one of its own for this kind of backend, or that of the state if it
    `falls_back`.
    """
    state = kept.get("state") or {}
    if salt := settings.get("encryptionsalt"):
        return kept.get("type") == "passphrase" and state.get("salt") == salt
    provider = settings.get("secretsprovider")
    if provider and provider not in ("default", "passphrase"):
        return (state.get("url"), state.get("encryptedkey")) == (provider, settings.get("encryptedkey"))
    return kept.get("type") in ("passphrase", "cloud") and falls_back


def _latest(content: bytes) -> Snapshot:
    latest: Snapshot | None = from_json(content, cache_strings="keys")["checkpoint"].get("latest") if content else None
    return latest or {}


def _resources_hash(latest: Snapshot) -> str:
    """Of all that a journal relies on: the key, which resources there are, in which order, and when each last changed.

    An engine that changes nothing, because it was refused, writes the state again with another time.
    """
    keys = ("urn", "id", "delete", "modified")
    resources = [[raw.get(key) for key in keys] for raw in latest.get("resources") or ()]
    return _digest(to_json([latest.get("secrets_providers"), resources]))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
