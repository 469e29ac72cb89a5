"""What a registry says of a recorded image, and what of that keeps nobody from going back."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pulumi
import pytest

from components import rollback as module
from slipway.rollback.plan import RollbackRequest, plan_rollback

STATES = json.loads((Path(__file__).parents[1] / "slipway" / "recorded" / "states.json").read_text())
HERE: Any = SimpleNamespace(docker=None)

GONE = [
    "Got error when attempting to fetch image version from registry: got bad response from registry: 404 Not Found",
    "invoke failed: cannot read the image: 127.0.0.1:5000 does not have team/user-service; check the name",
    'registry answered {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}',
]
UNTOLD = [
    "got bad response from registry: 401 Unauthorized",
    "http: server gave HTTP response to HTTPS client",
    "dial tcp: lookup registry.example: no such host",
]


@pytest.fixture
def require_images(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Asks the registry for what the first state runs where nothing runs; the answer, and what was warned of."""
    warnings: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", warnings.append)

    def ask(answer: str) -> list[str]:
        async def refuse(image: str) -> NoReturn:
            raise RuntimeError(f"{image}: {answer}")

        monkeypatch.setattr(HERE, "registry_digest", refuse, raising=False)
        state = STATES["first"]
        module._require_images(HERE, plan_rollback(state, {"resources": []}, RollbackRequest(1)), {"resources": []})
        return warnings

    return ask


@pytest.mark.parametrize("answer", GONE)
def test_an_image_that_is_gone_ends_it_before_anything_is_touched(require_images: Any, answer: str) -> None:
    with pytest.raises(pulumi.RunError, match="lacks these images of the recorded state") as caught:
        require_images(answer)
    assert "user-service@sha256:" in str(caught.value)
    assert "order-service@sha256:" in str(caught.value)


@pytest.mark.parametrize("answer", UNTOLD)
def test_a_registry_that_does_not_tell_says_nothing_of_its_images(require_images: Any, answer: str) -> None:
    """The nodes may have a login, or the image itself."""
    warnings = require_images(answer)
    assert len(warnings) == 2
    assert all(answer in each for each in warnings)
