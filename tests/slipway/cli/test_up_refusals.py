"""What `slipway up` refuses before it changes anything: real engine, real policies, a cluster that stays as it is."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway.cluster.client import Cluster
from slipway.paths import lab_environment_file

pytestmark = pytest.mark.lab

QUESTION = b"Update dev? [y/N]: "
LABELLED = """\
import pulumi_kubernetes as kubernetes
labels = {"app.kubernetes.io/managed-by": "pulumi"}
kubernetes.scheduling.v1.PriorityClass("NAME", metadata={"name": "NAME", "labels": labels}, value=1)
"""
UNLABELLED = LABELLED.replace(', "labels": labels', "")
RULE = "required-labels"
TIMEOUT_SECONDS = 60


@pytest.fixture
def project(scratch_after: Any) -> Iterator[Any]:
    scratch = scratch_after("preview", "-s", "dev")  # which makes the stacks
    scratch.program(LABELLED)
    yield scratch
    assert not is_there(scratch), "something was changed"
    assert updates(scratch) == [], "an update was recorded"
    assert scratch.locks() == [], "the lock was left behind"


def is_there(project: Any) -> bool:
    cluster = Cluster.connect(None, json.loads(lab_environment_file().read_text())["KUBECONFIG"])
    listed = cluster.read("/apis/scheduling.k8s.io/v1/priorityclasses")["items"]
    return project.unique in {item["metadata"]["name"] for item in listed}


def updates(project: Any) -> list[Path]:
    return list((project.home / "first" / "backend").rglob("*.history.json"))


def edit(project: Any, file: str, old: str, new: str) -> None:
    path = project.folder / file
    text = path.read_text()
    assert old in text, f"{file} does not have {old!r}"
    path.write_text(text.replace(old, new, 1))


def spoil_rule(project: Any, statement: str) -> None:
    """Have `statement` run where the policies ask each `rule` of a resource."""
    asking = "results.append(self._result(rule, resource, subjects[rule.subjects], stack))"
    edit(project, "policy/judge.py", asking, f"{statement}; {asking}")


def test_what_breaks_a_mandatory_rule_is_refused_with_its_name(project: Any) -> None:
    project.program(UNLABELLED)
    result = project("up", "-s", "dev", "--yes")
    assert result.returncode == 3, result.stderr
    assert f"{RULE}  mandatory  PriorityClass {project.unique}" in result.stdout
    assert "dev was not updated: 1 mandatory policy violation." in result.stderr
    assert f"{RULE}: PriorityClass {project.unique}" in result.stderr


def test_a_rule_that_raises_is_named_and_lets_nothing_pass(project: Any) -> None:
    spoil_rule(project, f"1 / (rule.id != '{RULE}')")
    result = project("up", "-s", "dev", "--yes")
    assert result.returncode == 1, result.stderr
    assert f"rule `{RULE}` failed on PriorityClass/{project.unique}: ZeroDivisionError at judge.py" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.thorough  # as test_pack.py and test_program_check.py of tests/policy have it, without an update
def test_a_rule_that_never_ends_is_named(project: Any) -> None:
    for file in ("policy/judge.py", "policy/program_check.py"):  # of the policy pack, and of the program
        edit(project, file, "DEADLINE_SECONDS = 60.0", "DEADLINE_SECONDS = 2.0")
    spoil_rule(project, f"__import__('time').sleep(1000 * (rule.id == '{RULE}'))")
    result = project("up", "-s", "dev", "--yes")
    assert result.returncode == 1, result.stderr
    assert f"rule `{RULE}` on PriorityClass/{project.unique} did not finish in 2 s" in result.stderr


@pytest.mark.parametrize(
    "hanging", ["import time; time.sleep(1000)", pytest.param("while True: pass", marks=pytest.mark.thorough)]
)
def test_a_pack_that_hangs_while_it_loads_is_ended(project: Any, hanging: str) -> None:
    edit(project, "policy/__main__.py", "import sys\n", f"import sys\n{hanging}\n")
    result = project("up", "-s", "dev", "--yes", "--refresh", SLIPWAY_POLICY_TIMEOUT_SECONDS="3")
    assert result.returncode == 1, result.stderr
    pack = project.folder / "policy"
    assert f"The preview of dev was stopped: the policy pack {pack} did not load in 3 s." in result.stderr
    assert "SLIPWAY_POLICY_TIMEOUT_SECONDS" in result.stderr
    assert running_in(project.folder) == []


def test_a_pack_that_never_answers_is_ended(project: Any) -> None:
    edit(project, "policy/analyzer.py", "        resource = _resource(request)\n", "        threading.Event().wait()\n")
    result = project("up", "-s", "dev", "--yes", "--refresh", SLIPWAY_POLICY_TIMEOUT_SECONDS="3")
    assert result.returncode == 1, result.stderr
    assert f"the program and the policy pack {project.folder / 'policy'} sent no message" in result.stderr
    assert running_in(project.folder) == []


def running_in(folder: Path) -> list[str]:
    """Processes that have to do with the folder, once those that are ending have had the time."""
    deadline = time.monotonic() + 5
    while found := [line for line in _commands() if str(folder) in line]:
        if time.monotonic() > deadline:
            return found
        time.sleep(0.1)
    return []


def _commands() -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            arguments = file.read_bytes().rstrip(b"\0").split(b"\0")
            found.append(f"{file.parent.name} {b' '.join(arguments).decode(errors='replace')}")
    return found


@pytest.mark.thorough  # tests/slipway/deploy/test_display.py has each such text
def test_a_deadline_that_is_no_number_is_reported(project: Any) -> None:
    result = project("up", "-s", "dev", "--yes", SLIPWAY_POLICY_TIMEOUT_SECONDS="soon")
    assert result.returncode == 2
    assert "SLIPWAY_POLICY_TIMEOUT_SECONDS is `soon`." in result.stderr


def test_a_waiver_of_a_rule_that_there_is_not_is_refused(project: Any) -> None:
    (project.folder / "policy" / "waivers.yaml").write_text(
        "waivers:\n"
        "  - rule: required-lables\n"
        "    resource: PriorityClass/a\n"
        "    reason: it is only a test\n"
        "    expires: 2999-01-01\n"
    )
    result = project("up", "-s", "dev", "--yes")
    assert result.returncode == 3, result.stderr
    assert f"no rule has the id `required-lables`; did you mean `{RULE}`?" in result.stdout
    assert "waivers.yaml:2" in result.stdout


@pytest.mark.thorough  # one of two waivers; tests/policy/test_pack.py has both
def test_a_waiver_of_what_is_not_broken_is_refused(project: Any) -> None:
    (project.folder / "policy" / "waivers.yaml").write_text(
        "waivers:\n"
        f"  - rule: {RULE}\n"
        f"    resource: PriorityClass/{project.unique}\n"
        "    reason: it is only a test\n"
        "    expires: 2999-01-01\n"
    )
    result = project("up", "-s", "dev", "--yes")
    assert result.returncode == 3, result.stderr
    assert f"PriorityClass/{project.unique} does not break {RULE} here; remove the waiver" in result.stdout


def test_settings_of_the_policies_that_cannot_be_read_are_reported(project: Any) -> None:
    (project.folder / "policy" / "settings.yaml").write_text("environments: {dev: sandbox}\n")
    result = project("up", "-s", "dev", "--yes")
    assert result.returncode in (1, 2), result.stderr
    assert "settings.yaml" in result.stderr
    assert "sandbox" in result.stderr


def test_a_preview_that_fails_half_way_changes_nothing(project: Any) -> None:
    project.program(LABELLED + 'raise ValueError("half way")\n')
    result = project("up", "-s", "dev", "--yes")
    assert result.returncode == 1, result.stderr
    assert result.stderr.count("ValueError: half way") == 1
    assert "slipway/" not in result.stderr.split("error:", 1)[1].split("Traceback", 1)[0]
    assert "The preview of dev failed." in result.stderr


def test_what_the_program_calls_an_error_stops_the_update(project: Any) -> None:
    """The engine goes on after it, but a preview that is shown as failed must not be followed by its update."""
    project.program(LABELLED + 'import pulumi\npulumi.log.error("careful now")\n')
    previewed = project("preview", "-s", "dev")
    assert previewed.returncode == 1, previewed.stderr
    result = project("up", "-s", "dev", "--yes")
    assert result.returncode == 1, result.stderr
    assert "The preview of dev failed." in result.stderr
    assert "careful now" in result.stderr


def test_a_project_without_policies_is_not_updated(project: Any) -> None:
    (project.folder / "policy" / "PulumiPolicy.yaml").unlink()
    result = project("up", "-s", "dev", "--yes")
    assert result.returncode == 2
    assert "There is no policy pack" in result.stderr


def test_an_interrupt_while_the_policies_are_evaluated_changes_nothing(project: Any) -> None:
    project.program(LABELLED + 'import time\nopen("started", "w").close()\ntime.sleep(60)\n')
    process = project.in_background("up", "-s", "dev", "--yes")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 130, errors
    assert "error: Interrupted." in errors
    assert "Traceback" not in errors


def change_the_program(project: Any) -> str:
    edit(project, "__main__.py", "value=1", "value=2")
    return "files: __main__.py (changed)"


def commit_something(project: Any) -> str:
    before = project.git("rev-parse", "HEAD")
    project.git("commit", "-q", "--allow-empty", "-m", "meanwhile")
    return f"commit: {before[:8]} → {project.git('rev-parse', 'HEAD')[:8]}"


def change_a_setting(project: Any) -> str:
    edit(project, "Pulumi.dev.yaml", "scratch:greeting: hello", "scratch:greeting: hidden-word")
    return "settings: scratch:greeting (changed)"


def add_a_source(project: Any) -> str:
    file = project.folder / "services" / "parcel_service" / "app.py"
    file.parent.mkdir(parents=True)
    file.write_text("pass\n")
    return "files: services/parcel_service/app.py (new)"


@pytest.mark.parametrize(
    "change",
    [
        change_the_program,
        *(  # tests/slipway/deploy/test_approval.py has them all
            pytest.param(change, marks=pytest.mark.thorough)
            for change in (commit_something, change_a_setting, add_a_source)
        ),
    ],
)
def test_what_moved_between_preview_and_approval_stops_the_update(project: Any, change: Callable[[Any], str]) -> None:
    moved = ""

    def answer() -> bytes:
        nonlocal moved
        moved = change(project)
        return b"y\n"

    code, screen = project.on_terminal(QUESTION, answer, "up", "-s", "dev")
    assert code == 1, screen
    assert "dev was not updated: it has changed since the preview." in screen
    assert moved in screen
    assert "hidden-word" not in screen


def test_uncommitted_changes_are_refused_in_production(project: Any) -> None:
    edit(project, "__main__.py", "value=1", "value=2")
    (project.folder / "services").mkdir()
    (project.folder / "services" / "new.py").touch()
    (project.folder / "notes.txt").touch()
    result = project("up", "-s", "prod", "--yes")
    assert result.returncode == 2, result.stderr
    assert "prod must be updated from a commit, and the work tree has uncommitted changes." in result.stderr
    assert "__main__.py" in result.stderr
    assert "services/new.py" in result.stderr
    assert "notes.txt" not in result.stderr
    assert "--allow-dirty" in result.stderr
