"""What an environment may use: declared where its settings say so, as Kubernetes spells it."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest

from components.environment import Environment, EnvironmentArgs
from components.release import build, deploy
from policy.rules.objects import OBJECT_LABELS

QUOTA, LIMITS = "kubernetes:core/v1:ResourceQuota", "kubernetes:core/v1:LimitRange"


def program() -> None:
    environment = Environment(pulumi.get_stack(), EnvironmentArgs.from_config())
    deploy(environment, build(environment))


def test_a_quota_and_limits_are_declared_in_the_namespace_before_its_pods(declare: Any) -> None:
    item = {
        "type": "Container",
        "default": {"cpu": 0.5},
        "defaultRequest": {"cpu": "50m"},
        "max": {"memory": "1Gi"},
        "min": {"memory": "4Mi"},
        "maxLimitRequestRatio": {"cpu": 10},
    }
    recorded = declare(
        program,
        config={
            "slipway:resourceQuota": json.dumps({"hard": {"pods": 8, "requests.memory": "2Gi"}}),
            "slipway:limitRange": json.dumps({"limits": [item, {"type": "PersistentVolumeClaim"}]}),
        },
    )
    quota, limits = recorded.inputs(QUOTA, "dev"), recorded.inputs(LIMITS, "dev")
    for each in (quota, limits):
        assert (each["metadata"]["name"], each["metadata"]["namespace"]) == ("environment", "slipway-dev")
        assert set(OBJECT_LABELS) == set(each["metadata"]["labels"])
    assert quota["spec"] == {"hard": {"pods": "8", "requests.memory": "2Gi"}}
    texts = {**item, "default": {"cpu": "0.5"}, "maxLimitRequestRatio": {"cpu": "10"}}
    assert limits["spec"] == {"limits": [texts, {"type": "PersistentVolumeClaim"}]}
    kinds = [each.typ for each in recorded.resources]
    assert max(kinds.index(QUOTA), kinds.index(LIMITS)) < kinds.index("kubernetes:apps/v1:Deployment")


def test_without_settings_there_are_none(declare: Any) -> None:
    recorded = declare(program)
    assert recorded.names(QUOTA) + recorded.names(LIMITS) == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("resourceQuota", {"hard": {"pods": "many"}}, "`slipway:resourceQuota.hard.pods` is 'many'; 'many' is not a"),
        ("resourceQuota", {"hard": {"pods": -1}}, "'-1' is less than zero"),
        ("resourceQuota", {"hard": {}}, "`slipway:resourceQuota.hard` is {}"),
        ("resourceQuota", {"pods": 8}, "`slipway:resourceQuota.hard` is"),
        ("limitRange", {"limits": [{"type": "container"}]}, "`slipway:limitRange.limits.0.type` is 'container'"),
        ("limitRange", {"limits": []}, "`slipway:limitRange.limits` is []"),
        ("limitRange", {"limits": [{"type": "Pod", "maximum": {}}]}, "`slipway:limitRange.limits.0.maximum` is {}"),
    ],
)
def test_what_is_wrong_with_them_is_said(declare: Any, key: str, value: object, message: str) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        declare(program, config={f"slipway:{key}": json.dumps(value)})
    assert message in str(caught.value)
