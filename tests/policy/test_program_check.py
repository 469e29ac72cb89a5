"""The program's own gate: the real program, judged in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from policy import program_check
from tests.committed_settings import committed_settings
from tests.example import SERVICES

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow  # each starts a program

SECRET = "hunter2-and-a-half"
PARTS = ("__main__.py", "Pulumi.yaml", "components", "policy", "services")


def request_for(
    stack: str, folder: Path = ROOT, timeout_seconds: float = 20.0, **config: str
) -> program_check.CheckRequest:
    values = committed_settings(stack)
    secrets = {f"{service}:DATABASE_URL": f"postgresql://u:{SECRET}@db/x" for service in SERVICES}
    keys = [*secrets]
    return program_check.CheckRequest(
        str(folder), "slipway", stack, "organization", values | secrets | config, keys, timeout_seconds
    )


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_REGISTRY", "registry.example/team")
    monkeypatch.delenv("KUBECONFIG", raising=False)


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the program and its rules, to be spoilt."""
    for name in PARTS:
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__", ".*_cache", ".hypothesis")
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(source, tmp_path / name)
    monkeypatch.setattr(program_check, "CHECKOUT", tmp_path)
    return tmp_path


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@cache
def verdict_of(stack: str) -> program_check.Verdict:
    return program_check.judge(request_for(stack))


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_the_repositorys_own_environments_pass(stack: str) -> None:
    assert verdict_of(stack) == program_check.Verdict()


def test_a_removed_probe_is_refused_by_name(copy: Path) -> None:
    probes = "spec.health.probes(spec.kind).items()"
    replace(copy / "components/pod.py", probes, f'{probes} if name != "live"')
    verdict = program_check.judge(request_for("dev", copy))
    assert verdict.refusal.startswith(
        "Policy violation: stack dev breaks 1 mandatory rule.\n  liveness-probe [mandatory]"
    )
    assert [(each.rule, each.resource, each.state) for each in verdict.findings] == [
        ("liveness-probe", "Deployment/user-service", "violation"),
        ("worker-liveness", "Deployment/order-worker", "violation"),
        ("liveness-probe", "Deployment/order-service", "violation"),
    ]


def test_what_mandatory_rules_need_and_only_the_engine_knows_is_reported(copy: Path) -> None:
    image = "image=images[service.name].reference,"
    elsewhere = "image=__import__('pulumi').StackReference('organization/builds/dev').require_output('image'),"
    replace(copy / "components/release.py", image, elsewhere)
    verdict = program_check.judge(request_for("dev", copy))
    assert (verdict.refusal, verdict.not_inspectable, verdict.error) == ("", "", "")
    assert "image-by-digest [mandatory]" in verdict.undecided
    assert "not known before the update" in verdict.undecided


def test_what_was_evaluated_is_reported() -> None:
    judged = verdict_of("dev").judged
    assert ("kubernetes:apps/v1:Deployment", "user-service") in map(tuple, judged)
    assert ("slipway:index:Microservice", "order-service") in map(tuple, judged)
    assert ("pulumi:providers:kubernetes", "dev") in map(tuple, judged)


def test_levels_follow_the_stack(copy: Path) -> None:
    shutil.copy(ROOT / "Pulumi.dev.yaml", copy / "Pulumi.live.yaml")
    request = request_for("dev", copy)
    verdict = program_check.judge(program_check.CheckRequest(**{**vars(request), "stack": "live"}))
    assert {each.rule for each in verdict.findings} == {"replicas", "min-ready-seconds"}


def test_a_secret_reaches_the_program_through_the_pipe_alone(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps({"slipway:registry": "wrong.example"}))
    seen = copy / "seen.txt"
    spy = (
        "import os, pulumi, sys\n"
        f"open({str(seen)!r}, 'w').write(repr([sys.argv, dict(os.environ), "
        "pulumi.Config('user-service').require('DATABASE_URL')]))\n"
        "print('printed by the program')\n"
    )
    (copy / "__main__.py").write_text(spy + (copy / "__main__.py").read_text())
    replace(
        copy / "components/pod.py",
        '"env_from": sources,',
        '"env_from": sources, "env": [{"name": "X", "value": '
        "__import__('pulumi').Config('user-service').require('DATABASE_URL')}],",
    )
    verdict = program_check.judge(request_for("dev", copy))
    assert {each.rule for each in verdict.findings} == {"no-secret-in-env"}
    argv_and_environment, _, config = seen.read_text().rpartition(", ")
    assert SECRET in config
    assert SECRET not in argv_and_environment
    assert "wrong.example" not in argv_and_environment
    assert SECRET not in repr(verdict)


def test_a_program_that_refuses_itself_is_quoted() -> None:
    config: dict[str, Any] = {"slipway:checksTimeoutSeconds": "soon"}
    verdict = program_check.judge(request_for("dev", **config))
    assert verdict.program_error.startswith("Configuration error: `slipway:checksTimeoutSeconds` is 'soon'")
    assert verdict.refusal == verdict.error == ""


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda copy: replace(
                copy / "policy/rules/containers.py", "if grace <= longest:", "if grace <= longest / 0:"
            ),
            "rule `termination-grace` failed on Deployment/user-service: ZeroDivisionError at containers.py:",
        ),
        (
            lambda copy: replace(
                copy / "policy/rules/containers.py",
                "    if grace <= longest:",
                "    while True:\n        pass\n    if True:",
            ),
            "rule `termination-grace` on Deployment/user-service did not finish in 1 s",
        ),
        (
            lambda copy: replace(copy / "policy/settings.yaml", "dev: dev", "dev: test"),
            "policy/settings.yaml:4: `dev` is 'test'",
        ),
        (
            lambda copy: replace(copy / "__main__.py", "enforce_policies()", "raise KeyError('broken')"),
            "KeyError: 'broken'",
        ),
        (
            lambda copy: replace(copy / "__main__.py", "enforce_policies()", "raise SystemExit(3)"),
            "the policy check ended with exit code 3",
        ),
        (
            lambda copy: replace(copy / "policy/program_check_process.py", "import json\n", "import jso\n"),
            "No module named 'jso'",
        ),
    ],
)
def test_what_cannot_be_judged_does_not_pass(copy: Path, spoil: Callable[[Path], None], words: str) -> None:
    spoil(copy)
    verdict = program_check.judge(request_for("dev", copy, timeout_seconds=1.0))
    assert words in verdict.error
    assert verdict.refusal == verdict.program_error == ""


def test_a_program_that_never_ends_is_given_up(copy: Path) -> None:
    replace(copy / "__main__.py", "enforce_policies()", "import time; time.sleep(60)")
    started = time.monotonic()
    verdict = program_check.judge(request_for("dev", copy, timeout_seconds=1.0), margin_seconds=1.0)
    assert verdict.error == "the policy check did not finish in 2 s"
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("code", "what"),
    [
        pytest.param(
            "pulumi.runtime.invoke('aws:index/getRegion:getRegion', {})",
            "the function aws:index/getRegion:getRegion",
            marks=pytest.mark.thorough,
        ),
        (
            "pulumi.ComponentResource('eks:index:Cluster', 'c', {}, None, True)",
            "the remote component eks:index:Cluster `c`",
        ),
    ],
)
def test_what_only_the_engine_sees_does_not_pass(copy: Path, code: str, what: str) -> None:
    replace(copy / "__main__.py", "enforce_policies()", code)
    assert program_check.judge(request_for("dev", copy)).not_inspectable == what


def test_the_gates_process_ends_with_the_program(copy: Path) -> None:
    """However the program is killed, nothing is left behind that runs with its secrets."""
    pid_file = copy / "pid.txt"
    replace(
        copy / "__main__.py",
        "enforce_policies()",
        f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)",
    )
    program = (
        "from policy.program_check import CheckRequest, judge; "
        f"judge(CheckRequest({str(copy)!r}, 'slipway', 'dev', 'o', {{}}, []))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=copy)
    deadline = time.monotonic() + 20
    while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    pid = int(pid_file.read_text())
    parent.kill()
    parent.wait()
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
