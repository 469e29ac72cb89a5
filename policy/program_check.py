"""The program's own policy check: judges what a program declares, in a separate process, before anything is registered;
and the token by which `slipway up` says that it has passed.

Uses only the standard library, so that it costs nothing in a program that `slipway up` has checked.
"""

from __future__ import annotations

import hashlib
import hmac
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
# From the rules' deadline to that of the whole process, which must load and run the program first.
MARGIN_SECONDS = 30.0
# The language host puts the configuration here, secret values included: the check's process gets it on stdin instead.
CONFIG_VARIABLES = ("PULUMI_CONFIG", "PULUMI_CONFIG_SECRET_KEYS")
STDERR_TAIL_LINES = 8


_declaring = threading.Event()


@contextmanager
def declaring() -> Iterator[None]:
    """Within this block, the process only looks at what its program declares."""
    _declaring.set()
    try:
        yield
    finally:
        _declaring.clear()


def is_declaring() -> bool:
    return _declaring.is_set()


@dataclass(frozen=True)
class CheckRequest:
    """The program to check, its folder, and its configuration."""

    folder: str
    project: str
    stack: str
    organization: str
    config: Mapping[str, str] = field(repr=False)
    secret_keys: list[str]
    timeout_seconds: float = DEADLINE_SECONDS


@dataclass(frozen=True)
class RuleFinding:
    """A rule that did not simply pass."""

    rule: str
    level: str
    resource: str
    state: str


def may_change_something(type_: str) -> bool:
    """Whether resources of this type token may be anything else than the program's own, an image or a provider."""
    return not type_.startswith(("slipway:", "docker-build:", "pulumi:"))


@dataclass(frozen=True)
class DeclaredObject:
    """A resource that the program declares: its type token and name, and how the cluster finds the object. A part that
    only the update knows, or that a resource outside of Kubernetes does not have, is empty.
    """

    type: str
    resource: str
    api_version: str
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True)
class Verdict:
    """The verdict of the check. A text that does not apply is empty; `notes` may be set with any of the others.

    `refusal` lists the violations, `undecided` the mandatory rules that only the engine can decide. `program_error` is
    the error of the program itself, `not_inspectable` is something that only the engine can see. `error` is why there
    is no verdict. `judged` are type and name of all resources that the rules were checked on, `objects` those that
    `may_change_something`, `rules` is the number of rules.
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
    objects: list[DeclaredObject] = field(default_factory=list, compare=False, repr=False)


def judge(
    request: CheckRequest, margin_seconds: float = MARGIN_SECONDS, environ: Mapping[str, str] | None = None
) -> Verdict:
    """The verdict on the program, which sees `environ`, or this process's own variables if that is `None`.

    Never raises because of a finding, and never passes a program that it could not judge.
    """
    timeout_seconds = request.timeout_seconds + margin_seconds
    with _started(os.environ if environ is None else environ) as process:
        try:
            output, errors = process.communicate(json.dumps(asdict(request)), timeout_seconds)
        except subprocess.TimeoutExpired:
            return Verdict(error=f"the policy check did not finish in {timeout_seconds:g} s")
    try:
        answer: dict[str, Any] = json.loads(output)
        findings = [RuleFinding(**each) for each in answer.pop("findings")]
        objects = [DeclaredObject(**each) for each in answer.pop("objects")]
        return Verdict(**answer, findings=findings, objects=objects)
    except (ValueError, TypeError, KeyError):
        stderr_tail = "\n".join(errors.splitlines()[-STDERR_TAIL_LINES:])
        return Verdict(
            error=f"the policy check ended with exit code {process.returncode} and no result:\n{stderr_tail}"
        )


@contextmanager
def _started(environ: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The check's process. It holds the other end of a pipe that closes when this process ends, in any way."""
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


VARIABLE = "SLIPWAY_GATE_PASSED"
# The files that decide the verdict. The services' other sources do not: they end up in images, not in objects.
PROGRAM_FILES = (
    *("*.py", "Pulumi*.yaml", "services/*.py", "services/*/service.yaml", "services/*/resources.py"),
    *("components/**/*.py", "policy/**/*.py", "policy/*.yaml", "slipway/**/*.py"),
)
NOT_OF_THE_PROGRAM = "slipway/templates"


def token(folder: Path, project: str, stack: str) -> str:
    """The value of `SLIPWAY_GATE_PASSED` that lets `stack` through.

    A hash over project, stack, commit and every file of the project's `folder` that decides what is declared and how
    it is judged: an old value in a shell is invalid as soon as any of them changes.
    """
    digest = hashlib.sha256()
    files = (f"{name} {content}" for name, content in file_hashes(folder).items())
    for part in ("slipway gate", project, stack, head(folder), *files):
        digest.update(f"{len(part)}:{part}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def is_passed(environ: Mapping[str, str], folder: Path, project: str, stack: str) -> bool:
    """Whether the environment says that exactly this program, of this stack, passed the check."""
    given = environ.get(VARIABLE, "")
    return bool(given) and hmac.compare_digest(given, token(folder, project, stack))


def head(folder: Path) -> str:
    """The commit of the work tree; empty if there is no git repository: then only the files decide."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def file_hashes(folder: Path) -> dict[str, str]:
    """A hash of each file that decides the verdict, by its path in `folder`, in order."""
    found = {file for pattern in PROGRAM_FILES for file in folder.glob(pattern)}
    names = {file.relative_to(folder).as_posix(): file for file in sorted(found) if file.is_file()}
    return {name: content_hash(file) for name, file in names.items() if not name.startswith(NOT_OF_THE_PROGRAM)}


def content_hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
