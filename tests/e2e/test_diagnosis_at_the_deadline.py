"""Bad releases that may yet recover by themselves: told at their deadline, and undone."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.e2e.bad_releases import Setting, failing_up, one_screen, overrides, python, unchanged

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

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
        overrides(15, resources={"cpu": "250"}),
        ["has no node with room for it: each pod asks for cpu 250", "Insufficient cpu"],
        id="unschedulable-resources",
    ),
]


# The Deployment's deadline, made short, decides; tests/e2e/test_no_interruption.py has the first cause too.
@pytest.mark.thorough
@pytest.mark.parametrize(("setting", "settings", "words"), WAITED_FOR)
def test_what_may_mend_is_reported_at_the_deadline(
    released: Any, setting: Setting, settings: str, words: list[str]
) -> None:
    url = released.url("user-service")
    released.configure(settings)
    with setting(released):
        failed = failing_up(released)
    one_screen(failed, words)
    assert httpx.get(f"{url}/users").status_code == 200, "the release before must go on answering"
