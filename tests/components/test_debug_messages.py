"""The SDK's debug messages reach the engine only when somebody wants them."""

from __future__ import annotations

import logging
from typing import Any, NoReturn

import pulumi
import pytest
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks

from components.debug_messages import drop_debug_messages


class NoResources(Mocks):
    def new_resource(self, args: MockResourceArgs) -> tuple[str, dict[str, Any]]:
        return args.name, args.inputs

    def call(self, args: MockCallArgs) -> NoReturn:
        raise NotImplementedError(args)


def test_debug_messages_reach_the_engine_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "engine")
    monkeypatch.setattr(pulumi.log, "debug", pulumi.log.debug)
    pulumi.runtime.set_mocks(NoResources(), logger=logging.getLogger("engine"))

    def messages() -> int:
        caplog.clear()
        drop_debug_messages()
        pulumi.log.debug("every property")
        pulumi.log.info("kept")
        assert "kept" in caplog.messages
        return caplog.messages.count("every property")

    monkeypatch.setenv("SLIPWAY_DEBUG", "1")
    assert messages() == 1
    monkeypatch.delenv("SLIPWAY_DEBUG")
    assert messages() == 0
