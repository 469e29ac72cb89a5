"""Says why a rollout failed: an error hook of every Deployment, which prints the diagnosis as that resource's error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pulumi
from pulumi import ErrorHook, ErrorHookArgs, ResourceHookBinding
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.proto import engine_pb2
from pulumi.runtime.settings import get_engine, get_monitor

from slipway.cluster import Cluster, ClusterError, NotFoundError
from slipway.diagnosis import MARK, screen

# Recorded with each Deployment, and asked for by the engine when one fails: the name must not change.
HOOK_NAME = "slipway-diagnosis"
# The engine waits for the hook; reading takes far less, unless the cluster is what is broken.
BUDGET_SECONDS = 15.0
LINES_SHOWN = 8
# What both providers say where the engine was asked to stop: there is nothing to explain.
CANCELLED = "was cancelled"


def rollout_hooks(context: str | None) -> ResourceHookBinding | None:
    """The hooks of a Deployment, once for all of a program; None in a preview, where nothing is rolled out.

    Nothing is imported, read or connected to before a rollout fails.
    """
    if pulumi.runtime.is_dry_run() or isinstance(get_monitor(), MockMonitor):
        return None
    return ResourceHookBinding(on_error=[ErrorHook(HOOK_NAME, partial(explain, context))])


async def explain(context: str | None, args: ErrorHookArgs) -> bool:
    """Never asks for another try, and never raises: the engine's own error must stay what ends the update."""
    if args.failed_operation != "delete" and not any(CANCELLED in error for error in args.errors):
        try:
            text = await asyncio.wait_for(asyncio.to_thread(explanation, context, args.new_inputs), BUDGET_SECONDS)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it must not stand before the engine's error
            text = f"Why it failed could not be found out: {_reason(error)}"
        if text:
            _tell(text, args.urn)
    return False


def explanation(context: str | None, inputs: Mapping[str, Any] | None) -> str:
    """One screen about the Deployment that `inputs` declare; empty where its rollout is not what failed.

    Raises ClusterError when the cluster cannot be asked.
    """
    metadata = (inputs or {}).get("metadata") or {}
    try:
        diagnosis = Cluster.connect(context).diagnosis(str(metadata["namespace"]), str(metadata["name"]))
    except (NotFoundError, KeyError):
        return ""  # the API server refused the Deployment itself, and said why
    return MARK + screen(diagnosis) if diagnosis else ""


def last_words(context: str | None, namespace: str) -> Callable[[str], Sequence[str]]:
    """A function that gives the last lines that a service printed, and where that fails, why; it never raises."""

    def read(service: str) -> Sequence[str]:
        try:
            return Cluster.connect(context).log(namespace, service, LINES_SHOWN)
        except ClusterError as error:
            return [f"(its log cannot be read: {error})"]

    return read


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"the cluster gave no answer within {BUDGET_SECONDS:g} s"
    return str(error) if isinstance(error, ClusterError) else f"{type(error).__name__}: {error}"


def _tell(text: str, urn: str) -> None:
    """`pulumi.log` would wait for the URN of a resource that is not going to be registered."""
    engine = get_engine()
    if engine is not None:
        engine.Log(engine_pb2.LogRequest(severity=engine_pb2.ERROR, message=text, urn=urn))
