"""The app, and real gunicorn processes, for the tests of sample-service."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.register_assert_rewrite("kit_testing")

from kit_testing.fixtures import *  # noqa: E402, F403
from kit_testing.fixtures import process_environment  # noqa: E402

FOLDER = Path(__file__).resolve().parent.parent
PACKAGE = "sample_service"
# so that the tests find the service from any working directory
sys.path.insert(0, str(FOLDER))


@pytest.fixture
def folder() -> Path:
    return FOLDER


@pytest.fixture
def package() -> str:
    return PACKAGE


@pytest.fixture
def environment() -> dict[str, str]:
    """All the service needs to start."""
    return process_environment()
