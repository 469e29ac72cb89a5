"""Bad releases of a real service: each is told by its cause on one screen, soon where waiting cannot help, and undone.

The first release goes on answering through all of them. The tests share it, and find it as it was: brought back, whole.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from kubernetes import client, config

from slipway.diagnosis.screen import MAX_LINES

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

DOCKERFILE = "services/user_service/Dockerfile"
CMD = 'CMD ["python", "-m", "gunicorn"]'
# Of the wait alone, with a machine that does other things too. The Deployments' deadlines are far behind.
SOON_SECONDS = 25.0
FAR_SECONDS = 240
Setting = Callable[[Any], AbstractContextManager[None]]


@dataclass
class Failed:
    """How a failing `slipway up` ended: what it said of the failure, and after that of the rollback."""

    code: int
    output: str
    error: str
    rollback: str
    wait_seconds: float


def failing_up(project: Any) -> Failed:
    result = project.slipway("up", "-s", "e2e", "--yes")
    said, _, rollback = result.output.partition("\nGoing back to #")
    error = "error: " + said.rsplit("\nerror: ", 1)[-1]
    waited = re.search(r"Update Deployment user-service: failed after ([\d.]+) s", said)
    return Failed(result.code, result.output, error, rollback, float(waited[1]) if waited else 0.0)


@pytest.fixture(scope="module")
def released(project: Any) -> Any:
    """The project with a first, good release."""
    result = project.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    return project


@contextmanager
def edited(project: Any, file: str, old: str, new: str) -> Iterator[None]:
    project.replace(file, old, new)
    try:
        yield
    finally:
        project.replace(file, new, old)


def overrides(deadline_seconds: int = FAR_SECONDS, ready_seconds: int = 0, **more: Any) -> str:
    spec = {"rollout": {"progressDeadlineSeconds": deadline_seconds, "minReadySeconds": ready_seconds}, **more}
    return f"  slipway:services: {json.dumps({'user-service': spec})}\n"


def command(*words: str) -> Setting:
    return lambda project: edited(project, DOCKERFILE, CMD, f"CMD {json.dumps(words)}")


def python(code: str) -> Setting:
    return command("python", "-c", code)


def program(file: str, old: str, new: str) -> Setting:
    return lambda project: edited(project, file, old, new)


def unchanged(_project: Any) -> AbstractContextManager[None]:
    return nullcontext()


def api(project: Any) -> client.ApiClient:
    return config.new_client_from_config(project.environment["KUBECONFIG"])


@contextmanager
def quota(project: Any) -> Iterator[None]:
    core = client.CoreV1Api(api(project))
    core.create_namespaced_resource_quota(
        project.namespace, {"metadata": {"name": "team"}, "spec": {"hard": {"limits.memory": "300Mi"}}}
    )
    try:
        yield
    finally:
        core.delete_namespaced_resource_quota("team", project.namespace)


@contextmanager
def admission_policy(project: Any) -> Iterator[None]:
    """A rule of the cluster's own, bound to this namespace alone."""
    admission, name = client.AdmissionregistrationV1Api(api(project)), f"no-pods-{project.namespace}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    denied = {"expression": "false", "message": "no ship leaves the harbour today"}
    admission.create_validating_admission_policy(
        {
            "metadata": {"name": name},
            "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [denied], "failurePolicy": "Fail"},
        }
    )
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": project.namespace}}}
    admission.create_validating_admission_policy_binding(
        {
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": here},
        }
    )
    time.sleep(2)  # the API server takes a moment to learn of it
    try:
        yield
    finally:
        admission.delete_validating_admission_policy_binding(name)
        admission.delete_validating_admission_policy(name)


IMAGE = "image=images[service.name].reference,"
NO_IMAGE = "image=images[service.name].reference.apply(lambda image: image.split('@')[0] + '@sha256:' + '0' * 64),"

MISSING_KEY = '{"name": "K", "value_from": {"config_map_key_ref": {"name": config_map_name, "key": "gone"}}}'

# what is wrong, how, the settings, what the screen says
GIVEN_UP: list[Any] = [
    pytest.param(
        python("print('no compass on board', flush=True); raise SystemExit(3)"),
        overrides(),
        ["user-service crashes", "exit code 3", "| no compass on board", "--previous"],
        id="crash-loop",
    ),
    pytest.param(
        unchanged,
        overrides(resources={"memory": "12Mi"}),
        ["memory", "limit of 12Mi", "Raise `resources.memory` (now 12Mi)"],
        id="out-of-memory",
    ),
    pytest.param(
        command("/no/such/program"),
        overrides(),
        ["cannot be started", "/no/such/program", "no such file or directory", "Dockerfile"],
        id="wrong-entrypoint",
    ),
    pytest.param(
        python("open('/srv/log.txt', 'w')"),
        overrides(),
        ["writes to a read-only file system", "Read-only file system: '/srv/log.txt'", "`scratch`"],
        id="read-only-file-system",
    ),
    pytest.param(
        program("components/release.py", IMAGE, NO_IMAGE),
        overrides(),
        ["has an image that its registry does not have", "not found"],
        id="image-missing",
    ),
    pytest.param(
        program(
            "components/pod.py", '{"config_map_ref": {"name": config_map_name}}', '{"config_map_ref": {"name": "gone"}}'
        ),
        overrides(),
        ["needs ConfigMap gone, which its namespace does not have", "CreateContainerConfigError"],
        id="missing-config-map",
    ),
    pytest.param(
        program("components/pod.py", '{"secret_ref": {"name": secret_name}}', '{"secret_ref": {"name": "gone"}}'),
        overrides(),
        ["needs Secret gone, which its namespace does not have", "CreateContainerConfigError"],
        id="missing-secret",
    ),
    pytest.param(
        program("components/pod.py", '"env_from": sources,', f'"env_from": sources, "env": [{MISSING_KEY}],'),
        overrides(),
        ["CreateContainerConfigError", "couldn't find key gone"],
        id="missing-key",
    ),
    pytest.param(
        program(
            "components/pod.py",
            '"enable_service_links": False,',
            '"enable_service_links": False, "node_selector": {"disk": "ssd"},',
        ),
        overrides(),
        ["has no node that its placement rules allow", "didn't match Pod's node affinity/selector"],
        id="unschedulable-placement",
    ),
    pytest.param(
        quota,
        overrides(resources={"memory": "200Mi"}),
        ["quota is used up", "exceeded quota: team", "describe resourcequota"],
        id="quota",
    ),
    pytest.param(
        admission_policy,
        overrides(resources={"memory": "130Mi"}),
        ["the API server refuses them", "no ship leaves the harbour today"],
        id="admission",
    ),
]
# These may mend themselves: the Deployment's deadline, made short, decides.
WAITED_FOR: list[Any] = [
    pytest.param(
        unchanged,
        overrides(15, health={"ready": "/no-such-path"}),
        ["does not become ready: GET /no-such-path on port http answers 404", "statuscode: 404", "health.ready"],
        id="readiness-probe",
    ),
    pytest.param(
        python("import time; print('warming up', flush=True); time.sleep(999)"),
        overrides(15, health={"startupTimeoutSeconds": 10}),
        ["is too slow to start: GET /healthz on port http does not answer", "| warming up", "connection refused"],
        id="startup-too-slow",
    ),
    pytest.param(
        unchanged,
        overrides(110, 100, health={"live": "/no-such-path"}),  # only a rollout that waits this long can see it
        ["liveness probe", "/no-such-path", "statuscode: 404", "health.live"],
        id="liveness-probe",
    ),
    pytest.param(
        unchanged,
        overrides(15, resources={"cpu": "500"}),
        ["has no node with room for it: each pod asks for cpu 500", "Insufficient cpu"],
        id="unschedulable-resources",
    ),
]


def one_screen(failed: Failed, words: list[str]) -> None:
    flat = " ".join(failed.error.split())
    assert failed.code == 4, failed.output
    assert failed.error.startswith("error: The update of stack e2e failed."), failed.output
    assert [word for word in words if word not in flat] == [], failed.output
    assert len(failed.error.splitlines()) <= MAX_LINES + 3, failed.error
    own_words = [line for line in failed.output.splitlines() if not line.lstrip().startswith("| ")]
    assert "Traceback" not in "\n".join(own_words)
    assert "nterrupted" not in failed.output, "an update that was given up was not interrupted by anybody"
    same = re.search(r"rolled back to #\d+: (\d+)/(\d+) recorded inputs are the same, 2 checks met", failed.rollback)
    assert same, failed.output
    assert same[1] == same[2] != "0", failed.output


@pytest.mark.parametrize(("setting", "settings", "words"), GIVEN_UP)
def test_what_cannot_mend_is_given_up_soon(released: Any, setting: Setting, settings: str, words: list[str]) -> None:
    url = released.url("user-service")
    released.configure(settings)
    with setting(released):
        failed = failing_up(released)
    one_screen(failed, words)
    assert 0 < failed.wait_seconds <= SOON_SECONDS, failed.output
    assert httpx.get(f"{url}/users").status_code == 200, "the release before must go on answering"


@pytest.mark.parametrize(("setting", "settings", "words"), WAITED_FOR)
def test_what_may_mend_is_told_at_the_deadline(
    released: Any, setting: Setting, settings: str, words: list[str]
) -> None:
    url = released.url("user-service")
    released.configure(settings)
    with setting(released):
        failed = failing_up(released)
    one_screen(failed, words)
    assert httpx.get(f"{url}/users").status_code == 200, "the release before must go on answering"


def test_a_plain_update_says_it_too_beside_the_engine_s_own_error(released: Any) -> None:
    released.configure(overrides(resources={"memory": "12Mi"}, env={"CARGO": "heavy"}))
    result = released.up()
    assert result.code != 0
    assert "Diagnosis: user-service" in result.output, result.output
    assert "limit of 12Mi" in result.output, result.output
    assert "failed to fully initialize or become live" in result.output, result.output


def test_a_mended_release_may_want_what_the_failed_one_was_to_remove(released: Any) -> None:
    """The ConfigMap of the good release waits for its deletion, and still has its name."""
    released.configure("")
    mended = released.slipway("up", "-s", "e2e", "--yes", "--no-rollback")
    assert mended.code == 0, mended.output
    assert "they are taken back" in mended.output
    assert "Delete replaced ConfigMap user-service: done" in mended.output


def test_a_failing_check_shows_the_log_of_the_service(released: Any) -> None:
    released.configure(overrides(checks=[{"get": "/users", "has": "no such words"}]))
    failed = failing_up(released)
    one_screen(failed, ["user-service: GET /users answered 200", "no such words", "log user-service", "GET /users 200"])


def test_afterwards_the_stack_is_whole(released: Any) -> None:
    """What was cancelled is in the history as failed, and the next update needs nothing by hand."""
    released.configure("")
    mended = released.slipway("up", "-s", "e2e", "--yes")
    assert mended.code == 0, mended.output
    history = released.run("pulumi", "stack", "history", "--stack", "e2e", "--json", "--page-size", "100")
    results = [entry["result"] for entry in json.loads(history.output)]
    assert results[0] == "succeeded"
    assert results.count("failed") == len(GIVEN_UP) + len(WAITED_FOR) + 3
