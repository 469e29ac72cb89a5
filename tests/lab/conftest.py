"""What the lab's own tests share: the running lab, a client of its API server, and a namespace that goes away again."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from lab import control_plane
from lab.lab import Lab
from lab.settings import LabSettings, load_settings
from slipway.paths import lab_environment_file
from slipway.progress import Progress


@pytest.fixture(scope="session")
def lab_settings() -> LabSettings:
    if not lab_environment_file().exists():
        pytest.fail(f"no lab is up ({lab_environment_file()} is missing): run `slipway lab up` first")
    return load_settings()


@pytest.fixture
def running_lab(lab_settings: LabSettings) -> Lab:
    return Lab(lab_settings, Progress())


@pytest.fixture
def api(lab_settings: LabSettings) -> Iterator[httpx.Client]:
    with control_plane.api_client(lab_settings) as client:
        yield client


@pytest.fixture
def namespace(api: httpx.Client, eventually: Callable[[Callable[[], bool], str], None]) -> Iterator[str]:
    name = f"lab-test-{secrets.token_hex(3)}"
    created = api.post("/api/v1/namespaces", json={"metadata": {"name": name}})
    created.raise_for_status()
    # Pods are refused until a controller has made the account that they run as.
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    eventually(lambda: api.get(account).status_code == 200, "the namespace has its default account")
    yield name
    api.delete(f"/api/v1/namespaces/{name}").raise_for_status()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool], str], None]:
    """Wait until something holds; the second argument says what, for the failure."""

    def wait(holds: Callable[[], bool], what: str, timeout_seconds: float = 120) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not holds():
            if time.monotonic() > deadline:
                pytest.fail(f"after {timeout_seconds:.0f} s still not so: {what}")
            time.sleep(0.3)

    return wait
