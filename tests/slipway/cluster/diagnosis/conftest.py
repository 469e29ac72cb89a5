"""Real Deployments that failed on the lab, as the API server had them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipway.cluster.diagnosis import Evidence, Log

RECORDED = Path(__file__).parent / "recorded"
Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def recorded() -> Callable[..., Evidence]:
    """The evidence of one recorded failure by name, after `change` has changed its JSON."""

    def load(name: str, change: Change = lambda _: None) -> Evidence:
        content = json.loads((RECORDED / f"{name}.json").read_text())
        change(content)
        return Evidence(
            content["deployment"],
            content["replicaSets"],
            content["pods"],
            content["events"],
            [Log(**log) for log in content["logs"]],
            "kubectl -n diagnosis-capture",
        )

    return load
