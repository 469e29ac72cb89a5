"""Bad releases of a real service: each is told by its cause on one screen, soon where waiting cannot help, and undone.

The first release goes on answering through all of them.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e import recorded_states as states
from tests.e2e.bad_releases import (
    Setting,
    admission_policy,
    command,
    failing_up,
    one_screen,
    overrides,
    program,
    python,
    quota,
    unchanged,
)
from tests.e2e.test_damaged_state import providers_last, require_put_right, require_taken_from_the_history
from tests.e2e.test_history import require_named_and_brought_back
from tests.e2e.test_no_interruption import Load
from tests.e2e.test_ownership import require_adoption_as_declared

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

# Of the wait alone, on a machine that rolls out three more releases at the same time: a third crash comes after 14 s at
# the earliest. The Deployments' deadlines are far behind.
SOON_SECONDS = 45.0
START_SECONDS = 15.0

IMAGE = "image=images[service.name].reference,"
NO_IMAGE = "image=images[service.name].reference.apply(lambda image: image.split('@')[0] + '@sha256:' + '0' * 64),"

CONFIG_MAP = 'sources[0]["config_map_ref"]["name"]'
MISSING_KEY = f'{{"name": "K", "value_from": {{"config_map_key_ref": {{"name": {CONFIG_MAP}, "key": "gone"}}}}}}'

# what is wrong, how, the settings, what the screen says
GIVEN_UP: list[Any] = [
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


def test_crashes_damage_and_changes_by_hand_are_put_right_and_the_objects_of_others_are_left(
    released: Any, tmp_path: Path
) -> None:
    """Which all leave the one release as it was, or add a service to it."""
    url = released.url("user-service")
    crash = python("print('no compass on board', flush=True); raise SystemExit(3)")
    load = Load(f"{url}/users")
    with load.running():
        require_given_up(
            released,
            crash,
            overrides(),
            ["user-service crashes", "exit code 3", "| no compass on board", "--previous"],
        )
        load.wait_for(500)
    assert not load.lost, load.answers

    before, began = len(engine_history(released)), time.monotonic()
    released.configure(overrides(resources={"memory": "12Mi"}, env={"CARGO": "heavy"}))
    result = released.up()
    assert result.code != 0
    assert "Diagnosis: user-service" in result.output, result.output
    assert "limit of 12Mi" in result.output, result.output
    assert time.monotonic() - began < SOON_SECONDS + START_SECONDS
    assert httpx.get(f"{url}/users").status_code == 200, "the release before must go on answering"
    assert [each["result"] for each in engine_history(released)[:-before]] == ["failed"]
    released.configure("")
    fixed = released.slipway("up", "-s", "e2e", "--yes")
    assert fixed.code == 0, "the next update needs nothing by hand: " + fixed.output

    require_put_right(released, providers_last, ("up",))
    require_taken_from_the_history(released, share=0.5)
    require_named_and_brought_back(released, states.count(released), tmp_path)
    require_adoption_as_declared(released)


@pytest.mark.thorough
@pytest.mark.parametrize(("setting", "settings", "words"), GIVEN_UP)
def test_what_cannot_mend_is_given_up_soon(released: Any, setting: Setting, settings: str, words: list[str]) -> None:
    require_given_up(released, setting, settings, words)


def require_given_up(released: Any, setting: Setting, settings: str, words: list[str]) -> None:
    """A bad release ends soon, with one screen that has these words, and is taken back."""
    url, before = released.url("user-service"), states.object_inputs(states.present(released))
    released.configure(settings)
    with setting(released):
        failed = failing_up(released)
    one_screen(failed, words)
    assert 0 < failed.wait_seconds <= SOON_SECONDS, failed.output
    assert httpx.get(f"{url}/users").status_code == 200, "the release before must go on answering"
    assert [each["result"] for each in engine_history(released)] == ["succeeded", "failed", "succeeded"]
    assert states.object_inputs(states.present(released)) == before


def engine_history(project: Any) -> list[dict[str, Any]]:
    """Newest first."""
    shown = project.run("pulumi", "stack", "history", "--stack", "e2e", "--json", "--page-size", "100")
    assert shown.code == 0, shown.output
    return list(json.loads(shown.output))


@pytest.mark.thorough
def test_a_mended_release_may_want_what_the_failed_one_was_to_remove(released: Any) -> None:
    """Its namespace and all that is in it wait for their deletion, and still have their names."""
    url = released.url("user-service")
    released.configure(overrides(resources={"memory": "12Mi"}), namespace=f"{released.namespace}-other")
    failed = released.slipway("up", "-s", "e2e", "--yes", "--no-rollback")
    assert failed.code == 1, failed.output
    released.configure("")
    fixed = released.slipway("up", "-s", "e2e", "--yes", "--no-rollback")
    assert fixed.code == 0, fixed.output
    assert "the old objects are kept" in fixed.output
    assert httpx.get(f"{url}/users").status_code == 200
    assert f"{released.namespace}-other" not in released.namespaces()


@pytest.mark.thorough
def test_a_failing_check_shows_the_log_of_the_service(released: Any) -> None:
    released.configure(overrides(checks=[{"get": "/users", "has": "no such words"}]))
    failed = failing_up(released)
    one_screen(
        failed,
        [
            "user-service: GET /users of pod user-service-",
            "answered 200",
            "no such words",
            "log user-service",
            "GET /users 200",
        ],
    )
