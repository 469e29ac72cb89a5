"""States that the engine recorded on the lab, decrypted and freed of names, and means to alter them."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))  # what its tests share: states
STATES = json.loads((FOLDER / "states.json").read_text())


@pytest.fixture
def first() -> dict[str, Any]:
    """Both services, as their first release left them."""
    return copy.deepcopy(STATES["first"])


@pytest.fixture
def second() -> dict[str, Any]:
    """user-service with another LOG_LEVEL, another secret and 2 replicas; order-service with an autoscaler."""
    return copy.deepcopy(STATES["second"])


@pytest.fixture
def wreck() -> dict[str, Any]:
    """A rollout of user-service that failed half way, after `second`."""
    return copy.deepcopy(STATES["wreck"])
