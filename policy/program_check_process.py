"""The policy check's process: reads a program's configuration from stdin, judges what it declares, writes the verdict.

The configuration holds secret values: they only come through the pipe, and none of them goes back.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from policy.declaration import Resource, View
from policy.files import PolicyFileError
from policy.judge import Deadline, DeadlineError, Judge, RuleError, notes, refusal, undecided
from policy.model import Level, State
from policy.program_check import DeclaredObject, RuleFinding, Verdict, may_change_something
from policy.stack import namespace, object_name
from slipway.process import collect_garbage_rarely

TRACEBACK_LINES = 12


def main() -> None:
    """Answer one request; `argv[1]` is a pipe that closes when the parent ends."""
    collect_garbage_rarely()
    threading.Thread(target=_end_with_parent, args=(int(sys.argv[1]),), daemon=True).start()
    # Standard output is only for the verdict: the program's own output goes to standard error.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    json.dump(asdict(_verdict(request)), answer)
    answer.flush()
    # Do not wait for the SDK's threads or for an unfinished rule.
    os._exit(0)


def _end_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)


def _verdict(request: dict[str, Any]) -> Verdict:
    # Slow to load: only this process needs the SDK.
    import pulumi  # noqa: PLC0415

    from policy.declared import NotInspectableError, Program, resources_of  # noqa: PLC0415

    try:
        judge = Judge.of(request["stack"], request["config"], os.environ)
        keys = ("project", "stack", "organization", "config")
        program = Program(
            Path(request["folder"]), **{key: request[key] for key in keys}, secret_keys=tuple(request["secret_keys"])
        )
        resources = resources_of(program)
        deadline = Deadline(request["timeout_seconds"])
        report = deadline.run(lambda: judge.evaluate(resources), lambda: judge.current)
        judged = sorted({(each.type, each.name) for each in resources})
        active = [rule for rule in judge.rules if judge.level(rule) is not Level.OFF]
        found = [each for each in report.results if each.state is not State.PASS]
        return Verdict(
            refusal=refusal(report),
            notes=notes(report),
            undecided=undecided(report),
            findings=[RuleFinding(each.rule.id, each.level, each.resource.ref, each.state) for each in found],
            rules=len(active) + 1,  # and the check of waivers
            judged=judged,
            objects=[_object(each) for each in resources if may_change_something(each.type)],
        )
    except pulumi.RunError as error:
        return Verdict(program_error=str(error))
    except NotInspectableError as error:
        return Verdict(not_inspectable=str(error))
    except (RuleError, DeadlineError, PolicyFileError) as error:
        return Verdict(error=str(error))
    except Exception:  # noqa: BLE001 (whatever the program raised: it is not judged, so it does not pass)
        lines = traceback.format_exc().splitlines()[-TRACEBACK_LINES:]
        return Verdict(error="the program failed while its resources were collected:\n" + "\n".join(lines))


def _object(resource: Resource) -> DeclaredObject:
    parts = (
        View.of(resource).at("apiVersion"),
        View.of(resource).at("kind"),
        namespace(resource),
        object_name(resource),
    )
    texts = (each.value if isinstance(each.value, str) else "" for each in parts)
    return DeclaredObject(resource.type, resource.name, *texts)


if __name__ == "__main__":
    main()
