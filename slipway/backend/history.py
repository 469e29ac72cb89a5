"""Opens the history of a stack in any backend, and reads only the requested parts of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from slipway.backend.backends import backend_url, open_source
from slipway.backend.source import Record, Source, UnreadableError
from slipway.backend.update_info import UpdateInfo, entry, unreadable
from slipway.engine.pulumi_cli import Pulumi
from slipway.errors import ConfigurationError, SlipwayError
from slipway.project import Project
from slipway.state.checkpoint import Snapshot, renamed


@dataclass(frozen=True)
class History:
    """The recorded updates of one stack, and the states they left."""

    project: str
    stack: str
    source: Source = field(repr=False)

    @classmethod
    def open(cls, engine: Pulumi, project: Project, stack: str) -> History:
        """Find the backend as the engine does; raises ConfigurationError if none can be read."""
        return cls(project.name, stack, open_source(backend_url(engine, project), engine, project.name, stack))

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
        return tuple(self._entry(record, found.get(record.number)) for record in records)

    def _entry(self, record: Record, update: Mapping[str, Any] | UnreadableError | None) -> UpdateInfo:
        if update is None or isinstance(update, UnreadableError):
            return unreadable(record.number, record.finished, record.problem or str(update))
        try:
            return entry(record.number, update, self.project)
        except ValueError as error:
            return unreadable(record.number, record.finished, f"{record.update}: {error}")
