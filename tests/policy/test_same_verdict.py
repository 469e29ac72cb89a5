"""The real engine with the pack, the program's own gate and pytest say the same of the same program, on the lab."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from policy import program_check
from policy.declared import Program, resources_of
from policy.judge import Judge
from policy.model import State
from slipway.cluster.client import Cluster
from tests.example import leave_out_postgresql
from tests.lab_exports import lab_exports

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[2]
STACK = "e2e-policy"
NAMESPACE = "slipway-e2e-policy"
CONFIG = {
    "slipway:namespace": NAMESPACE,
    "user-service:DATABASE_URL": "sqlite:////data/users.db",
    "order-service:DATABASE_URL": "sqlite:////data/orders.db",
}
WAIVER = """\
waivers:
  - {rule: read-only-root, resource: Deployment/user-service, reason: it writes beside itself, expires: 2099-01-01}
"""
COMMAND_TIMEOUT_SECONDS = 600
# The digest of an image that is still to be built: the engine cannot know it, the gate knows its form.
UNBUILT = {
    (rule, f"Deployment/{service}", State.UNDECIDED)
    for rule in ("image-by-digest", "image-registry")
    for service in ("user-service", "order-service")
}
Verdicts = set[tuple[str, str, State]]


@dataclass
class Checkout:
    """A copy of the project with a backend of its own."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=False,
        )

    def pulumi(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("pulumi", *arguments, "--stack", STACK, "--non-interactive", "--color", "never")

    def replace(self, file: str, old: str, new: str) -> None:
        text = (self.folder / file).read_text()
        assert old in text, f"{file} does not have {old!r}"
        (self.folder / file).write_text(text.replace(old, new))

    def state(self) -> Any:
        exported = self.pulumi("stack", "export")
        assert exported.returncode == 0, exported.stderr
        return [each["urn"] for each in json.loads(exported.stdout)["deployment"].get("resources", [])]


def fresh_copy(folder: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    leave_out_postgresql(folder)
    (folder / f"Pulumi.{STACK}.yaml").write_text(json.dumps({"config": CONFIG}))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    backend = tmp_path_factory.mktemp("backend")
    own = {"PULUMI_BACKEND_URL": f"file://{backend}"}
    variables = os.environ | own | lab_exports(own)
    return variables | {"SLIPWAY_REGISTRY": f"{variables['SLIPWAY_REGISTRY']}/e2e-policy"}


@pytest.fixture
def checkout(tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Checkout]:
    fresh_copy(tmp_path)
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    made = Checkout(tmp_path, dict(environment))
    created = made.run("pulumi", "stack", "select", "--create", STACK, "--non-interactive")
    assert created.returncode == 0, created.stderr
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(program_check, "CHECKOUT", tmp_path)
    yield made
    made.pulumi("stack", "rm", "--yes", "--force", "--preserve-config")


def by_engine(checkout: Checkout) -> tuple[Verdicts, int]:
    """What the engine says of a preview with the pack."""
    checkout.environment["PULUMI_ENABLE_STREAMING_JSON_PREVIEW"] = "true"
    previewed = checkout.pulumi("preview", "--json", "--policy-pack", "policy")
    bodies = [json.loads(line).get("policyEvent") for line in previewed.stdout.splitlines() if line.startswith("{")]
    found = {_read(body) for body in bodies if body}
    return found, previewed.returncode


def _read(body: dict[str, Any]) -> tuple[str, str, State]:
    kind, name = body["resourceUrn"].split("::")[2].rsplit(":", 1)[-1], body["resourceUrn"].split("::", 3)[3]
    states = {"Decided at update: ": State.UNDECIDED, "Waived until ": State.WAIVED}
    found = (state for beginning, state in states.items() if body["message"].startswith(beginning))
    return body["policyName"], f"{kind}/{name}", next(found, State.VIOLATION)


def by_gate(checkout: Checkout) -> Verdicts:
    """What the program's own gate says."""
    verdict = program_check.judge(
        program_check.CheckRequest(str(checkout.folder), "slipway", STACK, "organization", CONFIG, [])
    )
    assert verdict.error == verdict.not_inspectable == verdict.program_error == ""
    return {(each.rule, each.resource, State(each.state)) for each in verdict.findings}


def by_pytest(checkout: Checkout) -> Verdicts:
    """What the rules say in a test, of the same files, in an interpreter that has loaded none of them yet."""
    checkout.environment["PYTHONPATH"] = str(checkout.folder)
    done = checkout.run(sys.executable, __file__, str(checkout.folder))
    assert done.returncode == 0, done.stderr
    return {(rule, resource, State(state)) for rule, resource, state in json.loads(done.stdout)}


def judge_here(folder: str) -> None:
    """The body of the above."""
    resources = resources_of(Program(Path(folder), "slipway", STACK, "organization", CONFIG))
    results = Judge.of(STACK, CONFIG, os.environ).evaluate(resources).results
    found = [(each.rule.id, each.resource.ref, each.state) for each in results if each.state is not State.PASS]
    sys.stdout.write(json.dumps(found))


def without_probe(checkout: Checkout) -> None:
    probes = "spec.health.probes(spec.kind).items()"
    checkout.replace("components/pod.py", probes, f'{probes} if name != "live"')


def broken_in_many_ways(checkout: Checkout) -> None:
    without_probe(checkout)
    checkout.replace("components/pod.py", '"image": image,', '"image": "elsewhere.example/thing:latest",')
    checkout.replace("components/pod.py", '"read_only_root_filesystem": True', '"read_only_root_filesystem": False')
    checkout.replace("components/network.py", '"policy_types": ["Ingress", "Egress"]', '"policy_types": ["Ingress"]')
    checkout.replace("components/workload.py", '"max_unavailable": 1,', '"max_unavailable": 0,')
    checkout.replace("components/service_image.py", 'f"{IN_STAGE}{stage}"', '"somewhere"')
    (checkout.folder / "policy" / "waivers.yaml").write_text(WAIVER)


SERVICES = ("user-service", "order-service")
BROKEN = {
    *((rule, f"Deployment/{name}") for name in SERVICES for rule in ("liveness-probe", "image-by-digest")),
    *((rule, f"Deployment/{name}") for name in SERVICES for rule in ("image-registry", "network-policy")),
    *(("disruption-budget-satisfiable", f"PodDisruptionBudget/{name}") for name in SERVICES),
    *(("unit-tests-first", f"Image/{name}") for name in SERVICES),
    ("read-only-root", "Deployment/order-service"),
}


@pytest.mark.parametrize(
    ("spoil", "violations", "waived"),
    [
        # As they pass in tests/e2e/test_gate.py, by the engine, and in test_program_check.py, by the gate.
        pytest.param(lambda _: None, set(), set(), marks=pytest.mark.thorough),
        pytest.param(
            without_probe,
            {("liveness-probe", f"Deployment/{name}") for name in SERVICES},
            set(),
            marks=pytest.mark.thorough,  # it is one of the many below
        ),
        (broken_in_many_ways, BROKEN, {("read-only-root", "Deployment/user-service")}),
    ],
    ids=["compliant", "without liveness probe", "broken in many ways"],
)
def test_all_three_say_the_same(
    checkout: Checkout,
    spoil: Callable[[Checkout], None],
    violations: set[tuple[str, str]],
    waived: set[tuple[str, str]],
) -> None:
    spoil(checkout)
    expected = {(*each, State.VIOLATION) for each in violations} | {(*each, State.WAIVED) for each in waived}
    engine, exit_code = by_engine(checkout)
    assert engine - UNBUILT == expected
    assert (exit_code != 0) is bool(violations)
    assert by_gate(checkout) == expected
    assert by_pytest(checkout) == expected


def test_a_bare_update_is_refused_before_anything_is_touched(checkout: Checkout) -> None:
    without_probe(checkout)
    before = checkout.state()
    ended = checkout.pulumi("up", "--yes", "--skip-preview")
    output = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert "Policy violation: stack e2e-policy breaks 1 mandatory rule." in output
    assert "liveness-probe [mandatory]" in output
    assert "Traceback" not in output
    assert [urn for urn in checkout.state() if "pulumi:pulumi:Stack" not in urn] == before == []
    namespaces = Cluster.connect(None, checkout.environment["KUBECONFIG"]).read("/api/v1/namespaces")["items"]
    assert NAMESPACE not in {each["metadata"]["name"] for each in namespaces}


@pytest.mark.thorough  # as `slipway preview`, in tests/e2e/test_gate.py
def test_a_preview_asks_unless_slipway_has_and_shows_the_list_and_goes_on(checkout: Checkout) -> None:
    without_probe(checkout)
    checkout.environment[program_check.VARIABLE] = program_check.token(checkout.folder, "slipway", STACK)
    ended = checkout.pulumi("preview")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "liveness-probe" not in ended.stdout
    checkout.replace("__main__.py", "enforce_policies()", "enforce_policies()  # changed since")
    ended = checkout.pulumi("preview")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "liveness-probe [mandatory]" in ended.stdout
    assert "An update would be refused." in ended.stdout
    assert "kubernetes:apps/v1:Deployment" in ended.stdout


if __name__ == "__main__":
    judge_here(sys.argv[1])
