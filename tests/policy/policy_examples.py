"""A stack that obeys every rule, and ways to spoil it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from policy.declaration import UNKNOWN, Options, Resource
from policy.files import PolicySettings, Waiver, Waivers
from policy.judge import Judge, Report
from policy.model import Result, State, Tier
from policy.rules import ALL

Path = tuple[str | int, ...]
RULES = {rule.id: rule for rule in ALL}
DIGEST = "sha256:" + "a" * 64
REGISTRY = "registry.example/team"
APP = {"app.kubernetes.io/name": "api"}
LABELS = {**APP, "app.kubernetes.io/part-of": "shop", "app.kubernetes.io/managed-by": "pulumi"}
METADATA = {"name": "api", "namespace": "shop", "labels": LABELS}
SELECTOR = {"matchLabels": APP}
MISSING = object()


def probe(path: str, failures: int) -> dict[str, Any]:
    handler = {"path": path, "port": "http"}
    return {"httpGet": handler, "periodSeconds": 10, "timeoutSeconds": 3, "failureThreshold": failures}


def pod(account: str = "api") -> dict[str, Any]:
    amounts = {"memory": "128Mi", "ephemeral-storage": "256Mi"}
    container = {
        "name": "api",
        "image": f"{REGISTRY}/api@{DIGEST}",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "LOG_LEVEL", "value": "info"}],
        "resources": {"requests": {"cpu": "50m", **amounts}, "limits": dict(amounts)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "startupProbe": probe("/healthz", 10),
        "readinessProbe": probe("/readyz", 3),
        "livenessProbe": probe("/healthz", 6),
    }
    security = {"runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001}
    return {
        "metadata": {"labels": dict(APP)},
        "spec": {
            "serviceAccountName": account,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 30,
            "securityContext": {**security, "seccompProfile": {"type": "RuntimeDefault"}},
            "topologySpreadConstraints": [{"topologyKey": "kubernetes.io/hostname", "labelSelector": SELECTOR}],
            "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
            "containers": [container],
        },
    }


def image(name: str, target: str, **more: Any) -> Resource:
    inputs = {
        "context": {"location": "services/api"},
        "buildArgs": {"BASE_IMAGE": f"python:3.12-slim@{DIGEST}"},
        "target": target,
        **more,
    }
    return Resource("docker-build:index:Image", name, inputs, f"urn:{name}", Options(dependencies=frozenset()))


def kubernetes(kind: str, name: str = "api", options: Options | None = None, **inputs: Any) -> Resource:
    """An object by `group/version:Kind`."""
    token = f"kubernetes:{kind}"
    base = {"metadata": {**METADATA, "name": name}}
    return Resource(token, name, base | inputs, f"urn:{token}:{name}", options or Options(dependencies=frozenset()))


def _without_port(name: str, *keys: str) -> dict[str, Any]:
    """A pod that nothing connects to, without these keys of its container."""
    found = pod(name)
    found["metadata"]["labels"]["app.kubernetes.io/name"] = name
    (container,) = found["spec"]["containers"]
    for key in ("ports", "startupProbe", "readinessProbe", *keys):
        del container[key]
    found["spec"]["topologySpreadConstraints"][0] = {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"app.kubernetes.io/name": name}},
    }
    return found


def _workers() -> list[Resource]:
    """A worker and a cron job with what stands around them."""
    template = _without_port("worker")
    template["metadata"]["labels"]["app.kubernetes.io/component"] = "worker"
    template["spec"]["containers"][0]["livenessProbe"] = {"exec": {"command": ["true"]}, "failureThreshold": 6}
    deployment = {
        "replicas": 2,
        "selector": {"matchLabels": {"app.kubernetes.io/name": "worker"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "minReadySeconds": 5,
        "progressDeadlineSeconds": 300,
        "revisionHistoryLimit": 3,
        "template": template,
    }
    once = _without_port("nightly", "livenessProbe", "lifecycle")
    once["spec"]["restartPolicy"] = "Never"
    job = {"activeDeadlineSeconds": 3600, "backoffLimit": 0, "template": once}
    limits = {"successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 3}
    schedule = {"schedule": "30 2 * * *", **limits, "jobTemplate": {"spec": job}}
    selectors = {name: {"matchLabels": {"app.kubernetes.io/name": name}} for name in ("worker", "nightly")}
    return [
        kubernetes("apps/v1:Deployment", "worker", spec=deployment),
        kubernetes(
            "policy/v1:PodDisruptionBudget", "worker", spec={"maxUnavailable": 1, "selector": selectors["worker"]}
        ),
        kubernetes("batch/v1:CronJob", "nightly", spec=schedule),
        *(
            each
            for name, selector in selectors.items()
            for each in (
                kubernetes("core/v1:ServiceAccount", name),
                kubernetes(
                    "networking.k8s.io/v1:NetworkPolicy",
                    name,
                    spec={"podSelector": selector, "policyTypes": ["Ingress", "Egress"]},
                ),
            )
        ),
    ]


def _workloads() -> list[Resource]:
    deployment = {
        "replicas": 2,
        "selector": SELECTOR,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "minReadySeconds": 5,
        "progressDeadlineSeconds": 300,
        "revisionHistoryLimit": 3,
        "template": pod(),
    }
    scaled = {**deployment, "template": pod("scaled")}
    del scaled["replicas"]
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "scaled"}
    return [
        kubernetes("apps/v1:Deployment", spec=deployment, options=Options(False, 330.0, 330.0, frozenset())),
        kubernetes("apps/v1:Deployment", "scaled", spec=scaled),
        kubernetes("core/v1:ServiceAccount"),
        kubernetes("core/v1:ServiceAccount", "scaled"),
        kubernetes(
            "autoscaling/v2:HorizontalPodAutoscaler",
            spec={"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 4},
        ),
        kubernetes("policy/v1:PodDisruptionBudget", spec={"maxUnavailable": 1, "selector": SELECTOR}),
    ]


def _network() -> list[Resource]:
    backend = {"service": {"name": "api", "port": {"name": "http"}}}
    rule = {"host": "shop.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    tls = [{"hosts": ["shop.example"], "secretName": "shop-tls"}]
    port = {"name": "http", "port": 80, "targetPort": "http"}
    policy = {"podSelector": SELECTOR, "policyTypes": ["Ingress", "Egress"], "ingress": [{"ports": [{"port": 8080}]}]}
    return [
        kubernetes("core/v1:Service", spec={"type": "ClusterIP", "selector": APP, "ports": [port]}),
        kubernetes("networking.k8s.io/v1:NetworkPolicy", spec=policy),
        kubernetes("networking.k8s.io/v1:Ingress", spec={"rules": [rule], "tls": tls}),
    ]


def _others() -> list[Resource]:
    protected = Options(protect=True, dependencies=frozenset())
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    role = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}
    tested = image("api-test", "test", push=False)
    built = image("api", "runtime", push=True, tags=[f"{REGISTRY}/api:0123456789abcdef"])
    return [
        kubernetes(
            "core/v1:Namespace", "shop", protected, metadata={"name": "shop", "labels": {**LABELS, **restricted}}
        ),
        kubernetes("core/v1:ConfigMap", data={"LOG_LEVEL": "info"}),
        kubernetes("core/v1:PersistentVolumeClaim", options=protected, spec={"accessModes": ["ReadWriteOnce"]}),
        kubernetes(
            "core/v1:PersistentVolume",
            options=protected,
            spec={"persistentVolumeReclaimPolicy": "Retain", "csi": {"driver": "disks.example"}},
        ),
        kubernetes("rbac.authorization.k8s.io/v1:Role", rules=[role]),
        kubernetes(
            "rbac.authorization.k8s.io/v1:RoleBinding",
            roleRef={"kind": "Role", "name": "api"},
            subjects=[{"kind": "ServiceAccount", "name": "api", "namespace": "shop"}],
        ),
        Resource(
            "slipway:index:ServiceImage",
            "promoted",
            {"digest": DIGEST, "promotedFrom": {"environment": "dev", "update": 12, "commit": "0123456789"}},
            "urn:promoted",
        ),
        tested,
        replace(built, options=Options(dependencies=frozenset({tested.urn}))),
    ]


def good() -> dict[str, Resource]:
    """By what messages call them: `Deployment/api`."""
    return {each.ref: each for each in (*_workloads(), *_workers(), *_network(), *_others())}


@dataclass(frozen=True)
class Edit:
    """What to put where; `MISSING` takes it away."""

    resource: str
    path: Path
    value: Any

    def done(self, resources: Mapping[str, Resource]) -> dict[str, Resource]:
        # The unknown is known by its identity, which a copy has not.
        spoilt = deepcopy(dict(resources[self.resource].inputs), {id(UNKNOWN): UNKNOWN})
        put(spoilt, self.path, self.value)
        return {**resources, self.resource: replace(resources[self.resource], inputs=spoilt)}


def put(data: Any, path: Path, value: Any) -> None:
    *parents, last = path
    for key, following in zip(parents, path[1:], strict=True):
        if isinstance(data, dict):
            data.setdefault(key, [{}] if isinstance(following, int) else {})
        data = data[key]
    if value is not MISSING:
        data[last] = value
    elif isinstance(data, dict):
        data.pop(last, None)
    else:
        del data[last]


def judge(*waived: tuple[str, str], stack: str = "prod", rules: Iterable[str] = RULES) -> Judge:
    tier: Tier = "dev" if stack == "dev" else "prod"
    entries = [
        Waiver(rule, resource, "a good reason", date(2099, 1, 1), "policy/waivers.yaml:1") for rule, resource in waived
    ]
    return Judge(
        PolicySettings(stack, tier, (REGISTRY,)), Waivers(tuple(entries)), tuple(RULES[each] for each in rules)
    )


def judged(resources: Mapping[str, Resource], *waived: tuple[str, str], **how: Any) -> Report:
    return judge(*waived, **how).evaluate(resources.values())


def result(report: Report, rule: str, resource: str) -> Result:
    """The one result of that rule on that resource."""
    (found,) = [each for each in report.results if (each.rule.id, each.resource.ref) == (rule, resource)]
    return found


def state(report: Report, rule: str, resource: str) -> State | None:
    """What became of the rule on the resource; `None` where it does not apply."""
    found = [each.state for each in report.results if (each.rule.id, each.resource.ref) == (rule, resource)]
    return found[0] if found else None


def edited(*edits: Edit, **more: Resource) -> dict[str, Resource]:
    resources = good() | {each.ref: each for each in more.values()}
    for edit in edits:
        resources = edit.done(resources)
    return resources


def of(rule: str, resource: str, resources: dict[str, Resource], stack: str = "prod") -> State | None:
    return state(judged(resources, stack=stack, rules=[rule]), rule, resource)


# fmt: off
__all__ = [
    "MISSING", "UNKNOWN", "Edit", "edited", "good", "image", "judge", "judged", "kubernetes", "of", "pod", "result",
    "state",
]
