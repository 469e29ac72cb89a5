"""The program's own gate: has what a program declares judged in a process of its own, before anything is registered.

Uses nothing but the standard library, so that a program that went through `slipway up` pays nothing for it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
DEADLINE_SECONDS = 60.0
# From the rules' deadline to that of the whole process, which has the program to load and run first.
MARGIN_SECONDS = 30.0
# Where the language host leaves the configuration, secret values included: not for a process that gets it on stdin.
CONFIG_VARIABLES = ("PULUMI_CONFIG", "PULUMI_CONFIG_SECRET_KEYS")
LAST_WORDS_LINES = 8


_declaring = threading.Event()


@contextmanager
def declaring() -> Iterator[None]:
    """While this lasts, the process only looks at what its program declares."""
    _declaring.set()
    try:
        yield
    finally:
        _declaring.clear()


def is_declaring() -> bool:
    return _declaring.is_set()


@dataclass(frozen=True)
class CheckRequest:
    """Whose program to look at, in which folder, and with which configuration."""

    folder: str
    project: str
    stack: str
    organization: str
    config: Mapping[str, str] = field(repr=False)
    secret_keys: list[str]
    timeout_seconds: float = DEADLINE_SECONDS


@dataclass(frozen=True)
class RuleFinding:
    """A rule that was not simply kept."""

    rule: str
    level: str
    resource: str
    state: str


@dataclass(frozen=True)
class Verdict:
    """What the gate says. All but one text are empty; `notes` may stand beside any of them.

    `refusal` lists what breaks the rules; `undecided` what mandatory rules ask and only the engine knows;
    `program_error` is what the program itself refuses with; `not_inspectable` is what only the engine can see; `error`
    is why there is no verdict. `judged` are type and name of all that the rules were asked about, `rules` is how many
    there are.
    """

    refusal: str = ""
    notes: str = ""
    program_error: str = ""
    not_inspectable: str = ""
    error: str = ""
    undecided: str = ""
    findings: list[RuleFinding] = field(default_factory=list)
    rules: int = field(default=0, compare=False)
    judged: list[tuple[str, str]] = field(default_factory=list, compare=False, repr=False)


def judge(
    request: CheckRequest, margin_seconds: float = MARGIN_SECONDS, environ: Mapping[str, str] | None = None
) -> Verdict:
    """The verdict on the program, which sees `environ`; this process's own variables where that is `None`.

    Never raises for what it finds, and never passes what it could not judge.
    """
    timeout_seconds = request.timeout_seconds + margin_seconds
    with _started(os.environ if environ is None else environ) as process:
        try:
            output, errors = process.communicate(json.dumps(asdict(request)), timeout_seconds)
        except subprocess.TimeoutExpired:
            return Verdict(error=f"the gate did not finish in {timeout_seconds:g} s")
    try:
        answer: dict[str, Any] = json.loads(output)
        findings = [RuleFinding(**each) for each in answer.pop("findings")]
        return Verdict(**answer, findings=findings)
    except (ValueError, TypeError, KeyError):
        last_words = "\n".join(errors.splitlines()[-LAST_WORDS_LINES:])
        return Verdict(error=f"the gate ended without a verdict, with exit code {process.returncode}:\n{last_words}")


@contextmanager
def _started(environ: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The gate's process. It holds the other end of a pipe that closes with this process, however that ends."""
    lifeline, ours = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "policy.program_check_process", str(lifeline)],
            cwd=CHECKOUT,
            env={name: value for name, value in environ.items() if name not in CONFIG_VARIABLES},
            pass_fds=[lifeline],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
                pipe.close()
    finally:
        os.close(lifeline)
        os.close(ours)
