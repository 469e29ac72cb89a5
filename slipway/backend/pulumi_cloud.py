"""Reads the history in Pulumi Cloud through the engine's own command line.

This project is tested without an account: in the tests, the JSON that the engine's source documents
(pkg/cmd/pulumi/stack/stack_history.go, `updateInfoJSON`: fields are added to it, never changed) replaces the engine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from slipway.backend.update_info import Record, UnreadableError
from slipway.engine.errors import failure
from slipway.engine.pulumi_cli import Pulumi
from slipway.state.checkpoint import Snapshot

PAGE_SIZE = 100
UNFINISHED = ("in-progress", "not-started")
PREVIEW = "preview"


@dataclass(frozen=True)
class CloudHistory:
    """One stack in Pulumi Cloud, which numbers updates itself: its version is the number here."""

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
