"""What is registered when a recorded state is declared again, request by request; and which images must be there."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pulumi
import pytest
from google.protobuf.json_format import MessageToDict
from pulumi.runtime import resource, rpc
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.stack import run_pulumi_func
from pulumi.runtime.sync_await import _sync_await

from components import environment as environments
from components import rollback as module
from components.environment import Environment, EnvironmentArgs
from components.kubernetes_defaults import DELETE_TIMEOUT
from components.program import _declaring_frame, wait_at_once
from components.rollback import RecordedState
from components.settings import NamespaceSettings, StackSettings
from slipway.rollback.plan import RollbackRequest, plan_rollback
from slipway.state.checkpoint import resources
from slipway.state.kubernetes_objects import directed

ROOT = Path(__file__).resolve().parents[2]
STATES = ROOT / "tests" / "slipway" / "recorded" / "states.json"
STACK = "urn:pulumi:dev::slipway::"
DEPLOYMENT = f"{STACK}slipway:index:Microservice$kubernetes:apps/v1:Deployment::"
(SECRET,) = (
    each["urn"]
    for each in json.loads(STATES.read_text())["first"]["resources"]
    if "core/v1:Secret::user-service-" in each["urn"]
)
NAMESPACE = f"{STACK}slipway:index:Environment$kubernetes:core/v1:Namespace::dev"
KUBERNETES = f"{STACK}slipway:index:Environment$pulumi:providers:kubernetes::dev"
PLAIN_TEXT = {rpc._special_sig_key: rpc._special_secret_sig}


class Monitor(MockMonitor):
    """Answers as the engine does, and keeps what it was asked, by the URN that the engine would give."""

    def __init__(self, mocks: pulumi.runtime.Mocks) -> None:
        super().__init__(mocks)
        self.requests: dict[str, Any] = {}
        self.read: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        above = parent.split("::")[2] if parent else ""
        types = type_ if above in ("", "pulumi:pulumi:Stack") else f"{above}${type_}"
        return f"{STACK}{types}::{name}"

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 (the engine's name)
        urn = self.make_urn(request.parent, request.type, request.name)
        is_stack = request.type == "pulumi:pulumi:Stack"  # the mocks make one too
        assert is_stack or urn not in self.requests, f"the engine refuses a second {urn}"
        self.requests[urn] = request
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]

    def ReadResource(self, request: Any) -> Any:  # noqa: N802
        self.read[self.make_urn(request.parent, request.type, request.name)] = request
        return super().ReadResource(request)  # type: ignore[no-untyped-call]

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        self.outputs[request.urn] = rpc.deserialize_properties(request.outputs, keep_unknowns=True)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


class Echo(pulumi.runtime.Mocks):
    """Every resource comes out as it went in."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        return f"{args.name}-id", dict(args.inputs)

    def call(self, args: pulumi.runtime.MockCallArgs) -> NoReturn:
        raise AssertionError(f"nothing is asked here: {args.token}")


Replay = Callable[..., Monitor]


@pytest.fixture(scope="module")
def replay() -> Iterator[Replay]:
    """Declares `target` over `present` and gives what was registered."""

    def run(target: Any, present: Any | None = None, **more: Any) -> Monitor:
        plan = plan_rollback(target, target if present is None else present, RollbackRequest(1, **more))

        def program() -> None:
            settings = StackSettings(namespace=NamespaceSettings(name="slipway-dev"), registry="registry.example/team")
            RecordedState(Environment("dev", EnvironmentArgs(settings, ())), plan)
            wait_at_once()

        mocks = Echo()
        monitor = Monitor(mocks)
        pulumi.runtime.set_mocks(mocks, project="slipway", stack="dev", monitor=monitor)
        _sync_await(run_pulumi_func(program))
        return monitor

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(environments, "cluster_id", lambda _: "here")
        patch.setattr(resource, "_get_stack_trace", _declaring_frame)
        yield run


@pytest.fixture
def first() -> Any:
    return json.loads(STATES.read_text())["first"]


@pytest.fixture(scope="module")
def monitor(replay: Replay) -> Monitor:
    """What was registered of `first` over itself."""
    return replay(json.loads(STATES.read_text())["first"])


@pytest.fixture(scope="module")
def monitor_with_options(replay: Replay) -> Monitor:
    """What was registered of `first` with all of OPTIONS on one Deployment."""
    state = json.loads(STATES.read_text())["first"]
    raw(state, f"{DEPLOYMENT}user-service").update({recorded: value for recorded, value, _, _ in OPTIONS})
    return replay(state)


@pytest.fixture
def second() -> Any:
    return json.loads(STATES.read_text())["second"]


def raw(state: Any, urn: str) -> Any:
    """The resource as the engine wrote it; changing it changes the state."""
    (found,) = [each for each in state["resources"] if each["urn"] == urn]
    return found


def inputs(request: Any) -> Any:
    """As they are sent: the SDK's own reading of them leaves null out."""
    return MessageToDict(request.object)


def opened(value: Any) -> Any:
    """Secrets as the SDK shows them, as plain values with a mark."""
    if isinstance(value, dict):
        if value.get(rpc._special_sig_key) == rpc._special_secret_sig:
            return ("secret", json.loads(value["plaintext"]) if "plaintext" in value else opened(value["value"]))
        return {key: opened(each) for key, each in value.items()}
    return [opened(each) for each in value] if isinstance(value, list) else value


def test_every_recorded_resource_is_declared_under_its_urn_and_no_image(monitor: Monitor, first: Any) -> None:
    not_declared = ("pulumi:pulumi:Stack", "docker-build:index:Image", "pulumi:providers:docker-build")
    expected = {each.urn for each in resources(first) if each.type not in not_declared}
    # The images stay in the state, and the engine refuses one in which their provider comes after them or is missing.
    expected.add(f"{STACK}slipway:index:Environment$pulumi:providers:docker-build::dev")
    assert set(monitor.requests) - {f"{STACK}pulumi:pulumi:Stack::slipway-dev"} == expected
    assert not monitor.read


def test_promoted_images_say_where_they_are_from_and_need_no_builder(replay: Replay, first: Any) -> None:
    origin = {"environment": "dev", "update": 12, "commit": "0123456789", "time": "2030-01-01T00:00:00Z"}
    promoted = {"digest": "sha256:" + "1" * 64, "promotedFrom": origin}
    state = {**first, "resources": [each for each in first["resources"] if "docker-build" not in each["type"]]}
    urns = [each["urn"] for each in state["resources"] if each["type"] == "slipway:index:ServiceImage"]
    assert len(urns) == 2
    for each in state["resources"]:
        if each["urn"] in urns:
            each["inputs"] = promoted
    monitor = replay(state)
    assert [inputs(monitor.requests[urn]) for urn in urns] == [promoted, promoted]
    assert [urn for urn in monitor.requests if "docker-build" in urn] == []


def test_inputs_are_those_that_were_recorded(monitor: Monitor, first: Any) -> None:
    objects = [each for each in resources(first) if each.is_object]
    assert len(objects) == 15
    for each in objects:
        assert opened(inputs(monitor.requests[each.urn])) == opened(dict(directed(each).inputs)), each.urn


def test_what_was_secret_is_secret_again(replay: Replay, first: Any) -> None:
    raw(first, SECRET)["inputs"]["data"] = {"A": {**PLAIN_TEXT, "plaintext": '"keel"'}, "B": "mast"}
    found = inputs(replay(first).requests[SECRET])
    assert opened(found["data"]) in ({"A": ("secret", "keel"), "B": "mast"}, ("secret", {"A": "keel", "B": "mast"}))


def test_components_and_outputs_are_as_they_were(monitor: Monitor, first: Any) -> None:
    for each in resources(first):
        if each.type in ("slipway:index:Microservice", "slipway:index:ServiceImage"):
            assert monitor.outputs[each.urn] == dict(each.outputs), each.urn
            assert not monitor.requests[each.urn].custom


def test_parents_and_dependencies_are_as_they_were(monitor: Monitor, first: Any) -> None:
    images = {each.urn for each in resources(first) if each.type == "docker-build:index:Image"}
    for each in (each for each in resources(first) if each.is_object):
        request = monitor.requests[each.urn]
        assert request.parent == each.parent
        assert set(request.dependencies) == set(each.dependencies) - images, each.urn


def test_each_property_depends_on_what_it_depended_on(monitor: Monitor, first: Any) -> None:
    """By it the engine knows what must be replaced together with something."""
    declared = monitor.requests[f"{DEPLOYMENT}user-service"]
    recorded = raw(first, f"{DEPLOYMENT}user-service")["propertyDependencies"]
    found = {key: set(declared.propertyDependencies[key].urns) for key in recorded}
    assert found == {key: {urn for urn in urns if "$docker-build:" not in urn} for key, urns in recorded.items()}
    assert found["spec"]


def test_providers_are_those_of_the_present(replay: Replay, first: Any) -> None:
    raw(first, KUBERNETES)["inputs"] = {"kubeconfig": "of another time", "version": "1.2.3"}
    requests = replay(first).requests
    assert "of another time" not in str(requests[KUBERNETES].object)
    assert requests[NAMESPACE].provider.startswith(f"{KUBERNETES}::")
    assert requests[f"{DEPLOYMENT}user-service"].provider.startswith(f"{KUBERNETES}::")


def test_a_provider_that_the_program_has_no_more_comes_from_the_record(replay: Replay, first: Any) -> None:
    other = f"{STACK}pulumi:providers:kubernetes::second-cluster"
    at = first["resources"].index(raw(first, NAMESPACE))
    recorded = {
        "urn": other,
        "type": "pulumi:providers:kubernetes",
        "custom": True,
        "id": "0",
        "inputs": {"context": "second", "version": "4.25.0", "__internal": {"pluginDownloadURL": "x"}},
    }
    first["resources"].insert(at, recorded)
    raw(first, f"{DEPLOYMENT}user-service")["provider"] = f"{other}::0"
    requests = replay(first).requests
    assert inputs(requests[other])["context"] == "second"
    assert "__internal" not in inputs(requests[other])
    assert requests[f"{DEPLOYMENT}user-service"].provider.startswith(f"{other}::")
    assert requests[f"{DEPLOYMENT}order-service"].provider.startswith(f"{KUBERNETES}::")


def test_a_default_provider_has_the_version_it_had_and_is_left_to_the_engine(replay: Replay, first: Any) -> None:
    default = f"{STACK}pulumi:providers:kubernetes::default_4_20_1"
    first["resources"].insert(1, {"urn": default, "type": "pulumi:providers:kubernetes", "custom": True, "id": "0"})
    raw(first, NAMESPACE)["provider"] = f"{default}::0"
    requests = replay(first).requests
    assert default not in requests
    assert (requests[NAMESPACE].version, requests[NAMESPACE].provider) == ("4.20.1", "")
    assert requests[f"{DEPLOYMENT}user-service"].version == ""


OPTIONS: list[Any] = [
    ("protect", True, "protect", True),
    ("retainOnDelete", True, "retainOnDelete", True),
    ("ignoreChanges", ["spec.replicas"], "ignoreChanges", ["spec.replicas"]),
    ("replaceOnChanges", ["spec.selector"], "replaceOnChanges", ["spec.selector"]),
    ("additionalSecretOutputs", ["status", "spec"], "additionalSecretOutputs", ["status", "spec"]),
    ("deletedWith", NAMESPACE, "deletedWith", NAMESPACE),
    ("hideDiff", ["spec.template"], "hideDiffs", ["spec.template"]),
    ("replaceWith", [NAMESPACE], "replace_with", [NAMESPACE]),
]


@pytest.mark.parametrize(("recorded", "value", "option", "expected"), OPTIONS, ids=[each[0] for each in OPTIONS])
def test_every_option_is_restored(
    monitor_with_options: Monitor, *, recorded: str, value: Any, option: str, expected: Any
) -> None:
    requests = monitor_with_options.requests
    found = getattr(requests[f"{DEPLOYMENT}user-service"], option)
    assert (list(found) if isinstance(expected, list) else found) == expected
    assert not getattr(requests[f"{DEPLOYMENT}order-service"], option), "of this resource alone"


def test_what_triggers_a_replacement_is_restored(replay: Replay, first: Any) -> None:
    raw(first, f"{DEPLOYMENT}user-service")["replacementTrigger"] = {"revision": "2026-11"}
    requests = replay(first).requests
    assert requests[f"{DEPLOYMENT}user-service"].replacement_trigger.struct_value["revision"] == "2026-11"
    assert not requests[f"{DEPLOYMENT}order-service"].HasField("replacement_trigger")


def test_what_comes_later_in_the_state_may_be_what_a_resource_ends_with(replay: Replay, first: Any) -> None:
    service = f"{STACK}slipway:index:Microservice$kubernetes:core/v1:Service::user-service"
    last = f"{DEPLOYMENT}order-service"
    raw(first, service)["deletedWith"] = last
    assert replay(first).requests[service].deletedWith == last


def test_timeouts_are_restored(replay: Replay, first: Any) -> None:
    raw(first, f"{DEPLOYMENT}user-service")["customTimeouts"] = {"create": 150, "update": 90.5}
    found = replay(first).requests[f"{DEPLOYMENT}user-service"].customTimeouts
    assert (found.create, found.update, found.delete) == ("150s", "90.5s", DELETE_TIMEOUT)
    raw(first, f"{DEPLOYMENT}user-service")["customTimeouts"] = {"delete": 7}
    assert replay(first).requests[f"{DEPLOYMENT}user-service"].customTimeouts.delete == "7s"


def test_what_was_read_and_never_made_is_read_again(replay: Replay, first: Any) -> None:
    """Made as a resource of its own, the rollback would take somebody else's object over."""
    raw(first, NAMESPACE).update(external=True, id="slipway-dev")
    monitor = replay(first)
    assert NAMESPACE not in monitor.requests
    assert monitor.read[NAMESPACE].id == "slipway-dev"


def test_what_was_renamed_since_is_declared_with_an_alias(replay: Replay, first: Any) -> None:
    present = copy.deepcopy(first)
    renamed = f"{STACK}slipway:index:Microservice$kubernetes:core/v1:Service::renamed"
    old = f"{STACK}slipway:index:Microservice$kubernetes:core/v1:Service::user-service"
    raw(present, old)["urn"] = renamed
    found = replay(first, present).requests
    assert [each.urn for each in found[old].aliases] + list(found[old].aliasURNs) == [renamed]
    assert not found[SECRET].aliases
    assert not found[SECRET].aliasURNs


def test_one_service_alone_is_declared_among_the_present_others(replay: Replay, first: Any, second: Any) -> None:
    requests = replay(first, second, services=("user-service",)).requests
    replicas = {
        name: inputs(requests[f"{DEPLOYMENT}{name}"])["spec"].get("replicas")
        for name in ("user-service", "order-service")
    }
    assert replicas == {"user-service": 1, "order-service": None}
    assert any("HorizontalPodAutoscaler" in urn for urn in requests)


def test_the_types_of_the_protocol_are_those_meant() -> None:
    """A field that the engine's protocol does not have would make the tests above say nothing."""
    fields = resource_pb2.RegisterResourceRequest.DESCRIPTOR.fields_by_name
    assert {each[2] for each in OPTIONS} <= set(fields)


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
        state = json.loads(STATES.read_text())["first"]
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
