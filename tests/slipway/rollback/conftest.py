"""States that the engine recorded on the lab, decrypted and freed of names, and means to alter them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from slipway.state.checkpoint import Recorded
from slipway.state.directives import directed

FOLDER = Path(__file__).parent
STATES = json.loads((FOLDER / "states.json").read_text())


def _today(name: str) -> dict[str, Any]:
    """The state as a program of today declares it."""
    state = copy.deepcopy(STATES[name])
    return {**state, "resources": [dict(directed(Recorded(raw)).raw) for raw in state["resources"]]}


@pytest.fixture
def first() -> dict[str, Any]:
    """Both services, as their first release left them."""
    return _today("first")


@pytest.fixture
def second() -> dict[str, Any]:
    """user-service with another LOG_LEVEL, another secret and 2 replicas; order-service with an autoscaler."""
    return _today("second")


@pytest.fixture
def wreck() -> dict[str, Any]:
    """A rollout of user-service that failed half way, after `second`."""
    return _today("wreck")
