"""What changes for a service: the words of service.yaml, which pods restart, and what nobody can take back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from components.network import policy_spec
from services.spec import ServiceSpec
from slipway.cluster.checks import CHECKS_ANNOTATION
from slipway.deploy.summary import PreviewResult, PreviewSummary
from slipway.engine.events import Urn
from slipway.engine.stages import IMAGE_TYPE
from slipway.masking import UNKNOWN, masked
from slipway.render.json_summary import shape
from slipway.render.markdown import render
from slipway.render.service_changes import (
    Fate,
    ServiceChanges,
    counts,
    image_changes,
    pods_text,
    restarts_text,
    service_changes,
    verdict,
)
from slipway.state.difference import Operation, ResourceChange, StepDetails, field_changes
from tests.slipway.render.reading import plain

DEPLOYMENT, SERVICE = "kubernetes:apps/v1:Deployment", "kubernetes:core/v1:Service"
CONFIG_MAP, NETWORK_POLICY = "kubernetes:core/v1:ConfigMap", "kubernetes:networking.k8s.io/v1:NetworkPolicy"
CLAIM = "kubernetes:core/v1:PersistentVolumeClaim"


def change(
    type_: str,
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any] | None,
    *,
    name: str = "api",
    service: str = "api",
    **more: Any,
) -> ResourceChange:
    """What a preview makes of an object's inputs before and after."""
    operation = Operation.CREATE if old is None else Operation.DELETE if new is None else Operation.UPDATE
    before, after = old or {}, new or {}
    diff = {path: {"diffKind": "update", "inputDiff": True} for path in more.pop("secret_paths", ())}
    fields = field_changes(StepDetails(type_, before, after, {}, diff)) if operation is Operation.UPDATE else ()
    made = {"operation": operation, "service": service, "fields": fields} | more
    urn = Urn(f"urn:pulumi:dev::shop::{type_}::{name}")
    return ResourceChange(urn, before=masked(before, type_), after=masked(after, type_), **made)


def deployment(memory: str = "128Mi", replicas: int | None = 2, **container: Any) -> dict[str, Any]:
    limits = {"memory": memory, "ephemeral-storage": "256Mi"}
    main = {
        "name": "api",
        "image": "registry.example/api@sha256:1",
        "resources": {"limits": limits, "requests": {**limits, "cpu": "50m"}},
        "envFrom": [{"configMapRef": {"name": "api-0badf00d"}}],
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        **container,
    }
    spec = {"template": {"spec": {"terminationGracePeriodSeconds": 35, "containers": [main]}}}
    return {"metadata": {"name": "api", "annotations": {}}, "spec": spec | ({"replicas": replicas} if replicas else {})}


def summary_of(*changes: ResourceChange, **more: Any) -> PreviewSummary:
    return PreviewSummary("shop", "dev", PreviewResult.SUCCEEDED, changes=changes, rules=1, **more)


def only(*changes: ResourceChange) -> ServiceChanges:
    (found,) = service_changes(summary_of(*changes))
    return found


def settings_of(*changes: ResourceChange) -> dict[str, tuple[str | None, str | None]]:
    return {setting.name: (setting.old, setting.new) for setting in only(*changes).settings}


def test_memory_is_one_setting_and_restarts_the_pods() -> None:
    found = only(change(DEPLOYMENT, deployment(), deployment("192Mi")))
    assert [(each.name, each.old, each.new) for each in found.settings] == [("resources.memory", "128Mi", "192Mi")]
    assert (found.fate, found.restarts, pods_text(found)) == (Fate.CHANGED, True, "its 2 pods restart")


def test_a_value_is_shown_by_its_variable_and_hashed_names_are_not() -> None:
    old, new = (
        {"metadata": {"name": f"api-{digits}"}, "data": {"PORT": "8080", "LOG_LEVEL": level}, "immutable": True}
        for digits, level in (("0badf00d", "info"), ("c0ffee00", "debug"))
    )
    source = [{"configMapRef": {"name": "api-c0ffee00"}}]
    config_map = change(CONFIG_MAP, old, new, name="api-c0ffee00", operation=Operation.REPLACE)
    pods = change(DEPLOYMENT, deployment(), deployment(envFrom=source))
    assert settings_of(config_map, pods) == {"env.LOG_LEVEL": ("info", "debug")}
    assert only(config_map, pods).restarts
    for text in (render(summary_of(config_map, pods)), plain(summary_of(config_map, pods))):
        assert "c0ffee00" not in text
        assert "0badf00d" not in text
    assert counts(summary_of(config_map, pods)) == "1 service changes"


def test_a_build_of_which_only_modes_of_files_have_changed_says_so() -> None:
    """The content is the same, and so is the tag; the engine says no more than that a hash is another."""
    inputs = {"context": {"location": "services/api"}, "tags": ["registry.example/api:1"], "push": True}
    only_modes = StepDetails(IMAGE_TYPE, inputs, inputs, {"contextHash": "a"}, {"contextHash": {"diffKind": "update"}})
    anew = {**inputs, "tags": ["registry.example/api:2"]}
    more = StepDetails(IMAGE_TYPE, inputs, anew, {"contextHash": "a"}, {"contextHash": {"diffKind": "update"}})
    again = "built again from services/api: of its files only modes have changed, as another umask does"
    digest = f"sha256:{'ab' * 32}"
    for image, step, built in (
        (UNKNOWN, only_modes, again),
        (UNKNOWN, more, "built from services/api"),
        (f"registry.example/api@{digest}", only_modes, f"{digest[:19]}…, {again}"),  # it was built in the preview
    ):
        pods = change(DEPLOYMENT, deployment(), deployment(image=image))
        build = change(IMAGE_TYPE, inputs, step.new_inputs, fields=field_changes(step))
        summary = summary_of(build, pods, images=image_changes([build, pods]))
        (found,) = service_changes(summary)
        assert [(each.name, each.new) for each in found.settings] == [("image", built)]


@pytest.mark.parametrize("old_and_new", [("release-20261128", "release-20261129"), ("api-0badf00d", "api-c0ffee00")])
def test_a_value_that_looks_like_a_hashed_name_is_shown(old_and_new: tuple[str, str]) -> None:
    old, new = ({"metadata": {"name": "api-0badf00d"}, "data": {"VERSION": value}} for value in old_and_new)
    assert settings_of(change(CONFIG_MAP, old, new, name="api-c0ffee00")) == {"env.VERSION": old_and_new}


def test_a_secret_of_somebody_else_whose_name_ends_in_a_date_is_shown() -> None:
    sources = [{"configMapRef": {"name": "api-0badf00d"}}, {"secretRef": {"name": "database-20261128"}}]
    found = settings_of(change(DEPLOYMENT, deployment(), deployment(envFrom=sources)))
    assert {new for _, new in found.values()} >= {"database-20261128"}


def test_a_service_whose_name_ends_in_a_date_has_words_too() -> None:
    name = "shop-20261128"
    assert settings_of(change(DEPLOYMENT, deployment(), deployment("192Mi"), name=name, service=name)) == {
        "resources.memory": ("128Mi", "192Mi")
    }


def test_only_the_number_of_pods_restarts_none() -> None:
    found = only(change(DEPLOYMENT, deployment(), deployment(replicas=3)))
    assert [(each.name, each.old, each.new) for each in found.settings] == [("replicas", "2", "3")]
    assert pods_text(found) == "no pod restarts"
    assert restarts_text([found], ["api", "other"]) == "No pod restarts."


def test_checks_are_requests_and_no_json() -> None:
    old, new = deployment(), deployment()
    old["metadata"]["annotations"][CHECKS_ANNOTATION] = json.dumps([{"get": "/orders", "status": 200, "has": "orders"}])
    new["metadata"]["annotations"][CHECKS_ANNOTATION] = json.dumps(
        [{"get": "/orders", "status": 200, "has": "orders"}, {"head": "/", "status": 302}]
    )
    found = change(DEPLOYMENT, old, new)
    assert settings_of(found) == {"checks": ("GET /orders 200 has orders", "GET /orders 200 has orders, HEAD / 302")}
    assert not only(found).restarts


def test_what_stands_in_no_words_is_shown_beside_what_does() -> None:
    """Checks are told as requests; that is no reason to leave out what changes of a volume."""
    old, new = (deployment(volumeMounts=[{"name": "data", "mountPath": "/data", "readOnly": each}]) for each in (1, 0))
    new["metadata"]["annotations"][CHECKS_ANNOTATION] = json.dumps([{"get": "/orders", "status": 200}])
    found = settings_of(change(DEPLOYMENT, old, new))
    assert found["checks"] == (None, "GET /orders 200")
    assert [name for name in found if name.endswith("volumeMounts[0].readOnly")]


def test_a_changed_header_of_a_check_is_shown_without_json() -> None:
    """It has no words in `checks`; a token in it stays hidden."""
    old, new = deployment(), deployment()
    for inputs, token in ((old, "hunter2"), (new, "hunter3")):
        check = {"get": "/", "status": 200, "headers": {"Authorization": f"Bearer {token}", "X-Version": token[-1]}}
        inputs["metadata"]["annotations"][CHECKS_ANNOTATION] = json.dumps([check])
    summary = summary_of(change(DEPLOYMENT, old, new))
    assert settings_of(change(DEPLOYMENT, old, new))
    for text in (render(summary), plain(summary)):
        assert "hunter" not in text
        assert '{"' not in text


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {"calls": ["users"]}, {"calls": (None, "users")}),
        ({"egress": [{"port": 5432}]}, {}, {"egress": ("port 5432 of any address", None)}),
        (
            {"egress": [{"port": 5432}]},
            {"egress": [{"port": 5432, "cidr": "10.0.0.0/8"}]},
            {"egress": ("port 5432 of any address", "port 5432 of 10.0.0.0/8")},
        ),
        ({}, {"service": {"type": "NodePort"}}, {"called by": ("orders, namespace monitoring", "everybody")}),
    ],
)
def test_network_policies_are_calls_and_egress(
    old: dict[str, Any], new: dict[str, Any], expected: dict[str, tuple[str | None, str | None]]
) -> None:
    """Of the rules that the program itself writes."""
    before, after = (
        {"spec": _camel(policy_spec(ServiceSpec.model_validate({"name": "api", **each}), ["orders"], "monitoring"))}
        for each in (old, new)
    )
    assert (
        settings_of(change(NETWORK_POLICY, before, after, operation=Operation.REPLACE, name="api-0badf00d")) == expected
    )


def _camel(value: Any) -> Any:
    """As the engine has what the SDK's snake_case becomes."""
    if isinstance(value, Mapping):
        return {
            "".join(p.title() if n else p for n, p in enumerate(k.strip("_").split("_"))): _camel(v)
            for k, v in value.items()
        }
    return [_camel(each) for each in value] if isinstance(value, list | tuple) else value


def test_the_time_to_end_is_that_of_service_yaml() -> None:
    """The pod's has the seconds of its preStop hook in it."""
    new = deployment()
    new["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 65
    assert settings_of(change(DEPLOYMENT, deployment(), new)) == {"rollout.terminationGracePeriodSeconds": ("30", "60")}


def test_what_service_yaml_has_no_word_for_is_shown_in_words_of_kubernetes_leaf_by_leaf() -> None:
    new = deployment()
    new["spec"]["template"]["spec"]["resourceClaims"] = [{"name": "gpu", "resourceClaimName": "one"}]
    name = "Deployment …resourceClaims"
    assert settings_of(change(DEPLOYMENT, deployment(), new)) == {
        f"{name}[0].name": (None, "gpu"),
        f"{name}[0].resourceClaimName": (None, "one"),
    }


def test_where_pods_run_and_which_files_they_have_is_said_in_words_of_service_yaml() -> None:
    new = deployment(command=["python", "-m", "api"])
    new["spec"]["template"]["spec"] |= {"priorityClassName": "high", "nodeSelector": {"disk": "ssd"}}
    found = settings_of(change(DEPLOYMENT, deployment(), new))
    assert found["priorityClassName"] == (None, "high")
    assert [name for name in found if name.startswith("nodeSelector")]
    assert [name for name in found if name.startswith("command")]
    old = {"data": {"etc.motd": "one", "etc.old": "x"}}
    files = change(CONFIG_MAP, old, {"data": {"etc.motd": "two", "etc.old": "x"}}, name="api.files-0badf00d")
    assert settings_of(files) == {"files.etc.motd": ("one", "two")}


def test_a_new_and_a_removed_service() -> None:
    summary = summary_of(
        change(DEPLOYMENT, None, deployment()),
        change(SERVICE, None, {"spec": {"type": "ClusterIP"}}),
        change(DEPLOYMENT, deployment(), None, name="old", service="old"),
        change(SERVICE, {"spec": {"type": "ClusterIP"}}, None, name="old", service="old"),
    )
    removed, new = service_changes(summary)
    assert (removed.service, removed.fate, pods_text(removed)) == ("old", Fate.REMOVED, "removed, its 2 pods end")
    assert (new.service, new.fate, pods_text(new)) == ("api", Fate.NEW, "new, 2 pods")
    assert [setting.name for setting in new.settings] == ["image", "replicas", "resources.memory"]
    assert verdict(summary) == "1 service is removed, 1 service is new"


def test_a_lost_object_of_a_service_that_stays() -> None:
    """Not a service that is new: its Service is made again, after somebody has deleted it."""
    found = only(change(SERVICE, None, {"spec": {"type": "ClusterIP"}}))
    assert (found.fate, found.restarts) == (Fate.CHANGED, False)
    assert [(each.name, each.new) for each in found.settings][-1] == ("Service", "created")


def test_what_is_not_reversible_is_said() -> None:
    balancer = {"spec": {"type": "LoadBalancer"}}
    selector = {"spec": {"selector": {"a": "b"}}}, {"spec": {"selector": {"a": "c"}}}
    replaced = change(DEPLOYMENT, *selector, operation=Operation.REPLACE, deleted_first=True)
    fields = tuple(
        type(field)(field.path, field.kind, field.old, field.new, replaces=True) for field in replaced.fields
    )
    replaced = ResourceChange(replaced.resource, Operation.REPLACE, "api", fields, deleted_first=True)
    found = only(
        change(CLAIM, {"spec": {}}, None, name="orders"),
        change(SERVICE, balancer, {"spec": {"type": "ClusterIP"}}),
        replaced,
    )
    assert found.not_reversible == (
        "`Deployment api` is deleted before it is made anew, since `spec.selector.a` cannot be changed: "
        "it is gone in between.",
        "`PersistentVolumeClaim orders` is deleted, and what is stored in it goes with it.",
        "`Service api` gives up the address of its load balancer; a later one gets another.",
    )
    assert "### ⚠️ Not reversible" in render(summary_of(replaced))
    assert "Not reversible" in plain(summary_of(replaced))


def test_secrets_stay_hidden_wherever_they_stand() -> None:
    old, new = (
        deployment(env=[{"name": "API_TOKEN", "value": value}, {"name": "URL", "value": f"postgres://a:{value}@db"}])
        for value in ("hunter2", "hunter3")
    )
    config = [{"data": {"PASSWORD": value}} for value in ("hunter2", "hunter3")]
    summary = summary_of(
        change(DEPLOYMENT, old, new, secret_paths=["spec.template.spec.containers[0].env[0].value"]),
        change(CONFIG_MAP, *config, name="api-0badf00d", operation=Operation.REPLACE, secret_paths=["data.PASSWORD"]),
    )
    assert "env.PASSWORD" in render(summary)
    for text in (render(summary), plain(summary), json.dumps(shape(summary))):
        assert "hunter" not in text


def test_the_json_has_what_changes_by_service() -> None:
    made = shape(summary_of(change(DEPLOYMENT, deployment(), deployment("192Mi"))))
    assert made["services"] == [
        {
            "service": "api",
            "fate": "changed",
            "settings": [{"name": "resources.memory", "old": "128Mi", "new": "192Mi"}],
            "podsRestart": True,
            "pods": 2,
            "notReversible": [],
        }
    ]


def test_pods_of_an_autoscaler_are_not_counted() -> None:
    found = only(change(DEPLOYMENT, deployment(replicas=None), deployment("192Mi", replicas=None)))
    assert pods_text(found) == "its pods restart"
