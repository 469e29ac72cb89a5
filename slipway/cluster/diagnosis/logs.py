"""The end of a container's log: which run of it matters, what it says about the cause, and how it is shown."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from slipway.cluster.diagnosis.model import Cause, Finding, Log, LogTail
from slipway.masking import masked_text, without_control

LINES_READ = 60
LINES_KEPT = 12
REPETITIONS_KEPT = 2
_NUMBER = re.compile(r"\d+")
_CAUSES = (
    (Cause.READ_ONLY, re.compile(r"(?i)read-only file ?system|\bEROFS\b")),
    (
        Cause.OUT_OF_MEMORY,
        re.compile(
            r"Perhaps out of memory|\bMemoryError\b|(?i:cannot allocate memory)|\bOutOfMemoryError\b"
            r"|heap out of memory|fatal error: runtime: out of memory"
        ),
    ),
    (Cause.PERMISSION, re.compile(r"(?i)permission ?denied|PermissionError|\bEACCES\b|operation not permitted")),
)
# Messages of a program that waits for another one, which may still come up.
_DEPENDENCY = re.compile(
    r"(?i)connection ?refused|could not connect|connection ?(?:timed out|timeout|reset)|ECONNREFUSED|ETIMEDOUT"
    r"|name or service not known|name resolution|no such host|ENOTFOUND|could not translate host name|is starting up"
    r"|503 service unavailable|no route to host"
)


def chosen(logs: Sequence[Log], finding: Finding) -> list[Log]:
    """The runs worth reading, most informative first: if a container ended, the run that ended."""
    own = [log for log in logs if (log.pod, log.container) == (finding.pod, finding.container) and _says_something(log)]
    # In a back-off the "present" run is the one that ended; if a container runs again, only the previous run can tell.
    restarted = finding.state.startswith("Running") and finding.ends > 0
    return sorted(own, key=lambda log: log.previous != restarted)


def _says_something(log: Log) -> bool:
    """Whether there is a log: a runtime that has deleted it returns one line that says so."""
    return bool(log.text.strip()) and not log.text.startswith("unable to retrieve container logs")


def refined(finding: Finding, logs: Sequence[Log]) -> Finding:
    """The finding with a better cause if the log of a crash, or of a service that never answers, names it."""
    if finding.cause not in (Cause.CRASH, Cause.STARTUP, Cause.READINESS, Cause.LIVENESS, Cause.STARTING):
        return finding
    crashed = finding.cause is Cause.CRASH
    text = next((log.text for log in chosen(logs, finding)), "")
    for cause, pattern in _CAUSES:
        # A running service may have survived what its log reports, but not a killed worker.
        if (crashed or cause is Cause.OUT_OF_MEMORY) and (line := _last_match(pattern, text)):
            return replace(finding, cause=cause, reason=line)
    if crashed and (line := _last_match(_DEPENDENCY, text)):
        return replace(finding, reason=line, may_mend=True)
    return finding


def _last_match(pattern: re.Pattern[str], text: str) -> str:
    matching = [line for line in text.splitlines() if pattern.search(line)]
    return _readable(masked_text(matching[-1])) if matching else ""


def last_lines(text: str, length: int) -> str:
    """The last whole lines of `text`, in at most `length` characters; the very last one in any case."""
    if len(text) <= length:
        return text
    end = text.rstrip("\n")
    first_kept = end.find("\n", len(end) - length) + 1 or end.rfind("\n") + 1
    return end[first_kept:]


def tails(logs: Sequence[Log], finding: Finding) -> tuple[LogTail, ...]:
    """The last lines of the runs worth reading."""
    found: list[LogTail] = []
    for log in chosen(logs, finding)[:2]:
        run = "run before this one" if log.previous else "last run" if finding.ends else "so far"
        lines = [_readable(line) for line in masked_text(without_control(log.text)).splitlines() if line.strip()]
        kept = tuple(_without_repetition(lines))[-LINES_KEPT:]
        if kept and all(kept != other.lines for other in found):
            found.append(LogTail(f"{log.container}, {run}", kept))
    return tuple(found)


def _without_repetition(lines: Sequence[str]) -> Iterator[str]:
    """Lines that differ only in numbers, such as a probe's lines in an access log, once with their count."""
    kinds = [_NUMBER.sub("0", line) for line in lines]
    counts = Counter(kinds)
    for index, (line, kind) in enumerate(zip(lines, kinds, strict=True)):
        if counts[kind] <= REPETITIONS_KEPT:
            yield line
        elif kind not in kinds[index + 1 :]:
            yield f"{line} ({counts[kind]} times)"


def _readable(line: str) -> str:
    """A line of JSON as plain text: level, message, and the last line of an exception."""
    try:
        content: Any = json.loads(line) if line.startswith("{") else None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        return line.rstrip()
    message = content.get("message") or content.get("msg")
    if not isinstance(message, str):
        return line.rstrip()
    exception = str(content.get("exception") or content.get("exc_info") or "").strip().splitlines()
    parts = [str(content.get("level") or "").upper(), message, *exception[-1:]]
    return " ".join(part for part in parts if part)
