"""A policy pack for the engine: the rules judge each resource that the engine is about to register.

It implements the engine's protocol itself and does not use `pulumi_policy.PolicyPack`, which decodes every resource
once for each policy: with 70 rules that takes seconds for a stack of 50 services. It can also tell "decided at update"
and "waived" apart from a violation, and gives stack-wide rules the declared inputs; the engine has only outputs.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import grpc
from google.protobuf import json_format
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.config import get_config_env
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc, plugin_pb2

from policy.declaration import Options, Resource, plain
from policy.files import PolicyFileError
from policy.judge import ERROR, Deadline, DeadlineError, Judge, RuleError, message
from policy.kinds import STACK_TYPE
from policy.model import Level, Result, State

T = TypeVar("T")
PACK = "slipway"
VERSION = "1.0.0"
WAIVERS = "waivers"
LEVELS = {
    Level.MANDATORY: analyzer_pb2.MANDATORY,
    Level.ADVISORY: analyzer_pb2.ADVISORY,
    Level.OFF: analyzer_pb2.DISABLED,
}
THREADS = 4
DRY_RUN_VARIABLE = "PULUMI_DRY_RUN"
UNLIMITED_MESSAGES = [("grpc.max_receive_message_length", -1)]


class Analyzer(analyzer_pb2_grpc.AnalyzerServicer):
    """The pack of one update. The resources that `Analyze` receives are kept for stack-wide rules."""

    def __init__(self, judge: Judge, deadline: Deadline | None = None, *, updating: bool = False) -> None:
        self._judge = judge
        self._updating = updating
        self._deadline = deadline or Deadline()
        self._lock = threading.Lock()
        self._seen: dict[str, Resource] = {}
        self._results: dict[str, list[Result]] = {}

    def Handshake(self, _request: Any, _context: Any) -> analyzer_pb2.AnalyzerHandshakeResponse:  # noqa: N802 (protocol)
        return analyzer_pb2.AnalyzerHandshakeResponse()

    def ConfigureStack(self, request: Any, _context: Any) -> analyzer_pb2.AnalyzerStackConfigureResponse:  # noqa: N802
        """The first call, if the language host makes it and does not only set environment variables."""
        self._judge = Judge.of(request.stack, dict(request.config), os.environ)
        self._updating = not request.dry_run
        return analyzer_pb2.AnalyzerStackConfigureResponse()

    def GetPluginInfo(self, _request: Empty, _context: Any) -> plugin_pb2.PluginInfo:  # noqa: N802
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetAnalyzerInfo(self, _request: Empty, _context: Any) -> analyzer_pb2.AnalyzerInfo:  # noqa: N802
        """All rules; this project sets their levels, so there is nothing for the engine to configure."""
        rules = [
            analyzer_pb2.PolicyInfo(
                name=rule.id,
                displayName=rule.title,
                description=rule.title,
                enforcementLevel=LEVELS[self._judge.level(rule)],
                policy_type=analyzer_pb2.POLICY_TYPE_STACK if rule.stack_wide else analyzer_pb2.POLICY_TYPE_RESOURCE,
                remediation_steps=rule.remedy,
                url=rule.source,
            )
            for rule in self._judge.rules
        ]
        waivers = analyzer_pb2.PolicyInfo(
            name=WAIVERS,
            displayName="Waivers have no errors",
            description="An expired, unknown or unused waiver is an error.",
            enforcementLevel=analyzer_pb2.MANDATORY,
            policy_type=analyzer_pb2.POLICY_TYPE_STACK,
        )
        return analyzer_pb2.AnalyzerInfo(name=PACK, version=VERSION, supportsConfig=False, policies=[*rules, waivers])

    def Analyze(self, request: Any, context: grpc.ServicerContext) -> analyzer_pb2.AnalyzeResponse:  # noqa: N802
        """Judges one resource, before the engine operates on it."""
        resource = _resource(request)
        results = self._within_deadline(lambda: self._judge.evaluate_resource(resource), context)
        with self._lock:
            self._seen[resource.urn] = resource
            self._results[resource.urn] = results
        answer = self._answer(results, stack_wide=False)
        if resource.type == STACK_TYPE:  # the first of all: nothing has been changed yet
            answer.diagnostics.extend(map(_waiver_problem, self._judge.waivers.problems))
        return answer

    def AnalyzeStack(self, request: Any, context: grpc.ServicerContext) -> analyzer_pb2.AnalyzeResponse:  # noqa: N802
        """Judges all resources together, after the last operation. Rules can also see resources that the update leaves
        as they are; these are judged when they are declared.
        """
        resources: list[Resource] = []
        for listed in request.resources:
            # As `Analyze` received it, with the dependencies that the engine sends only now.
            known = self._seen.get(listed.urn) or _resource(listed)
            options = replace(known.options, dependencies=frozenset(listed.dependencies))
            resources.append(replace(known, options=options))
        unseen = {each.urn for each in resources if each.urn not in self._seen}
        results = self._within_deadline(lambda: self._judge.evaluate_stack(resources, unseen), context)
        answer = self._answer(results, stack_wide=True)
        if unseen:  # a waiver may be for one of them
            return answer
        alone = (result for each in resources for result in self._results.get(each.urn, ()))
        # At the end of an update everything is done: a finding that no preview could make must not roll it all back.
        level = Level.ADVISORY if self._updating else Level.MANDATORY
        unused = self._judge.unused_waivers([*alone, *results])
        answer.diagnostics.extend(_waiver_problem(problem, level) for problem in unused)
        return answer

    def Remediate(self, _request: Any, _context: Any) -> analyzer_pb2.RemediateResponse:  # noqa: N802
        """Never changes a resource."""
        return analyzer_pb2.RemediateResponse()

    def Configure(self, _request: Any, _context: Any) -> Empty:  # noqa: N802
        return Empty()

    def Cancel(self, _request: Empty, _context: Any) -> Empty:  # noqa: N802
        return Empty()

    def _within_deadline(self, ask: Callable[[], T], context: grpc.ServicerContext) -> T:
        """The results of the rules; an error that names the rule if one fails or does not end."""
        try:
            return self._deadline.run(ask, lambda: self._judge.current)
        except RuleError as error:
            context.abort(grpc.StatusCode.INTERNAL, f"{ERROR}{error}")
        except DeadlineError as error:
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"{ERROR}{error}")

    def _answer(self, results: Iterable[Result], *, stack_wide: bool) -> analyzer_pb2.AnalyzeResponse:
        results = list(results)
        diagnostics = [
            analyzer_pb2.AnalyzeDiagnostic(
                policyName=result.rule.id,
                policyPackName=PACK,
                policyPackVersion=VERSION,
                description=result.rule.title,
                message=message(result),
                enforcementLevel=LEVELS[result.level if result.state is State.VIOLATION else Level.ADVISORY],
                urn=result.resource.urn,
            )
            for result in results
            if result.state is not State.PASS
        ]
        evaluated = {result.rule.id for result in results}
        rest = (rule.id for rule in self._judge.rules if rule.stack_wide is stack_wide and rule.id not in evaluated)
        return analyzer_pb2.AnalyzeResponse(
            diagnostics=diagnostics,
            not_applicable=[analyzer_pb2.PolicyNotApplicable(policy_name=each) for each in rest],
        )


def _resource(described: Any) -> Resource:
    """A resource of the engine's messages `AnalyzeRequest` and `AnalyzerResource`."""
    timeouts = described.options.customTimeouts
    provider = json_format.MessageToDict(described.provider.properties) if described.HasField("provider") else {}
    return Resource(
        described.type,
        described.name,
        plain(json_format.MessageToDict(described.properties)),
        described.urn,
        Options(
            protect=described.options.protect,
            create_timeout_seconds=timeouts.create or None,
            update_timeout_seconds=timeouts.update or None,
            default_namespace=plain(provider.get("namespace")),
        ),
    )


def _waiver_problem(problem: str, level: Level = Level.MANDATORY) -> analyzer_pb2.AnalyzeDiagnostic:
    return analyzer_pb2.AnalyzeDiagnostic(
        policyName=WAIVERS,
        policyPackName=PACK,
        policyPackVersion=VERSION,
        description="Waivers have no errors",
        message=problem,
        enforcementLevel=LEVELS[level],
    )


def serve() -> None:
    """Serve the engine until it ends this process; prints the port first, as plugins do."""
    try:
        judge = Judge.of(os.environ.get("PULUMI_STACK", ""), get_config_env(), os.environ)
    except PolicyFileError as error:
        sys.exit(f"{ERROR}{error}")
    server = grpc.server(ThreadPoolExecutor(THREADS), options=UNLIMITED_MESSAGES)
    updating = os.environ.get(DRY_RUN_VARIABLE) == "false"
    analyzer_pb2_grpc.add_AnalyzerServicer_to_server(Analyzer(judge, updating=updating), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        server.stop(0)
