"""Reads recorded previews, and shows them as the commands do."""

from __future__ import annotations

import io
import lzma
from functools import cache
from pathlib import Path

from rich.console import Console

from slipway.deploy.preview_events import PreviewEvents
from slipway.deploy.summary import Commits, PreviewSummary
from slipway.render.markdown import Links
from slipway.render.terminal import show

RECORDINGS = Path(__file__).parent
COMMITS = Commits(previewed="5678ef0123456789", deployed="1234abcd12345678")
LINKS = Links(run="https://ci.example/run/1", compare="https://ci.example/compare/1234abcd...5678ef01")


def lines(name: str) -> list[tuple[float, str]]:
    """The lines of a recording and when they came."""
    text = lzma.decompress((RECORDINGS / f"{name}.jsonl.xz").read_bytes()).decode()
    parts = (line.partition(" ") for line in text.splitlines())
    return [(float(at_seconds), line) for at_seconds, _, line in parts]


def events(name: str, until: int | None = None) -> PreviewEvents:
    """The events of a recording; `until` cuts it off after so many lines."""
    read = PreviewEvents()
    for at_seconds, line in lines(name)[:until]:
        read.take(line, at_seconds)
    return read


@cache
def summarize(name: str, until: int | None = None) -> PreviewSummary:
    return events(name, until).summary("slipway", "dev", drift=name == "drift", duration_seconds=9.8, commits=COMMITS)


def plain(summary: PreviewSummary) -> str:
    """What is printed where there is no terminal."""
    file = io.StringIO()
    show(summary, Console(file=file, width=100, highlight=False))
    return file.getvalue()
