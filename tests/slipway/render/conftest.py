"""Previews of the real program as the engine told them, recorded by tests/recording/previews.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from slipway.deploy.preview_events import PreviewEvents
from slipway.deploy.summary import PreviewSummary
from tests.slipway.render import reading


@pytest.fixture
def lines() -> Callable[[str], tuple[tuple[float, str], ...]]:
    return reading.lines


@pytest.fixture
def recorded() -> Callable[..., PreviewEvents]:
    return reading.events


@pytest.fixture
def summarized() -> Callable[..., PreviewSummary]:
    return reading.summarize
