"""Both tools have the same objects in the cluster after every operation, and nothing is left in the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from bench.helm import install_helm
from bench.processes import Run
from bench.results import Operation, Size
from bench.tools import HELM, Bench, HelmTool, Rounds, SlipwayTool, Tool
from slipway.progress import Progress
from tests.recording.workspace import workspace

# On a machine that has not compiled Helm yet, that alone takes minutes, more where all workers are busy.
pytestmark = [pytest.mark.e2e, pytest.mark.thorough, pytest.mark.timeout(2700)]

NAMESPACE = "slipway-test-bench"
KINDS = "deployments,services,serviceaccounts,configmaps,networkpolicies,poddisruptionbudgets"
# What every namespace has of its own.
OF_THE_CLUSTER = ("default", "kube-root-ca.crt")


def objects(kubectl: Callable[..., str], namespace: str) -> dict[str, Any]:
    """What each object is to be, by kind and name, without what the cluster assigns."""
    items = json.loads(kubectl("get", KINDS, "--namespace", namespace, "--output", "json"))["items"]
    found = {}
    for item in items:
        if item["metadata"]["name"] not in OF_THE_CLUSTER:
            spec = {key: value for key, value in item.get("spec", {}).items() if not key.startswith("clusterIP")}
            found[f"{item['kind']} {item['metadata']['name']}"] = {"spec": spec, "data": item.get("data")}
    return found


def test_both_have_the_same_objects_and_leave_none() -> None:
    helm = install_helm(Progress())
    compared: list[Operation] = []
    with workspace(NAMESPACE, Bench) as bench:
        tools: list[Tool] = [SlipwayTool(bench), HelmTool(bench, helm, HELM)]

        def compare(operation: Operation, tool: str, run: Run) -> None:
            assert run.seconds > 0
            if tool != HELM:
                return
            ours, theirs = (objects(bench.kubectl, each.namespace) for each in tools)
            assert len(ours) == 2 * 6
            assert ours == theirs, operation
            images = {spec["template"]["spec"]["containers"][0]["image"] for spec in specs(ours)}
            assert len(images) == 2
            compared.append(operation)

        def specs(found: dict[str, Any]) -> list[Any]:
            return [each["spec"] for name, each in found.items() if name.startswith("Deployment ")]

        workload = bench.prepare(Size(2), "test")
        everything = tuple(Operation)
        Rounds(workload, tools, everything, compare, print).run(1, history=True)
        assert sorted(compared) == sorted(everything)
        listed = bench.kubectl("get", "namespaces", "--output", "name")
        assert NAMESPACE in listed
        registry, kubectl = bench.lab_registry, bench.kubectl
        namespaces = [each.namespace for each in tools]
    left = kubectl("get", "namespaces", "--output", "name").split()
    assert not {f"namespace/{name}" for name in namespaces} & set(left)
    tags = httpx.get(f"http://{registry}/v2/{NAMESPACE}/bench-001/tags/list", trust_env=False).json()["tags"]
    assert not tags
