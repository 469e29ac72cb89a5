"""From evidence to a diagnosis: the finding that explains most, what the logs add to it, how long it must be seen, and
its text on a screen.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from slipway.cluster.diagnosis import advice, pods
from slipway.cluster.diagnosis.model import (
    FAILED,
    Cause,
    Diagnosis,
    Evidence,
    Finding,
    JobEvidence,
    Log,
    LogTail,
    Object,
    condition,
    event_count,
    event_time,
    name_of,
    number_at,
    text_at,
)
from slipway.masking import masked_text, without_control

Kind = tuple[Cause, str, int | None]

EVENTS_KEPT = 3
# Messages that only repeat the pod's state.
_ECHOES = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName")
_PROBED = (Cause.READINESS, Cause.LIVENESS, Cause.STARTUP, Cause.STARTING)
_DULL = ("BackOff",)
_COMBINED = "(combined from similar events): "
LINES_READ = 60
LINES_KEPT = 12
REPETITIONS_KEPT = 2
_NUMBER = re.compile(r"\d+")
WIDTH = 100
"""The width of a screen in columns, except on a narrower terminal."""
MAX_LINES = 24
MIN_WIDTH = 40
_INDENT = 9
_REASON_LINES = 3
_LAST_LINE_ROWS = 3
_LOG_MARK = "    | "
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


def diagnose(evidence: Evidence, known: Finding | None = None) -> Diagnosis:
    """Why the rollout of `evidence.deployment` does not progress; `STARTING` if nothing is known to be wrong.

    `known` is the finding if no pod shows it.
    """
    found = [known] if known else [_refined_by_log(finding, evidence.logs) for finding in pods.findings(evidence)]
    main, same = _main(found)
    others = Counter(each.cause for each in found if each not in same)
    pod = next((each for each in evidence.current_pods() if name_of(each) == main.pod), {})
    case = advice.Case(evidence.service, main, pod, evidence.kubectl, evidence.subject)
    return Diagnosis(
        service=case.service,
        namespace=text_at(evidence.deployment, "metadata", "namespace"),
        finding=replace(main, reason=masked_text(main.reason)),
        headline=advice.headline(case),
        pods=tuple(finding.pod for finding in same if finding.pod),
        pods_wanted=number_at(evidence.deployment, "spec", "replicas", default=1),
        image=case.image,
        logs=log_tails(evidence.logs, main),
        events=_events(evidence, main, pod),
        advice=advice.steps(case),
        commands=advice.commands(case),
        others=tuple(f"{count} other{'s' if count > 1 else ''}: {cause}" for cause, count in others.items()),
        patience_seconds=patience_seconds(main, len(same)),
    )


def diagnose_job(evidence: JobEvidence) -> Diagnosis:
    """Why the Job fails, or does not end."""
    found = diagnose(evidence)
    failed = condition(evidence.deployment, FAILED)
    if found.pods or found.cause is not Cause.STARTING or failed.get("status") != "True":
        return found
    # No pod is left: a Job that exceeds its deadline deletes its pods.
    cause = Cause.DEADLINE if text_at(failed, "reason") == "DeadlineExceeded" else Cause.JOB_FAILED
    return diagnose(evidence, Finding(cause, "", "", text_at(failed, "reason"), text_at(failed, "message")))


def screen(diagnosis: Diagnosis, width: int = WIDTH) -> str:
    """What is wrong, where, messages, what to do: `MAX_LINES` lines at most; only commands may exceed `width`."""
    width = max(width, MIN_WIDTH)
    head = textwrap.wrap(diagnosis.headline, width)[:3]
    if diagnosis.pods:
        count = len(diagnosis.pods)
        like_it = " and others like it" if count > 1 else ""
        others = f" ({'; '.join(diagnosis.others)})" if diagnosis.others else ""
        pods = f"{count} of {max(diagnosis.pods_wanted, count)}: {diagnosis.pods[0]}{like_it}{others}"
        head += _list("pods", (pods,), width, 2)
    if diagnosis.finding.state:
        head += _list("state", (_state(diagnosis),), width, 1)
    if diagnosis.finding.reason:
        head += _list("reason", (diagnosis.finding.reason,), width, _REASON_LINES)
    foot = [*_list("events", diagnosis.events, width, 1), *_list("next", diagnosis.advice, width, 2)]
    # Whole, whatever the width, so that they can be copied.
    foot += [f"  {'':<{_INDENT - 1}} $ {command}" for command in diagnosis.commands]
    # The runs of the container share the room; the last one also gets the lines that the others leave.
    room = MAX_LINES - len(head) - len(foot)
    tails = diagnosis.logs[: max(room // 4, 1)]
    logs: list[str] = []
    for index, tail in enumerate(tails):
        left = len(tails) - index
        lines = _tail(tail, width, room // left if left > 1 else room)
        room -= len(lines)
        logs += lines
    return "\n".join([*head, *logs, *foot])


def is_complete(evidence: Evidence) -> bool:
    """Whether the newest template is rolled out: all its pods are available, and no others are left."""
    return bool(evidence.current_set()) and is_rolled_out(evidence.deployment)


def is_rolled_out(deployment: Object) -> bool:
    """The same from the Deployment's own status, as `kubectl rollout status` does it."""
    if number_at(deployment, "status", "observedGeneration") < number_at(deployment, "metadata", "generation"):
        return False
    replicas = number_at(deployment, "spec", "replicas", default=1)
    counts = [number_at(deployment, "status", key) for key in ("replicas", "updatedReplicas", "availableReplicas")]
    return all(count == replicas for count in counts)


def _kind(finding: Finding) -> Kind:
    return finding.cause, finding.container, finding.exit_code


def _main(found: Sequence[Finding]) -> tuple[Finding, list[Finding]]:
    """The finding that most pods share, a clear one before an unclear one; and all findings like it."""
    if not found:
        return Finding(Cause.STARTING, state="no pods yet"), []
    counts = Counter(map(_kind, found))

    def weight(finding: Finding) -> tuple[bool, bool, int, int]:
        certain = patience_seconds(finding) is not None
        return certain, finding.cause is not Cause.STARTING, counts[_kind(finding)], finding.ends

    main = max(found, key=weight)
    return main, [main, *(each for each in found if each is not main and _kind(each) == _kind(main))]


def _events(evidence: Evidence, main: Finding, pod: Object) -> tuple[str, ...]:
    """Warnings about the pod, or about the creation of pods, newest first, without those that repeat the reason."""
    about = evidence.events_of(pod) if pod else evidence.events_of(evidence.current_set())
    lines: dict[str, str] = {}
    for event in sorted(about, key=lambda each: str(event_time(each) or ""), reverse=True):
        reason, count = text_at(event, "reason"), event_count(event)
        message = advice.unwrapped(text_at(event, "message").removeprefix(_COMBINED))
        # Refusals differ only in the names of pods that were never created.
        is_news = (event.get("type") == "Warning" and main.pod) or message.endswith("will be restarted")
        is_known = main.reason and main.reason in message and reason != "Unhealthy"
        # A probe gets no answer if nothing runs.
        is_empty = reason == "Unhealthy" and main.cause not in _PROBED
        if is_news and not (is_known or is_empty or reason in _DULL or message in _ECHOES):
            times = f" ({count} times)" if count > 1 else ""
            lines.setdefault(message, f"{reason}{times}: {masked_text(message)}")
    return tuple(lines.values())[:EVENTS_KEPT]


# Seconds without a break. Any other cause may recover by itself: the Deployment's own deadline decides.
_SECONDS: Mapping[Cause, float] = {
    Cause.DEADLINE: 0.0,
    Cause.JOB_FAILED: 0.0,
    Cause.IMAGE_INVALID: 0.0,
    Cause.ENTRYPOINT: 0.0,
    # A registry behind a cache may lag behind a push for a moment.
    Cause.IMAGE_NOT_FOUND: 3.0,
    Cause.IMAGE_REFUSED: 3.0,
    # The kubelet has asked three times by then.
    Cause.REGISTRY_UNREACHABLE: 30.0,
    # Another resource of the same update may be about to create it.
    Cause.MISSING_OBJECT: 5.0,
    Cause.CONTAINER_CONFIG: 5.0,
    Cause.ADMISSION: 5.0,
    # A pod of another service, deleted in the same update, releases the quota that it used.
    Cause.QUOTA: 12.0,
    # Only a person resumes it.
    Cause.PAUSED: 2.0,
    # A node autoscaler does not invent labels; if one is at work, it says so, and `may_mend` is set.
    Cause.PLACEMENT: 15.0,
    Cause.RESOURCES: 45.0,
}
# How often a container must have ended. A crash may come from a dependency that is about to start; if its log says so,
# the deadline decides. Memory and files do not come back by themselves.
_ENDS: Mapping[Cause, int] = {
    Cause.OUT_OF_MEMORY: 2,
    Cause.READ_ONLY: 2,
    Cause.PERMISSION: 2,
    Cause.CRASH: 3,
    Cause.ENDED: 3,
}
# Space on the node may be short for a moment; a pod that is evicted again and again exceeds its own limit.
_EVICTIONS = 2


def patience_seconds(finding: Finding, same: int = 1) -> float | None:
    """Seconds that `finding` must last before giving up; `None` to wait on. `same` counts the pods that show it."""
    if finding.may_mend:
        return None
    if finding.cause is Cause.EVICTED:
        return 0.0 if same >= _EVICTIONS else None
    wanted_ends = _ENDS.get(finding.cause)
    if wanted_ends is not None:
        return 0.0 if finding.ends >= wanted_ends else None
    return _SECONDS.get(finding.cause)


def _refined_by_log(finding: Finding, logs: Sequence[Log]) -> Finding:
    """The finding with a better cause if the log of a crash, or of a service that never answers, names it."""
    if finding.cause not in (Cause.CRASH, Cause.STARTUP, Cause.READINESS, Cause.LIVENESS, Cause.STARTING):
        return finding
    crashed = finding.cause is Cause.CRASH
    text = next((log.text for log in _chosen_logs(logs, finding)), "")
    for cause, pattern in _CAUSES:
        # A running service may have survived what its log reports, but not a killed worker.
        if (crashed or cause is Cause.OUT_OF_MEMORY) and (line := _last_match(pattern, text)):
            return replace(finding, cause=cause, reason=line)
    if crashed and (line := _last_match(_DEPENDENCY, text)):
        return replace(finding, reason=line, may_mend=True)
    return finding


def _chosen_logs(logs: Sequence[Log], finding: Finding) -> list[Log]:
    """The runs worth reading, most informative first: if a container ended, the run that ended."""
    own = [log for log in logs if (log.pod, log.container) == (finding.pod, finding.container) and log.text.strip()]
    # A runtime that has deleted a log returns one line that says so.
    kept = [log for log in own if not log.text.startswith("unable to retrieve container logs")]
    # In a back-off the "present" run is the one that ended; if a container runs again, only the previous run can tell.
    restarted = finding.state.startswith("Running") and finding.ends > 0
    return sorted(kept, key=lambda log: log.previous != restarted)


def _last_match(pattern: re.Pattern[str], text: str) -> str:
    matching = [line for line in text.splitlines() if pattern.search(line)]
    return _readable(masked_text(matching[-1])) if matching else ""


def log_tails(logs: Sequence[Log], finding: Finding) -> tuple[LogTail, ...]:
    """The last lines of the runs worth reading; lines that differ only in numbers appear once, with their count, such
    as a probe's lines in an access log.
    """
    found: list[LogTail] = []
    for log in _chosen_logs(logs, finding)[:2]:
        run = "run before this one" if log.previous else "last run" if finding.ends else "so far"
        lines = [_readable(line) for line in masked_text(without_control(log.text)).splitlines() if line.strip()]
        kinds = [_NUMBER.sub("0", line) for line in lines]
        counts = Counter(kinds)
        shown = []
        for index, (line, kind) in enumerate(zip(lines, kinds, strict=True)):
            if counts[kind] <= REPETITIONS_KEPT:
                shown.append(line)
            elif kind not in kinds[index + 1 :]:
                shown.append(f"{line} ({counts[kind]} times)")
        kept = tuple(shown[-LINES_KEPT:])
        if kept and all(kept != other.lines for other in found):
            found.append(LogTail(f"{log.container}, {run}", kept))
    return tuple(found)


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


def last_lines(text: str, length: int) -> str:
    """The last whole lines of `text`, in at most `length` characters; the very last one in any case."""
    if len(text) <= length:
        return text
    end = text.rstrip("\n")
    first_kept = end.find("\n", len(end) - length) + 1 or end.rfind("\n") + 1
    return end[first_kept:]


def _state(diagnosis: Diagnosis) -> str:
    finding = diagnosis.finding
    parts = [finding.state]
    if finding.container and finding.container != diagnosis.service:
        parts.append(f"container {finding.container}")
    if finding.ends:
        parts.append(f"ended {finding.ends} time{'s' if finding.ends > 1 else ''}")
    if finding.exit_code is not None:
        parts.append(f"last with {advice.exit_words(finding.exit_code)}")
    return ", ".join(parts)


def _list(title: str, items: tuple[str, ...], width: int, lines: int) -> Iterator[str]:
    """`title` in front of the first line; each item wrapped into at most `lines` lines."""
    for item in items:
        wrapped = textwrap.wrap(" ".join(item.split()), width - _INDENT - 2, break_on_hyphens=False)
        if len(wrapped) > lines:
            wrapped[lines - 1 :] = [_cut(" ".join(wrapped[lines - 1 :]), width - _INDENT - 2)]
        for line in wrapped:
            yield f"  {title:<{_INDENT - 1}} {line}"
            title = ""


def _tail(tail: LogTail, width: int, room: int) -> list[str]:
    if room < 2:
        return []
    *before, last = tail.lines
    # The last line says most: it may take several rows.
    columns, room = width - len(_LOG_MARK), room - 1
    rows = [last[at : at + columns] for at in range(0, len(last), columns)]
    end = rows[: min(_LAST_LINE_ROWS, room)]
    if len(end) < len(rows):
        end[-1] = f"{end[-1][:-1]}…"
    before = before[max(len(before) + len(end) - room, 0) :]
    title = _cut(f"  {'log':<{_INDENT - 1}} {tail.title}:", width)
    return [title, *(_cut(f"{_LOG_MARK}{line}", width) for line in (*before, *end))]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
