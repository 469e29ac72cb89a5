"""Engine events of real updates, cut down to what tests read of them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from slipway.engine.events import STACK_TYPE, parse
from slipway.engine.stages import stage_times
from tests.recording.workspace import CHECKOUT, Lines, Workspace, workspace, written

RECORDINGS = CHECKOUT / "tests/slipway/recorded"
NAMESPACE = "slipway-recorded-updates"
KEPT = ("resourcePreEvent", "resOutputsEvent", "resOpFailedEvent", "diagnosticEvent", "summaryEvent", "cancelEvent")
USER_SERVICE = "services/user_service"
FAILING_TEST = """

def test_fails() -> None:
    assert 1 == 2, "on purpose"
"""
# BuildKit's lines: `#8 [build 5/5] RUN …` begins a step, `#8 1.234 …` is what it prints.
STEP = re.compile(r"#(\d+) \[")
PRINTED = re.compile(r"#(\d+) \d+\.\d+ ")


def record() -> None:
    with workspace(NAMESPACE, Workspace) as made:
        made.config("slipway:checksTimeoutSeconds", "10")
        with _without_cache(made):
            _record(made, "first_update")
            _record(made, "nothing_changed")
            with _edited(made, f"{USER_SERVICE}/user_service/users.py", "\n\n\n", "\n\n# a change\n\n"):
                _record(made, "one_service_changed")
            with _edited(made, f"{USER_SERVICE}/service.yaml", "has: users}", "has: people}"):
                _record(made, "failing_check", fails_with="1 of 2 checks failed")
            tests = f"{USER_SERVICE}/tests/test_users.py"
            whole = (made.folder / tests).read_text()
            with _edited(made, tests, whole, whole + FAILING_TEST):
                _record(made, "failing_unit_test", fails_with="exit code 1")
            with _edited(made, f"{USER_SERVICE}/service.yaml", "replicas:", "replicaz:"):
                _record(made, "wrong_configuration", fails_with="unknown key")


@contextmanager
def _edited(made: Workspace, file: str, old: str, new: str) -> Iterator[None]:
    made.edit(file, old, new)
    yield
    made.edit(file, new, old)


@contextmanager
def _without_cache(made: Workspace) -> Iterator[None]:
    """Requirements that no build has seen yet, so that the packages are installed and the tests run."""
    for file in made.folder.glob("services/*/requirements.txt"):
        file.write_text(f"{file.read_text()}# {time.time_ns()}\n")
    yield


def _record(made: Workspace, name: str, *, fails_with: str = "") -> None:
    lines = list(_reduced(made.up(fails_with=fails_with)))
    (RECORDINGS / f"{name}.log").write_text(written(lines))
    if not fails_with:
        (RECORDINGS / f"{name}.txt").write_text(_times(lines))
    print(f"updates {name}: {len(lines)} events", flush=True)


def _times(lines: Lines) -> str:
    """How long each stage took, for the tests to compare with and for people to read."""
    events = [event for at_seconds, line in lines if (event := parse(line, round(at_seconds, 3)))]
    return "".join(f"{line}\n" for line in stage_times(events).lines())


def _reduced(lines: Lines) -> Iterator[tuple[float, str]]:
    """Of resources the kind, of the stack its outputs; without what pip printed, which names the machine's index."""
    installs: set[tuple[str, str]] = set()
    for at_seconds, line in lines:
        event = json.loads(line)
        kind = next((each for each in KEPT if each in event), None)
        if kind is None:
            continue
        if kind == "diagnosticEvent":
            urn, text = event[kind].get("urn", ""), event[kind]["message"]
            if (begun := STEP.match(text)) and "pip" in text and " install " in text:
                installs.add((urn, begun[1]))
            if (printed := PRINTED.match(text)) and (urn, printed[1]) in installs:
                continue
        elif "metadata" in event[kind]:
            event[kind]["metadata"] = _kind_of(event[kind]["metadata"])
        yield at_seconds, json.dumps(event, separators=(",", ":"))


def _kind_of(metadata: dict[str, Any]) -> dict[str, Any]:
    reduced = {key: metadata[key] for key in ("op", "urn", "type")}
    for key in ("old", "new"):
        if (state := metadata.get(key)) is not None:
            reduced[key] = {"custom": bool(state.get("custom"))}
    if metadata["type"] == STACK_TYPE and "new" in reduced:
        reduced["new"]["outputs"] = metadata["new"].get("outputs") or {}
    return reduced
