"""Recorded inputs held against live objects as the API server gives them, and additions taken back."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.cli.diff import drift_shape
from slipway.cluster.client import NotFoundError
from slipway.cluster.deployed import ApiResource, Key, kind_of, recorded_name
from slipway.cluster.drift import Addition, Drift, additions, drift, found_inputs, managers, to_read
from slipway.deploy.summary import PreviewResult, PreviewSummary
from slipway.render.markdown import render
from slipway.render.terminal import drift_lines
from slipway.state.checkpoint import ResourceState
from slipway.values import SECRET_SIGNATURE, SIGNATURE

URN = "urn:pulumi:dev::slipway::slipway:index:Microservice$kubernetes:"
CONTAINER = {"name": "a", "image": "a@sha256:1", "resources": {"limits": {"memory": "128Mi", "cpu": "0.05"}}}
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "a", "namespace": "dev", "labels": {"app.kubernetes.io/name": "a"}},
    "spec": {"replicas": 1, "minReadySeconds": 0, "paused": False, "template": {"spec": {"containers": [CONTAINER]}}},
}


def live(entries: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The same, as the server gives it back: with defaults, other spellings and its own notes."""
    item = copy.deepcopy(DEPLOYMENT)
    item["metadata"] |= {"uid": "1", "annotations": {"deployment.kubernetes.io/revision": "1"}}
    item["metadata"]["managedFields"] = [entry("pulumi-kubernetes-1", {"f:spec": {}}), *(entries or [])]
    spec: dict[str, Any] = item["spec"]
    del spec["minReadySeconds"], spec["paused"]
    spec["progressDeadlineSeconds"] = 600
    spec["template"]["spec"]["restartPolicy"] = "Always"
    spec["template"]["spec"]["containers"][0] |= {"imagePullPolicy": "Always"}
    spec["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "50m"
    item["status"] = {"replicas": 1}
    return item


def entry(manager: str, fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": "Update", "fieldsV1": fields, "time": "2026-11-23T22:00:00Z", **more}


def containers(item: dict[str, Any]) -> list[Any]:
    return list(item["spec"]["template"]["spec"]["containers"])


def of_container(fields: dict[str, Any]) -> dict[str, Any]:
    return {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"a"}': fields}}}}}


def test_what_the_server_adds_and_respells_is_no_drift() -> None:
    assert found_inputs(DEPLOYMENT, live()) == DEPLOYMENT


def test_controllers_and_the_provider_do_not_drift() -> None:
    fields: dict[str, Any] = {"f:metadata": {"f:annotations": {"f:deployment.kubernetes.io/revision": {}}}}
    entries = [entry("kube-controller-manager", fields), entry("pulumi-kubernetes", fields)]
    entries.append(entry("anybody", {"f:status": {"f:replicas": {}}}, subresource="status"))
    assert found_inputs(DEPLOYMENT, live(entries)) == DEPLOYMENT
    assert managers(live(entries)) == ()


@pytest.mark.parametrize("name", ["k3s", "kubelite", "anything at all"])
def test_controllers_are_known_by_the_status_that_they_write(name: str) -> None:
    """Of this object or of another one; `kubectl edit --subresource=status` makes none of kubectl."""
    fields: dict[str, Any] = {"f:metadata": {"f:finalizers": {".": {}, 'v:"x"': {}}}, "f:spec": {"f:paused": {}}}
    item, other = live([entry(name, fields)]), live([entry(name, {"f:status": {}}, subresource="status")])
    item["metadata"]["finalizers"], other["metadata"]["name"] = ["x"], "other"
    assert len(found(item).changes) == 1
    assert lines(found(item, other)) == ["dev: no drift."]
    by_hand = live([entry("kubectl-edit", {"f:status": {}}, subresource="status"), entry("kubectl-edit", fields)])
    by_hand["metadata"]["finalizers"] = ["x"]
    assert len(found(by_hand).changes) == 1


def test_what_a_controller_changes_of_what_is_declared_is_drift() -> None:
    item = live(
        [entry("k3s", {"f:spec": {"f:replicas": {}}}, subresource="scale"), entry("k3s", {}, subresource="status")]
    )
    item["spec"]["replicas"] = 3
    assert lines(found(item))[2] == "      replicas: 1 → 3"


def test_what_cannot_be_taken_away_is_no_drift() -> None:
    """Whoever wrote it last: the cluster would write it again."""
    fields: dict[str, Any] = {"f:metadata": {"f:annotations": {"f:deployment.kubernetes.io/revision": {}}}}
    assert lines(found(live([entry("kubectl-rollout", fields)]))) == ["dev: no drift."]
    account: dict[str, Any] = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}}
    given: dict[str, Any] = {"secrets": [{"name": "a-token-x"}], "imagePullSecrets": [{"name": "a-dockercfg-x"}]}
    fields = {f"f:{key}": {f'k:{{"name":"{items[0]["name"]}"}}': {}} for key, items in given.items()}
    item = copy.deepcopy(account) | given
    item["metadata"]["managedFields"] = [entry("openshift-controller-manager", fields)]
    assert found_inputs(account, item) == account
    space: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "dev"}}
    fields = {"f:metadata": {"f:annotations": {".": {}, "f:openshift.io/sa.scc.mcs": {}}}}
    item = copy.deepcopy(space)
    item["metadata"] |= {"annotations": {"openshift.io/sa.scc.mcs": "s0:c1"}, "managedFields": [entry("x", fields)]}
    assert found_inputs(space, item) == space
    item["metadata"]["managedFields"] = [entry("kubectl-annotate", fields)]
    assert found_inputs(space, item) != space


def test_the_replicas_of_what_is_autoscaled_are_the_autoscalers() -> None:
    declared = copy.deepcopy(DEPLOYMENT)
    del declared["spec"]["replicas"]
    item = live([entry("kubectl", {"f:spec": {"f:replicas": {}}}, subresource="scale")])
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "a", "namespace": "dev"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}},
    }
    assert len(found(item, declared=declared).changes) == 1
    assert lines(found(item, scaler, declared=declared)) == ["dev: no drift."]


def test_a_declared_value_that_is_another() -> None:
    item = live()
    item["spec"]["replicas"] = 3
    containers(item)[0]["image"] = "other"
    found = found_inputs(DEPLOYMENT, item)
    assert found["spec"]["replicas"] == 3
    assert containers(found)[0]["image"] == "other"
    assert containers(found)[0]["resources"] == CONTAINER["resources"]


def test_a_declared_value_that_is_gone() -> None:
    item = live()
    del item["metadata"]["labels"]
    assert "labels" not in found_inputs(DEPLOYMENT, item)["metadata"]


def test_what_kubectl_set_env_adds() -> None:
    item = live([entry("kubectl-set", of_container({"f:env": {".": {}, 'k:{"name":"A"}': {".": {}, "f:value": {}}}}))])
    containers(item)[0]["env"] = [{"name": "A", "value": "b"}]
    assert containers(found_inputs(DEPLOYMENT, item))[0]["env"] == [{"name": "A", "value": "b"}]
    assert managers(item) == ("kubectl-set",)


def test_a_field_added_to_a_declared_object_and_one_to_a_set() -> None:
    fields: dict[str, Any] = {"f:metadata": {"f:annotations": {"f:a": {}}, "f:finalizers": {".": {}, 'v:"x"': {}}}}
    item = live([entry("kubectl-edit", fields)])
    item["metadata"] |= {"finalizers": ["x", "of-a-controller"]}
    item["metadata"]["annotations"]["a"] = "b"
    found = found_inputs(DEPLOYMENT, item)["metadata"]
    assert found["annotations"] == {"a": "b"}
    assert found["finalizers"] == ["x"]


def test_an_added_item_beside_declared_ones_whose_defaults_are_left_out() -> None:
    declared = {"spec": {"ports": [{"port": 80, "name": "http"}]}}
    ports = [{"port": 80, "name": "http", "protocol": "TCP"}, {"port": 81, "name": "more", "protocol": "TCP"}]
    keys = ['k:{"port":80,"protocol":"TCP"}', 'k:{"port":81,"protocol":"TCP"}']
    fields: dict[str, Any] = {"f:spec": {"f:ports": {key: {".": {}, "f:port": {}} for key in keys}}}
    item = {"metadata": {"managedFields": [entry("kubectl-edit", fields)]}, "spec": {"ports": ports}}
    assert found_inputs(declared, item)["spec"]["ports"] == [declared["spec"]["ports"][0], ports[1]]


def test_the_last_manager_is_named_first() -> None:
    late = entry("b", {}) | {"time": "2026-11-23T23:00:00Z"}
    assert managers(live([entry("a", {}), late, entry("a", {})])) == ("b", "a")


def secret(value: Any) -> dict[str, str]:
    return {SIGNATURE: SECRET_SIGNATURE, "plaintext": json.dumps(value)}


@pytest.mark.parametrize("field", ["stringData", "data"])
def test_secrets(field: str) -> None:
    def stored(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    value = {"KEY": "one" if field == "stringData" else stored("one")}
    declared = {"metadata": {"name": "s"}, field: secret(value)}
    item = {"metadata": {"name": "s"}, "data": {"KEY": stored("one")}}
    assert found_inputs(declared, item) == declared
    item["data"] = {"KEY": stored("two")}
    assert found_inputs(declared, item) != declared
    assert found_inputs(declared, item)[field][SIGNATURE] == SECRET_SIGNATURE
    closed = {**declared, field: {SIGNATURE: SECRET_SIGNATURE, "ciphertext": "v1:x"}}
    assert found_inputs(closed, item) == closed


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=4), json_values, max_size=4))
def test_an_object_that_is_as_declared_has_not_drifted(declared: dict[str, Any]) -> None:
    assert found_inputs(declared, {**copy.deepcopy(declared), "status": {}}) == declared


@given(st.dictionaries(st.text(max_size=4), json_values, max_size=4), json_values)
def test_whatever_is_found_is_told_without_a_crash(declared: dict[str, Any], fields: Any) -> None:
    found_inputs(declared, {"metadata": {"managedFields": [{"manager": "x", "fieldsV1": fields}]}})


class Live:
    """Objects by key, all of kinds with a namespace."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.objects = {
            Key(
                ApiResource(each["apiVersion"], each["kind"]), each["metadata"]["namespace"], each["metadata"]["name"]
            ): each
            for each in items
        }

    def is_namespaced(self, _kind: ApiResource) -> bool:
        return True


def recorded(inputs: dict[str, Any], type_: str = "apps/v1:Deployment") -> ResourceState:
    name = inputs["metadata"]["name"]
    raw = {"urn": f"{URN}{type_}::{name}", "type": f"kubernetes:{type_}", "custom": True, "id": f"dev/{name}"}
    return ResourceState({**raw, "inputs": inputs})


def found(*items: dict[str, Any], declared: dict[str, Any] = DEPLOYMENT) -> Drift:
    return drift([recorded(declared)], Live(*items), "dev", "slipway")  # type: ignore[arg-type]


def lines(found: Drift) -> list[str]:
    return drift_lines("dev", found.changes, found.changed_by)


def test_nothing_drifted() -> None:
    assert lines(found(live())) == ["dev: no drift."]


def test_an_object_that_is_gone_and_one_that_nobody_knows() -> None:
    labels = {"app.kubernetes.io/managed-by": "pulumi", "app.kubernetes.io/part-of": "slipway"}
    about = {"name": "left", "namespace": "dev", "labels": {**labels, "app.kubernetes.io/name": "a"}}
    others = [
        {**about, "name": "not-ours", "labels": {}},
        {**about, "name": "x", "labels": {**labels, "app.kubernetes.io/part-of": "y"}},
        {**about, "name": "made-again", "ownerReferences": [{"kind": "CronJob", "name": "a", "controller": True}]},
    ]
    maps = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": each} for each in (about, *others)]
    told = lines(found(*maps))
    assert told[:4] == [
        "a",
        "  + ConfigMap left, in the cluster, not in the state",
        "  - Deployment a, gone from the cluster",
        "dev: 2 objects drifted from the state: 1 not in the state, 1 gone.",
    ]
    assert [each["operation"] for each in drift_shape("dev", found(*maps))["drift"]] == ["not in the state", "gone"]


def test_who_changed_it_is_told() -> None:
    item = live([entry("kubectl", {"f:spec": {"f:replicas": {}}}, subresource="scale")])
    item["spec"]["replicas"] = 4
    told = lines(found(item))
    assert told[1:3] == ["  ~ Deployment a, changed by kubectl", "      replicas: 1 → 4"]


def test_what_kubectl_set_env_adds_is_told_in_the_words_of_service_yaml() -> None:
    item = live(
        [entry("kubectl-set", of_container({"f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}}}))]
    )
    containers(item)[0]["env"] = [{"name": "A", "value": "b"}]
    assert lines(found(item))[1:3] == ["  ~ Deployment a, changed by kubectl-set", "      env.A: - → b"]


def test_the_config_map_that_a_rollout_undo_went_back_to_is_named() -> None:
    """Though a preview leaves out names that only say that a content is another."""
    declared, item = copy.deepcopy(DEPLOYMENT), live()
    for digits, pods in (("c0ffee00", declared), ("0badf00d", item)):
        containers(pods)[0] |= {"envFrom": [{"configMapRef": {"name": f"a-{digits}"}}]}
    differs = found(item, declared=declared)
    path = "…containers[0].envFrom[0].configMapRef.name"
    assert f"      {path}: a-c0ffee00 → a-0badf00d" in lines(differs)
    summary = PreviewSummary("slipway", "dev", PreviewResult.SUCCEEDED, drift=differs.changes, rules=1)
    assert f"{path}` | `a-c0ffee00` | `a-0badf00d`" in render(summary)


def test_kinds_and_names_of_recorded_resources() -> None:
    bare = ResourceState({"urn": f"{URN}core/v1:Secret::x", "type": "kubernetes:core/v1:Secret", "id": "dev/s-1"})
    assert (kind_of(bare), recorded_name(bare)) == (ApiResource("v1", "Secret"), "s-1")
    assert kind_of(recorded(DEPLOYMENT)) == ApiResource("apps/v1", "Deployment")


class Server:
    """Answers from a table; what is not in it does not exist."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.asked = answers, []  # type: ignore[var-annotated]

    def read(self, path: str) -> Any:
        self.asked.append(path)
        if path not in self.answers:
            raise NotFoundError(path)
        return self.answers[path]


def test_what_is_read_of_a_cluster() -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "dev"}}
    resources = [
        {"name": "deployments", "kind": "Deployment", "namespaced": True},
        {"name": "deployments/scale", "kind": "Scale", "namespaced": True},
    ]
    core = [{"name": "namespaces", "kind": "Namespace", "namespaced": False}]
    server = Server(
        **{
            "/apis/apps/v1": {"resources": resources},
            "/api/v1": {"resources": core},
            "/apis/apps/v1/namespaces/dev/deployments": {"items": [{"metadata": {"name": "a", "namespace": "dev"}}]},
            "/api/v1/namespaces/dev": namespace,
        }
    )
    of_cluster = {"urn": "urn:pulumi:dev::slipway::kubernetes:core/v1:Namespace::dev", "id": "dev", "inputs": namespace}
    everything = [recorded(DEPLOYMENT), ResourceState({**of_cluster, "type": "kubernetes:core/v1:Namespace"})]
    read = to_read(everything, server)  # type: ignore[arg-type]
    assert {(key.kind.name, key.namespace, key.name) for key in read.objects} == {
        ("Deployment", "dev", "a"),
        ("Namespace", "", "dev"),
    }
    assert read.objects[Key(ApiResource("apps/v1", "Deployment"), "dev", "a")]["kind"] == "Deployment"
    assert "/api/v1/namespaces" not in server.asked, "nobody need be allowed to list what is not theirs"


def patched(item: dict[str, Any], added: list[Addition]) -> dict[str, Any]:
    """As the API server does it: each operation after the one before, each test first."""
    for each in added:
        test, remove = each.operations()
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in remove["path"].split("/")[1:]]
        parent: Any = item
        for part in parents:
            parent = parent[int(part)] if isinstance(parent, list) else parent[part]
        key: Any = int(last) if isinstance(parent, list) else last
        assert parent[key] == test["value"]
        del parent[key]
    return item


def removed(item: dict[str, Any], declared: dict[str, Any] = DEPLOYMENT) -> dict[str, Any]:
    before = copy.deepcopy(item)
    done = patched(item, list(additions(declared, found_inputs(declared, item), item)))
    assert found_inputs(declared, done) == declared
    assert before["spec"]["progressDeadlineSeconds"] == done["spec"]["progressDeadlineSeconds"]
    return done


def test_nothing_was_added() -> None:
    assert list(additions(DEPLOYMENT, found_inputs(DEPLOYMENT, live()), live())) == []


def test_a_restart_by_hand() -> None:
    restarted: dict[str, Any] = {"f:kubectl.kubernetes.io/restartedAt": {}}
    fields = {"f:spec": {"f:template": {"f:metadata": {"f:annotations": {".": {}, **restarted}}}}}
    item = live([entry("kubectl-rollout", fields)])
    item["spec"]["template"]["metadata"] = {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}
    assert "annotations" not in removed(item)["spec"]["template"].get("metadata", {})


def test_some_of_many_annotations() -> None:
    """Those of the cluster stay, and those of others with a slash or a tilde are found."""
    item = live([entry("kubectl-annotate", {"f:metadata": {"f:annotations": {"f:a/b~c": {}, "f:d": {}}}})])
    item["metadata"]["annotations"] |= {"a/b~c": "1", "d": "2"}
    assert removed(item)["metadata"]["annotations"] == {"deployment.kubernetes.io/revision": "1"}


def test_variables_and_containers() -> None:
    fields = of_container({"f:env": {".": {}, 'k:{"name":"A"}': {".": {}, "f:value": {}}}})
    fields["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"b"}'] = {".": {}, "f:image": {}}
    item = live([entry("kubectl-edit", fields)])
    containers(item)[0]["env"] = [{"name": "A", "value": "b"}]
    containers(item).append({"name": "b", "image": "b"})
    done = containers(removed(item))
    assert [each["name"] for each in done] == ["a"]
    assert "env" not in done[0]


def test_finalizers_are_left_to_whoever_set_them() -> None:
    item = live([entry("x", {"f:metadata": {"f:finalizers": {".": {}, 'v:"x"': {}, 'v:"z"': {}}}})])
    item["metadata"]["finalizers"] = ["x", "of-a-controller", "z"]
    assert found_inputs(DEPLOYMENT, item) != DEPLOYMENT, "it is shown"
    assert list(additions(DEPLOYMENT, found_inputs(DEPLOYMENT, item), item)) == []


def test_a_declared_value_is_left_to_the_engine() -> None:
    item = live()
    item["spec"]["replicas"] = 5
    assert list(additions(DEPLOYMENT, found_inputs(DEPLOYMENT, item), item)) == []
