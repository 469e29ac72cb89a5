"""Declares environments under Pulumi's mocks and shows what was registered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime import resource
from pulumi.runtime.stack import run_pulumi_func
from pulumi.runtime.sync_await import _sync_await

from components.program import _declaring_frame
from slipway.environment_variables import secret_variable
from slipway.state.checkpoint import TYPES
from tests.committed_settings import committed_settings
from tests.example import SERVICES

ROOT = Path(__file__).resolve().parents[2]
DIGEST = "sha256:" + "1" * 64


@dataclass
class Recorder(pulumi.runtime.Mocks):
    """Answers like the providers would, and keeps what the program asked for."""

    resources: list[pulumi.runtime.MockResourceArgs] = field(default_factory=list)
    calls: list[pulumi.runtime.MockCallArgs] = field(default_factory=list)

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.resources.append(args)
        outputs = dict(args.inputs)
        if args.typ == "docker-build:index:Image":
            outputs |= {"digest": DIGEST, "contextHash": "0"}
        if args.typ == "kubernetes:core/v1:Service":
            outputs = {**outputs, "spec": {**outputs["spec"], "clusterIP": "10.96.0.7"}}
        return f"{args.name}-id", outputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        self.calls.append(args)
        return {"sha256Digest": DIGEST, "name": args.args["name"]}, []

    def inputs(self, token: str, name: str) -> dict[str, Any]:
        """Inputs of the one resource of that type and name; fails when there is none or more than one.

        What is named by its content goes by its name without the hash, here and in `names`.
        """
        (found,) = [each for each in self.resources if (each.typ, _stem(each)) == (token, name)]
        return dict(found.inputs)

    def names(self, token: str) -> list[str]:
        return sorted(_stem(each) for each in self.resources if each.typ == token)


def _stem(resource: pulumi.runtime.MockResourceArgs) -> str:
    return re.sub(r"-[0-9a-f]{8}$", "", resource.name) if resource.typ in TYPES else resource.name


Declare = Callable[..., Recorder]


@pytest.fixture(scope="module")
def declare() -> Iterator[Declare]:
    """`declare(function, stack="dev", preview=False, config={...})` runs the function as a program."""

    def run(
        function: Callable[[], Any],
        *,
        stack: str = "dev",
        preview: bool = False,
        config: dict[str, str] | None = None,
        project: str = "slipway",
        secret_keys: Sequence[str] = (),
    ) -> Recorder:
        recorder = Recorder()
        pulumi.runtime.set_mocks(recorder, project=project, stack=stack, preview=preview)
        pulumi.runtime.set_all_config(committed_settings(stack) | (config or {}), list(secret_keys))
        _sync_await(run_pulumi_func(function))
        return recorder

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(resource, "_get_stack_trace", _declaring_frame)  # as `__main__.py` has it
        patch.setenv("SLIPWAY_REGISTRY", "registry.example/team")
        patch.delenv("SLIPWAY_BASE_IMAGE", raising=False)
        for service in SERVICES:
            patch.setenv(secret_variable(service, "DATABASE_URL"), "postgresql+psycopg://u:p@db/x")
        yield run
