"""The policy pack, asked as the engine asks it: over its protocol, in a process of its own."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import struct_pb2
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from policy.analyzer import Analyzer
from policy.declaration import Resource
from policy.judge import Deadline
from policy.model import State
from slipway.values import SECRET_SIGNATURE, SIGNATURE, UNKNOWN_MARK
from tests.policy.policy_examples import MISSING, RULES, UNKNOWN, Edit, good, judge, judged

ROOT = Path(__file__).resolve().parents[2]
POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)
WAIVER = """\
waivers:
  - rule: read-only-root
    resource: Deployment/api
    reason: it writes beside itself
    expires: 2099-01-01
    stack: prod
"""
Verdicts = set[tuple[str, str, State]]


class Pack:
    """A running pack, driven through a whole update."""

    def __init__(self, stub: Any) -> None:
        self.stub = stub

    def diagnostics(self, resources: Mapping[str, Resource]) -> list[Any]:
        stack = analyzer_pb2.AnalyzeRequest(type="pulumi:pulumi:Stack", urn="urn:stack", name="slipway-prod")
        found = [*self.stub.Analyze(stack).diagnostics]
        for resource in resources.values():
            found += self.stub.Analyze(request(resource)).diagnostics
        # Its outputs, which the pack must not take for what was declared.
        listed = [
            analyzer_pb2.AnalyzerResource(
                type=each.type, name=each.name, urn=each.urn, dependencies=each.options.dependencies or ()
            )
            for each in resources.values()
        ]
        found += self.stub.AnalyzeStack(analyzer_pb2.AnalyzeStackRequest(resources=listed)).diagnostics
        return found

    def verdicts(self, resources: Mapping[str, Resource]) -> Verdicts:
        refs = {each.urn: each.ref for each in resources.values()}
        return {(each.policyName, refs[each.urn], state_of(each)) for each in self.diagnostics(resources)}


def state_of(diagnostic: Any) -> State:
    """The state as a reader of the engine's output tells it."""
    if diagnostic.message.startswith("Decided at update: "):
        return State.UNDECIDED
    return State.WAIVED if diagnostic.message.startswith("Waived until ") else State.VIOLATION


def request(resource: Resource) -> analyzer_pb2.AnalyzeRequest:
    properties = struct_pb2.Struct()
    properties.update(written(resource.inputs))
    options, timeouts = resource.options, analyzer_pb2.AnalyzerResourceOptions.CustomTimeouts
    return analyzer_pb2.AnalyzeRequest(
        type=resource.type,
        name=resource.name,
        urn=resource.urn,
        properties=properties,
        options=analyzer_pb2.AnalyzerResourceOptions(
            protect=options.protect,
            customTimeouts=timeouts(
                create=options.create_timeout_seconds or 0, update=options.update_timeout_seconds or 0
            ),
        ),
    )


def written(value: Any) -> Any:
    if value is UNKNOWN:
        return UNKNOWN_MARK
    if isinstance(value, Mapping):
        return {key: written(each) for key, each in value.items()}
    return [written(each) for each in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def pack_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout") / "policy"
    shutil.copytree(ROOT / "policy", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "waivers.yaml").write_text(WAIVER)
    return folder


@pytest.fixture(scope="module")
def pack(pack_folder: Path) -> Iterator[Pack]:
    with started(pack_folder) as found:
        yield found


class started:  # noqa: N801 (reads as a word)
    """A pack's process, as Pulumi's language host runs it."""

    def __init__(self, folder: Path, stack: str = "prod", dry_run: str = "true") -> None:
        config = '{"slipway:registry": "registry.example/team"}'
        variables = {"PULUMI_STACK": stack, "PULUMI_CONFIG": config, "PULUMI_DRY_RUN": dry_run}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pulumi.policy", "127.0.0.1:1", str(folder)],
            cwd=folder,
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Pack:
        assert self.process.stdout is not None
        port = self.process.stdout.readline().strip()
        assert port.isdigit(), self.process.communicate()[1]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        return Pack(analyzer_pb2_grpc.AnalyzerStub(self.channel))

    def __exit__(self, *_: object) -> None:
        self.channel.close()
        self.process.terminate()
        self.process.communicate(timeout=10)


STATES: dict[str, list[Edit]] = {
    "probe removed": [Edit("Deployment/api", (*CONTAINER, "livenessProbe"), MISSING)],
    "image unknown": [Edit("Deployment/api", (*CONTAINER, "image"), UNKNOWN)],
    "template unknown": [Edit("Deployment/api", ("spec", "template"), UNKNOWN)],
    "one replica, another label": [
        Edit("Deployment/api", ("spec", "replicas"), 1),
        Edit("Deployment/scaled", ("spec", "template", "metadata", "labels"), {"app": "other"}),
    ],
    "open service": [Edit("Service/api", ("spec", "externalIPs"), ["192.0.2.1"])],
    "untested image": [Edit("Image/api-test", ("target",), "runtime")],
    "secret as a secret": [
        Edit("ConfigMap/api", ("data", "DB_PASSWORD"), {SIGNATURE: SECRET_SIGNATURE, "value": "hunter2"}),
    ],
}


@pytest.mark.parametrize("edits", STATES.values(), ids=list(STATES))
def test_the_pack_and_the_rules_say_the_same(pack: Pack, edits: list[Edit]) -> None:
    resources = Edit("Deployment/api", (*CONTAINER, "securityContext", "readOnlyRootFilesystem"), False).done(good())
    for edit in edits:
        resources = edit.done(resources)
    plain = resources | {"ConfigMap/api": opened(resources["ConfigMap/api"])}
    report = judged(plain, ("read-only-root", "Deployment/api"))
    expected = {
        (each.rule.id, each.resource.ref, each.state) for each in report.results if each.state is not State.PASS
    }
    waived = ("read-only-root", "Deployment/api", State.WAIVED)
    assert waived in expected
    assert len(expected) > 1
    assert pack.verdicts(resources) == expected


def opened(resource: Resource) -> Resource:
    data = {key: each["value"] if isinstance(each, dict) else each for key, each in resource.inputs["data"].items()}
    return Resource(resource.type, resource.name, {**resource.inputs, "data": data}, resource.urn, resource.options)


def test_levels_texts_and_urns_of_what_the_engine_shows(pack: Pack) -> None:
    resources = Edit("Deployment/api", (*CONTAINER, "securityContext", "readOnlyRootFilesystem"), False).done(good())
    resources = Edit("Deployment/api", (*CONTAINER, "livenessProbe"), MISSING).done(resources)
    resources = Edit("Deployment/api", (*CONTAINER, "image"), UNKNOWN).done(resources)
    found = {each.policyName: each for each in pack.diagnostics(resources)}
    assert {each.urn for each in found.values()} == {resources["Deployment/api"].urn}
    levels = {name: each.enforcementLevel for name, each in found.items()}
    assert levels["liveness-probe"] == analyzer_pb2.MANDATORY
    assert levels["read-only-root"] == levels["image-by-digest"] == analyzer_pb2.ADVISORY
    assert found["liveness-probe"].message == (
        "spec.template.spec.containers[0].livenessProbe: container `api` has no `livenessProbe`; "
        "allowed: one with httpGet, tcpSocket, grpc, exec\n"
        "Give the container a `livenessProbe` (`health` in service.yaml)."
    )
    assert found["image-by-digest"].message == (
        "Decided at update: spec.template.spec.containers[0].image: not known before the update"
    )


def test_an_unused_waiver_fails_the_whole_stack(pack: Pack) -> None:
    (found,) = [each for each in pack.diagnostics(good()) if each.policyName == "waivers"]
    assert found.enforcementLevel == analyzer_pb2.MANDATORY
    problem = "policy/waivers.yaml:2: Deployment/api does not break read-only-root here; remove the waiver, or name "
    assert found.message == f"{problem}the stack that needs it (`stack: prod`)"


def test_what_an_update_leaves_as_it_is_is_not_judged_again(pack_folder: Path) -> None:
    """The engine lists it with its outputs, for the rules that look at everything."""
    resources = Edit("Service/api", ("spec", "selector"), {"app": "nobody"}).done(good())
    listed = [
        analyzer_pb2.AnalyzerResource(type=each.type, name=each.name, urn=each.urn) for each in resources.values()
    ]
    with started(pack_folder) as pack:
        assert any(each.policyName == "service-selects-pods" for each in pack.diagnostics(resources))
    with started(pack_folder) as pack:
        pack.stub.Analyze(request(resources["Deployment/api"]))
        answer = pack.stub.AnalyzeStack(analyzer_pb2.AnalyzeStackRequest(resources=listed))
    assert {each.urn for each in answer.diagnostics} <= {resources["Deployment/api"].urn}
    assert not [each for each in answer.diagnostics if each.policyName in ("service-selects-pods", "waivers")]


@pytest.mark.slow
def test_a_waiver_that_only_the_update_finds_unused_takes_nothing_back(pack_folder: Path) -> None:
    """As one of `image-by-digest` for an image that is built: waived in the preview, which cannot know, then kept."""
    with started(pack_folder, dry_run="false") as updating:
        (found,) = [each for each in updating.diagnostics(good()) if each.policyName == "waivers"]
    assert found.enforcementLevel == analyzer_pb2.ADVISORY


def test_the_pack_tells_the_engine_what_there_is(pack: Pack) -> None:
    info = pack.stub.GetAnalyzerInfo(Empty())
    assert (info.name, info.supportsConfig) == ("slipway", False)
    levels = {each.name: each.enforcementLevel for each in info.policies}
    assert set(levels) == {*RULES, "waivers"}
    assert levels.pop("unit-tests-exist") == analyzer_pb2.ADVISORY
    assert set(levels.values()) == {analyzer_pb2.MANDATORY}
    assert all(each.description for each in info.policies)
    pack.stub.ConfigureStack(analyzer_pb2.AnalyzerStackConfigureRequest(stack="dev", project="slipway"))
    levels = {each.name: each.enforcementLevel for each in pack.stub.GetAnalyzerInfo(Empty()).policies}
    assert (levels["replicas"], levels["topology-spread"]) == (analyzer_pb2.DISABLED, analyzer_pb2.ADVISORY)
    pack.stub.ConfigureStack(
        analyzer_pb2.AnalyzerStackConfigureRequest(stack="prod", config={"slipway:registry": "registry.example/team"})
    )


def test_rules_that_do_not_apply_are_not_counted_as_kept(pack: Pack) -> None:
    answer = pack.stub.Analyze(request(good()["ConfigMap/api"]))
    skipped = {each.policy_name for each in answer.not_applicable}
    assert "liveness-probe" in skipped
    assert not {"no-secret-in-config-map", "required-labels", "own-namespace", "network-policy"} & skipped


@pytest.mark.slow
def test_broken_files_stop_the_update_at_its_first_resource(tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(ROOT / "policy", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "waivers.yaml").write_text(WAIVER.replace("read-only-root", "no-such-rule"))
    with started(folder) as pack:
        stack = analyzer_pb2.AnalyzeRequest(type="pulumi:pulumi:Stack", urn="urn:stack", name="slipway-prod")
        (found,) = pack.stub.Analyze(stack).diagnostics
    assert (found.policyName, found.enforcementLevel) == ("waivers", analyzer_pb2.MANDATORY)
    assert found.message == "policy/waivers.yaml:2: no rule has the id `no-such-rule`; All ids: docs/policy.md"
    (folder / "settings.yaml").write_text("environments: {dev: test}")
    process = started(folder).process
    assert "settings.yaml:1: `dev` is 'test'" in process.communicate(timeout=20)[1]
    assert process.returncode == 1


def test_no_module_hides_another() -> None:
    """The engine starts a pack in its own folder, whose modules then come before all others."""
    names = {file.stem for file in (ROOT / "policy").iterdir() if file.suffix == ".py" or file.is_dir()}
    names -= {"__init__", "__main__", "__pycache__"}
    assert names & (sys.stdlib_module_names | importlib.metadata.packages_distributions().keys()) == set()


class Aborted(Exception):  # noqa: N818 (what gRPC does to end a call)
    """The call ended with this status and these words."""


class Context:
    def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise Aborted(code, details)


def never(*_: object) -> list[Any]:
    threading.Event().wait()
    return []


def fails(*_: object) -> list[Any]:
    raise ValueError


@pytest.mark.parametrize(
    ("check", "code", "words"),
    [
        (never, grpc.StatusCode.DEADLINE_EXCEEDED, "rule `pre-stop` on Deployment/api did not finish in 0.2 s"),
        (fails, grpc.StatusCode.INTERNAL, "rule `pre-stop` failed on Deployment/api: ValueError at test_pack.py:"),
    ],
)
def test_a_rule_that_hangs_or_raises_ends_the_call(
    check: Callable[..., Any], code: grpc.StatusCode, words: str
) -> None:
    broken = judge()
    broken.rules = tuple(
        type(rule)(**{**vars(rule), "check": check}) if rule.id == "pre-stop" else rule for rule in broken.rules
    )
    analyzer = Analyzer(broken, Deadline(0.2))
    with pytest.raises(Aborted) as caught:
        analyzer.Analyze(request(good()["Deployment/api"]), Context())  # type: ignore[arg-type]
    assert caught.value.args[0] is code
    assert f"Policy error: {words}" in caught.value.args[1]
