"""Whatever the catalogue accepts is declared as objects that Kubernetes accepts."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.kinds import Microservice
from components.rollouts import AwaitedRollouts
from components.workload import WorkloadArgs
from services.quantities import CORES_LIMIT, MEMORY_MINIMUM
from services.spec import NAME_PATTERN, ServiceSpec

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
names = st.from_regex(NAME_PATTERN, fullmatch=True).filter(lambda text: len(text) <= 46)
cores = st.integers(1, CORES_LIMIT * 1000).map(lambda thousandths: f"{thousandths}m")
sizes = st.one_of(st.integers(MEMORY_MINIMUM, 2**50).map(str), st.sampled_from(["4Mi", "0.5Gi", "64M", "1.5Ti"]))
env_names = st.from_regex(re.compile(r"[A-Z][A-Z0-9_]{0,20}"), fullmatch=True)
paths = st.lists(st.from_regex(re.compile(r"[a-z0-9_.-]{1,8}"), fullmatch=True), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)
writable = paths.filter(lambda path: ".." not in path.split("/"))
PROXY_PROBES = {
    name: {"tcpSocket": {"port": "proxy"}, "periodSeconds": 10, "failureThreshold": failures}
    for name, failures in (("startupProbe", 5), ("livenessProbe", 6), ("readinessProbe", 3))
}
PROXY = {
    "name": "of-proxy",
    "image": "registry.example/team/proxy@sha256:" + "b" * 64,
    **PROXY_PROBES,
}
numbers = st.integers(1024, 65535)
specs = st.fixed_dictionaries(
    {"name": names},
    optional={
        "port": st.integers(1024, 65535),
        "replicas": st.integers(0, 50),
        "resources": st.fixed_dictionaries({}, optional={"cpu": cores, "memory": sizes}),
        "env": st.dictionaries(env_names.map(lambda name: f"E_{name}"), st.text(max_size=20), max_size=4),
        "secrets": st.lists(env_names.map(lambda name: f"S_{name}"), max_size=3, unique=True),
        "calls": st.lists(names, max_size=3, unique=True),
        "egress": st.lists(st.fixed_dictionaries({"port": st.integers(1, 65535)}), max_size=2),
        "scratch": st.dictionaries(writable, sizes, max_size=3),
        "health": st.fixed_dictionaries({}, optional={"startup": paths, "live": paths, "ready": paths}),
        "checks": st.lists(st.fixed_dictionaries({"get": paths}, optional={"has": st.text(max_size=9)}), max_size=3),
        "service": st.one_of(
            st.just({}), st.fixed_dictionaries({"type": st.just("NodePort"), "nodePort": st.integers(30000, 32767)})
        ),
        "labels": st.dictionaries(st.sampled_from(["team", "example.com/tier"]), st.sampled_from(["", "A.b_c-1"])),
        "initContainers": st.lists(
            st.fixed_dictionaries(
                {"name": st.just("of-init")}, optional={"scratch": st.dictionaries(writable, sizes, max_size=2)}
            ),
            max_size=1,
        ),
        "sidecars": st.lists(
            numbers.map(lambda number: PROXY | {"ports": [{"name": "proxy", "containerPort": number}]}), max_size=1
        ),
        "nodeSelector": st.just({"kubernetes.io/os": "linux"}),
        "tolerations": st.just([{"operator": "Exists"}]),
        "hostAliases": st.just([{"ip": "10.0.0.1", "hostnames": ["a"]}]),
        "dnsPolicy": st.sampled_from(["ClusterFirst", "Default"]),
        "autoscaling": st.just({"minReplicas": 1, "maxReplicas": 3}),
        "ingress": st.fixed_dictionaries({"host": st.just("shop.example")}, optional={"path": paths}),
    },
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=specs)
def test_every_accepted_service_becomes_well_formed_objects(declare: Any, document: dict[str, Any]) -> None:
    spec = ServiceSpec.model_validate(document)
    secrets = dict.fromkeys(spec.secrets, "x")

    def program() -> None:
        rollouts = AwaitedRollouts(None)
        args = WorkloadArgs(spec, "r/i@sha256:1", "n", rollouts, secrets=secrets, callers=["other"])
        Microservice(spec.name, args)

    recorded = declare(program)
    for resource in recorded.resources:
        assert LABEL.fullmatch(resource.inputs.get("metadata", {}).get("name", "x")), resource.typ
    deployment = recorded.inputs("kubernetes:apps/v1:Deployment", spec.name)
    assert ("replicas" in deployment["spec"]) == (spec.autoscaling is None)
    pod = deployment["spec"]["template"]["spec"]
    volumes = [volume["name"] for volume in pod["volumes"]]
    containers = [*pod["containers"], *pod.get("initContainers", ())]
    assert sorted(volumes) == sorted(mount["name"] for each in containers for mount in each["volumeMounts"])
    assert len(volumes) == len(set(volumes))
    for container in containers:
        paths = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert len(paths) == len(set(paths))
        assert "/tmp" in paths
    assert [each["name"] for each in containers] == [
        spec.name,
        *(each.name for each in spec.sidecars),
        *(each.name for each in spec.init_containers),
    ]
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert recorded.inputs("kubernetes:core/v1:Service", spec.name)["spec"]["selector"] == selector
    assert len(json.loads(deployment["metadata"]["annotations"]["slipway.dev/checks"])) == len(spec.active_checks)
    assert (recorded.names("kubernetes:core/v1:Secret") != []) == bool(spec.secrets)
