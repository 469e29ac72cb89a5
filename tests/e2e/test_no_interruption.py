"""Users see nothing of it: requests are sent all through an update, a failed update that is rolled back, a rollback."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.e2e.bad_releases import failing_up, one_screen

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

SOURCE = "services/user_service/user_service/routes.py"
SETTINGS = "services/user_service/service.yaml"
CLIENTS = 4
PAUSE_SECONDS = 0.04
REQUEST_TIMEOUT_SECONDS = 10.0
AT_LEAST = 2000
SOON_GIVEN_UP = """\
  slipway:services:
    user-service: {rollout: {progressDeadlineSeconds: 20}}
"""


@dataclass
class Load:
    """Clients that ask again and again, each time through a connection of its own, and count what they get."""

    url: str
    answers: Counter[str] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def lost(self) -> dict[str, int]:
        return {answer: count for answer, count in self.answers.items() if answer != "200"}

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def wait_for(self, number: int) -> None:
        while self.answers.total() < number:
            time.sleep(PAUSE_SECONDS)

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                # Which costs a tenth of httpx, and closes its connection.
                with urlopen(self.url, timeout=REQUEST_TIMEOUT_SECONDS) as response:  # noqa: S310 (of the lab)
                    response.read()
                    self.answers[str(response.status)] += 1
            except HTTPError as error:
                self.answers[str(error.code)] += 1
            except (OSError, HTTPException) as error:
                self.answers[f"{type(error).__name__}: {error}"] += 1
            time.sleep(PAUSE_SECONDS)


@pytest.mark.thorough  # as through updates and a rollback in test_promotion.py, and a failed one in test_diagnosis.py
def test_every_request_is_answered_through_it_all(project: Any) -> None:
    project.configure(SOON_GIVEN_UP)
    first = project.slipway("up", "-s", "e2e", "--yes")
    assert first.code == 0, first.output
    load = Load(f"{project.url('user-service')}/users")
    with load.running():
        project.replace(SOURCE, '"""', '"""Second release. ')
        update = project.slipway("up", "-s", "e2e", "--yes")
        updated = load.answers.total()
        project.replace(SETTINGS, "ready: /readyz", "ready: /nowhere")
        failed = failing_up(project)
        rolled_back = load.answers.total()
        project.replace(SETTINGS, "ready: /nowhere", "ready: /readyz")
        rollback = project.slipway("rollback", "-s", "e2e", "--to", "1", "--yes")
        load.wait_for(AT_LEAST)
    assert (update.code, failed.code, rollback.code) == (0, 4, 0), update.output + failed.output + rollback.output
    assert 0 < updated < rolled_back < load.answers.total()
    assert not load.lost, load.answers
    one_screen(failed, ["does not become ready: GET /nowhere on port http answers 404", "statuscode: 404"])
