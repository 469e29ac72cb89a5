"""The SDK's debug messages reach the engine only when somebody wants them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# In a process of its own: what is dropped is dropped for good.
PROGRAM = """
import logging, sys
import pulumi
from pulumi.runtime.mocks import Mocks
from components.debug_messages import drop_debug_messages

class NoResources(Mocks):
    def new_resource(self, args):
        return args.name, args.inputs
    def call(self, args):
        raise NotImplementedError(args)

logger = logging.getLogger("engine")
logger.setLevel(logging.DEBUG)
logger.addHandler(logging.StreamHandler(sys.stdout))
pulumi.runtime.set_mocks(NoResources(), logger=logger)
drop_debug_messages()
pulumi.log.debug("every property")
pulumi.log.info("kept")
"""


@pytest.mark.parametrize(("value", "expected"), [("1", 1), ("", 0), ("0", 0)])
def test_debug_messages_reach_the_engine_only_when_asked_for(value: str, expected: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "SLIPWAY_DEBUG": value},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = ran.stdout.splitlines()
    assert "kept" in lines
    assert lines.count("every property") == expected
