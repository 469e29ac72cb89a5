"""Previews of the real program as the engine told them, recorded by record.py."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.preview_events import PreviewEvents
from slipway.summary import Commits, Summary

RECORDINGS = Path(__file__).parent
COMMITS = Commits(previewed="5678ef0123456789", deployed="1234abcd12345678")

Read = Callable[..., PreviewEvents]
Summarize = Callable[..., Summary]


@pytest.fixture
def lines() -> Callable[[str], list[tuple[float, str]]]:
    """The lines of a recording and when they came."""

    def read(name: str) -> list[tuple[float, str]]:
        text = gzip.decompress((RECORDINGS / f"{name}.jsonl.gz").read_bytes()).decode()
        parts = (line.partition(" ") for line in text.splitlines())
        return [(float(at_seconds), line) for at_seconds, _, line in parts]

    return read


@pytest.fixture
def recorded(lines: Callable[[str], list[tuple[float, str]]]) -> Read:
    """The events of a recording; `until` cuts it off after so many lines."""

    def read(name: str, until: int | None = None) -> PreviewEvents:
        events = PreviewEvents()
        for at_seconds, line in lines(name)[:until]:
            events.take(line, at_seconds)
        return events

    return read


@pytest.fixture
def summarized(recorded: Read) -> Summarize:
    """The summary of a recording."""

    def read(name: str, until: int | None = None) -> Summary:
        events = recorded(name, until)
        return events.summary("slipway", "dev", drift=name == "drift", duration_seconds=9.8, commits=COMMITS)

    return read
