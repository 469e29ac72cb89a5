"""What the program declares beside the record in a rollback: nothing of it is sent to the engine, or run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pulumi
import pytest
from pulumi.runtime import rpc
from pulumi.runtime.stack import run_in_stack
from pulumi.runtime.sync_await import _sync_await
from pulumi_kubernetes import batch, core, helm

from components import environment as environments
from components.environment import Environment, EnvironmentArgs
from components.program import export_recorded
from components.rollback import RecordedState
from components.settings import NamespaceSettings, StackSettings
from slipway.rollback.plan import RollbackRequest, plan_rollback
from slipway.state.checkpoint import resources
from tests.components.test_rollback import ROOT, STACK, STATES, Echo, Monitor, inputs

STACK_URN = f"{STACK}pulumi:pulumi:Stack::slipway-dev"
CRON_JOB = f"{STACK}kubernetes:batch/v1:CronJob::nightly"
METADATA = {"name": "nightly", "namespace": "slipway-dev"}


class Own(pulumi.ComponentResource):
    def __init__(self) -> None:
        super().__init__("team:index:Own", "own")
        self.claim = core.v1.PersistentVolumeClaim("claim", opts=pulumi.ResourceOptions(parent=self))
        self.register_outputs({"claim": self.claim.metadata})


def fail(value: object) -> None:
    raise AssertionError(f"run in a rollback: {value}")


def state_with_own_objects() -> Any:
    state = json.loads(STATES.read_text())["first"]
    metadata = {**METADATA, "annotations": {"pulumi.com/patchForce": "true"}}
    of_program = {"type": "kubernetes:batch/v1:CronJob", "custom": True, "id": "slipway-dev/nightly"}
    provider = next(each["provider"] for each in state["resources"] if "ConfigMap" in each["urn"])
    recorded = {"urn": CRON_JOB, **of_program, "parent": STACK_URN, "provider": provider}
    state["resources"].append({**recorded, "inputs": {"metadata": metadata, "spec": {"schedule": "0 1 * * *"}}})
    return state


def declare_own(environment: Environment | None) -> None:
    nightly = batch.v1.CronJob(
        "nightly",
        metadata=METADATA,
        spec={"schedule": "broken"},
        opts=pulumi.ResourceOptions(provider=environment.kubernetes) if environment else None,
    )
    nightly.metadata.apply(fail)
    nightly.id.apply(fail)
    core.v1.ConfigMap("new", metadata={"name": nightly.metadata.name}).data.apply(fail)
    read = core.v1.Secret.get("read", "default/read")
    read.data.apply(lambda data: data["read"])
    helm.v4.Chart("chart", chart="./chart").resources.apply(fail)
    Own().claim.spec.apply(fail)
    pulumi.export("nightly", nightly.metadata.name)


def add_label(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult:
    return pulumi.ResourceTransformationResult({**args.props, "added": "later"}, args.opts)


@pytest.mark.parametrize("preview", [True, False])
@pytest.mark.parametrize("place", ["before", "between", "after"])
def test_the_record_alone_is_declared(place: str, preview: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(environments, "cluster_id", lambda _: "here")
    state = state_with_own_objects()
    plan = plan_rollback(state, state, RollbackRequest(1))
    settings = StackSettings(namespace=NamespaceSettings(name="slipway-dev"), registry="registry.example/team")

    outputs = {"metadata": {"name": "read"}, "data": {"read": "before"}}
    read = {"urn": f"{STACK}kubernetes:core/v1:Secret::read", "type": "kubernetes:core/v1:Secret", "external": True}
    read |= {"custom": True, "outputs": outputs}

    def program() -> None:
        pulumi.runtime.register_stack_transformation(add_label)
        steps: dict[str, Callable[[Environment | None], None]] = {place: declare_own}
        steps.get("before", no_step)(None)
        environment = Environment("dev", EnvironmentArgs(settings, (), RollbackRequest(1)))
        steps.get("between", no_step)(environment)
        assert environment.recorded_only
        environment.recorded_only.remember_read({"resources": [read]})
        with environment.recorded_only.declaring():
            RecordedState(environment, plan)
        export_recorded({"checks": 2})
        steps.get("after", no_step)(environment)
        pulumi.export("checks", 0)

    mocks = Echo()
    monitor = Monitor(mocks)
    pulumi.runtime.set_mocks(mocks, project="slipway", stack="dev", preview=preview, monitor=monitor)
    pulumi.runtime.settings.ROOT.set(None)
    _sync_await(run_in_stack(program))
    of_engine = ("::default_", "docker-build:index:Image::", "pulumi:providers:docker-build::")
    of_record = {each.urn for each in resources(state)}
    assert {urn for urn in of_record ^ set(monitor.requests) if not any(each in urn for each in of_engine)} == set()
    assert inputs(monitor.requests[CRON_JOB])["spec"] == {"schedule": "0 1 * * *"}
    assert [urn for urn, request in monitor.requests.items() if "added" in str(inputs(request))] == []
    assert monitor.read == {}
    assert monitor.outputs[STACK_URN] == {"checks": 2.0}
    assert not [urn for urn in monitor.outputs if "team:index:Own" in urn]
    assert rpc.UNKNOWN not in str([inputs(request) for request in monitor.requests.values()])


def no_step(_: Environment | None) -> None:
    """Nothing is declared here."""
