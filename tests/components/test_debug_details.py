"""What the SDK sends for people who debug the program reaches the engine only when somebody wants it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipway.paths import CHECKOUT

# In a process of its own: what is dropped is dropped for good. It prints the messages that arrive, and of each resource
# how many frames are sent, and whether the first is the one that the SDK itself takes for the source position.
PROGRAM = """
import json, logging, sys
import pulumi
import pulumi_kubernetes as kubernetes
from pulumi.runtime import resource
from pulumi.runtime.mocks import Mocks
from components.program import drop_debug_details

class NoResources(Mocks):
    def new_resource(self, args):
        return args.name, args.inputs
    def call(self, args):
        raise NotImplementedError(args)

class Shop(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("shop:index:Shop", name)
        kubernetes.core.v1.ConfigMap(name, data={}, opts=pulumi.ResourceOptions(parent=self))

messages, traces = [], []
handler = logging.Handler()
handler.emit = lambda record: messages.append(record.getMessage())
logger = logging.getLogger("engine")
logger.setLevel(logging.DEBUG)
logger.addHandler(handler)
pulumi.runtime.set_mocks(NoResources(), logger=logger)
messages.clear()
sdks = resource._get_stack_trace
drop_debug_details()
sent = resource._get_stack_trace

def compared():
    trace = sent()
    traces.append([len(trace.frames), trace.frames[0] == sdks().frames[0]])
    return trace

resource._get_stack_trace = compared
Shop("shop")
pulumi.log.debug("every property")
pulumi.log.info("kept")
print(json.dumps({"messages": messages, "traces": traces}))
"""


Send = Callable[[str], dict[str, Any]]


@pytest.fixture
def sent(tmp_path: Path) -> Send:
    """What is sent with that value of SLIPWAY_DEBUG."""
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)

    def run(debug: str) -> dict[str, Any]:
        environment = {**os.environ, "SLIPWAY_DEBUG": debug, "PYTHONPATH": str(CHECKOUT)}
        ran = subprocess.run([sys.executable, str(file)], env=environment, capture_output=True, text=True, check=True)
        return dict(json.loads(ran.stdout))

    return run


@pytest.mark.slow
@pytest.mark.parametrize("debug", ["", "0"])
def test_nothing_of_it_is_sent_but_where_a_resource_is_declared(sent: Send, debug: str) -> None:
    found = sent(debug)
    assert found["messages"] == ["kept"]
    assert found["traces"] == [[1, True], [1, True]]


@pytest.mark.slow
def test_all_of_it_is_sent_when_asked_for(sent: Send) -> None:
    found = sent("1")
    assert {"every property", "kept"} <= set(found["messages"])
    assert [frames for frames, _ in found["traces"]] == [1, 2], "the program's, and the component's below it"
