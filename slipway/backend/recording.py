"""Records an update of one stack of a self-managed backend: lock, journal, state, history, backup.

All files but the journal's are those that the engine itself would write. The journal says what an update has begun and
done: `begin` writes what the history will say and a hash of the state at the start, `append` a batch of the engine's
entries. At the end the state is computed from them, and the journal is removed. If it is there while no update runs, an
update was killed together with its command line: `settle` writes the state from it.
"""

from __future__ import annotations

import getpass
import hashlib
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json, to_json

from slipway.backend.self_managed import CHECKPOINT, CHECKPOINT_VERSION, UPDATE, SelfManagedSource, decompressed
from slipway.backend.source import Source
from slipway.state.checkpoint import Snapshot
from slipway.state.journal import Journal

FEATURES_VERSION = 4
"""The version of a state that holds more than version 3 can; `features` names what."""
HEADER, WRITTEN = "begun.json", "written.json"
TRUE = ("1", "t", "true")
ENGINE_MUST_WRITE = (
    "PULUMI_DISABLE_JOURNALING", "PULUMI_DIY_BACKEND_GZIP", "PULUMI_DIY_BACKEND_ZSTD", "PULUMI_SELF_MANAGED_STATE_GZIP",
)  # fmt: skip


class HeldError(Exception):
    """Another update holds the stack; the text is the engine's."""


@dataclass(frozen=True)
class RecordedStack(SelfManagedSource):
    """The same stack, whose files are written too; any of its methods may raise OSError."""

    @classmethod
    def of(cls, source: Source) -> RecordedStack | None:
        """The stack of `source`; `None` if its backend is not self-managed."""
        return cls(source.storage, source.project, source.stack) if isinstance(source, SelfManagedSource) else None

    def keeps_journal(self, variables: Mapping[str, str]) -> bool:
        """Whether an update can be recorded here. The engine itself writes compressed states, and all if its user has
        switched the journal off.
        """
        path = self._state_path()
        switched = any(variables.get(name, "").lower() in TRUE for name in ENGINE_MUST_WRITE)
        return path is not None and path.endswith(".json") and not switched

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
        holder = {"pid": pid, "username": getpass.getuser(), "hostname": socket.gethostname(), "timestamp": _now()}
        self.storage.write(own, to_json(holder))
        if others := [path for path in self._locks() if path != own]:
            self.storage.delete([own])
            raise HeldError(
                f"the stack is currently locked by {len(others)} lock(s). Either wait for the other process(es) to end "
                f"or delete the lock file with `pulumi cancel`.{''.join(map(self._described, others))}"
            )
        return own

    def _described(self, lock: str) -> str:
        try:
            held = from_json(self._contents([lock])[0])
        except FileNotFoundError:  # released just now
            return ""
        by = f"{held['username']}@{held['hostname']} (pid {held['pid']})"
        return f"\n  {self.storage.place(lock)}: created by {by} at {held['timestamp']}"

    def unlock(self, lock: str) -> None:
        self.storage.delete([lock])

    def save(self, content: bytes) -> None:
        """Replace the state by `content`; the state before it is kept as `.bak`."""
        path = f"{self._folder('stacks')}/{self.stack}.json"
        if self._state_path() == path:
            self.storage.copy(path, f"{path}.bak")
        self.storage.write(path, content)

    def add_to_history(self, update: Mapping[str, Any]) -> None:
        """Add an update to the history, with the present state as the state that it left."""
        stamp, state = time.time_ns(), f"{self._folder('stacks')}/{self.stack}.json"
        stem = f"{self._folder('history', self.stack)}/{self.stack}-{stamp}"
        self.storage.write(f"{stem}{UPDATE}", to_json(update))
        self.storage.copy(state, f"{stem}{CHECKPOINT}")
        self.storage.copy(state, f"{self._folder('backups', self.stack)}/{self.stack}.{stamp}.json")

    def begin(self, begun: Mapping[str, Any]) -> UpdateJournal:
        """Start a journal on the present state; the stack is locked. `begun` has the engine's version as `engine`."""
        header = {**begun, "base": _resources_hash(_latest(self.content()))}
        self.storage.write(f"{self.journal_folder()}/{HEADER}", to_json(header))
        return UpdateJournal(self, header)

    def journal_folder(self) -> str:
        return self._folder("journals", self.stack)

    def journal(self) -> UpdateJournal | None:
        """The journal of an update that runs, or was killed together with its command line."""
        folder = self.journal_folder()
        names = sorted(file.name for file in self._list(folder) if file.name.endswith(".json"))
        if HEADER not in names:
            return None
        found = dict(zip(names, self._contents([f"{folder}/{name}" for name in names]), strict=True))
        header, written = from_json(found.pop(HEADER)), found.pop(WRITTEN, b"")
        return UpdateJournal(self, header, [found[name] for name in sorted(found)], written.decode())

    def _contents(self, paths: Sequence[str]) -> list[bytes]:
        found = self.storage.read(paths)
        return [_content(found[path]) for path in paths]

    def is_left_over(self, *, holds_lock: bool) -> bool:
        """Whether there is the journal of an update that no longer runs; one that holds the lock is the only one."""
        has_journal = any(file.name == HEADER for file in self._list(self.journal_folder()))
        return has_journal and (holds_lock or not self.is_held())

    def settle(self) -> str:
        """Write the state from the journal of an update that was killed, if there is one; returns what to say of it.

        Call this only while no update holds the stack. A journal of another state than the present one stays, under
        another name.
        """
        journal = self.journal()
        if journal is None:
            return ""
        if journal.write_state():
            journal.remove()
            return f"An update of {self.stack} was killed: the state was written from the journal of what it did."
        kept = journal.keep_aside()
        return (
            f"An update of {self.stack} was killed, and its state has been replaced since. Its journal is kept: {kept}"
        )


@dataclass
class UpdateJournal:
    """What an update of `stack` has begun and done, in batches of the engine's entries."""

    stack: RecordedStack
    header: Mapping[str, Any]
    batches: list[bytes] = field(default_factory=list, repr=False)
    written: str = ""
    """The hash of the state that the journal leads to, if it was about to be written."""

    def append(self, batch: bytes) -> None:
        """Keep a batch, in JSON; the engine goes on when this returns."""
        self.stack.storage.write(f"{self.stack.journal_folder()}/{len(self.batches):08}.json", batch)
        self.batches.append(batch)

    def write_state(self) -> bool:
        """Write the state that the journal leads to; False if the journal is not of the present state."""
        content = self.stack.content()
        if self.written == _digest(content):  # killed between this and the end of the journal
            return True
        latest = _latest(content)
        if self.header["base"] != _resources_hash(latest):
            return False
        journal = Journal(latest)
        for batch in self.batches:
            for entry in from_json(batch).get("entries") or ():
                journal.add(entry)
        state = _checkpoint(journal, self.stack.qualified_name(), self.header["engine"])
        self.written = _digest(state)
        self.stack.storage.write(f"{self.stack.journal_folder()}/{WRITTEN}", self.written.encode())
        self.stack.save(state)
        return True

    def remove(self) -> None:
        """Remove the journal, its header first: without it there is none."""
        folder, storage = self.stack.journal_folder(), self.stack.storage
        storage.delete([f"{folder}/{HEADER}"])
        storage.delete([f"{folder}/{file.name}" for file in storage.files(folder)])

    def keep_aside(self) -> str:
        """Keep the journal under another name; returns where."""
        kept = f"{self.stack.journal_folder()}.{datetime.now(UTC):%Y%m%d-%H%M%S}.refused"
        for file in self.stack.storage.files(self.stack.journal_folder()):
            self.stack.storage.copy(f"{self.stack.journal_folder()}/{file.name}", f"{kept}/{file.name}")
        self.remove()
        return self.stack.storage.place(kept)


def _content(read: bytes | OSError) -> bytes:
    if isinstance(read, OSError):
        raise read
    return read


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _latest(content: bytes) -> Snapshot:
    latest: Snapshot | None = from_json(content, cache_strings="keys")["checkpoint"].get("latest") if content else None
    return latest or {}


def _resources_hash(latest: Snapshot) -> str:
    """Of all that a journal relies on: which resources there are, in which order, and when each last changed.

    An engine that changes nothing, because it was refused, writes the state again with another time.
    """
    keys = ("urn", "id", "delete", "modified")
    return _digest(to_json([[raw.get(key) for key in keys] for raw in latest.get("resources") or ()]))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _checkpoint(journal: Journal, stack: str, engine: str) -> bytes:
    """The content of the file that holds the state, as the engine of this version writes it."""
    state = journal.state()
    features = journal.features(state)
    manifest = {"time": _now(), "magic": hashlib.sha256(engine.encode()).hexdigest(), "version": engine}
    content = {"version": FEATURES_VERSION, "features": features} if features else {"version": CHECKPOINT_VERSION}
    latest = {"metadata": {}, **state, "manifest": manifest}
    return to_json({**content, "checkpoint": {"stack": stack, "latest": latest}})
