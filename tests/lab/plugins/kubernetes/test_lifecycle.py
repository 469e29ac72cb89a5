"""Objects created, changed, replaced, read and deleted through the provider, as an update of the engine would."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from lab.plugins.kubernetes.client import ApiError, Client
from lab.plugins.kubernetes.values import UNKNOWN, Secret, plain

pytestmark = pytest.mark.lab

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
SECRET = "kubernetes:core/v1:Secret"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
SERVICE = "kubernetes:core/v1:Service"
PropertyDiff = provider_pb2.PropertyDiff


def config_map(namespace: str, name: str = "", **data: str) -> dict[str, Any]:
    metadata = {"namespace": namespace, **({"name": name} if name else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def deployment(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    pod = {"containers": [{"name": "app", "image": "127.0.0.1:5000/nothing:1"}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


def kinds(diff: provider_pb2.DiffResponse) -> dict[str, str]:
    return {path: PropertyDiff.Kind.Name(change.kind) for path, change in diff.detailedDiff.items()}


def live(cluster: Client, namespace: str, plural: str, name: str) -> dict[str, Any]:
    group = {"deployments": "apis/apps/v1"}.get(plural, "api/v1")
    return cluster.get(f"/{group}/namespaces/{namespace}/{plural}/{name}")


def test_a_new_object_is_recorded_as_the_official_plugin_records_it(provider: Any, namespace: str) -> None:
    made = provider.create(CONFIG_MAP, "settings", config_map(namespace, "settings", tag="1"))

    assert made.id == f"{namespace}/settings"
    assert made.outputs["__inputs"] == config_map(namespace, "settings", tag="1")
    assert made.outputs["__initialApiVersion"] == "v1"
    assert made.outputs["__fieldManager"].startswith("pulumi-kubernetes-")
    assert made.outputs["data"] == {"tag": "1"}
    assert made.outputs["metadata"]["uid"]
    assert made.outputs["metadata"]["managedFields"][0]["manager"] == "pulumi-kubernetes"


def test_an_unnamed_object_gets_a_name_it_keeps(provider: Any, namespace: str) -> None:
    made = provider.create(CONFIG_MAP, "auto", config_map(namespace, tag="1"))
    name = made.inputs["metadata"]["name"]

    assert name.startswith("auto-")
    assert len(name) == len("auto-") + 8
    assert made.inputs["metadata"]["annotations"] == {"pulumi.com/autonamed": "true"}
    assert provider.check(CONFIG_MAP, "auto", config_map(namespace, tag="2"))["metadata"]["name"] == name


def test_the_same_seed_gives_the_same_name(provider: Any, namespace: str) -> None:
    names = {
        provider.check(CONFIG_MAP, "seeded", config_map(namespace), randomSeed=seed)["metadata"]["name"]
        for seed in (b"one", b"one", b"two")
    }
    assert len(names) == 2


def test_the_engines_autonaming_is_followed(provider: Any, namespace: str) -> None:
    options = provider_pb2.CheckRequest.AutonamingOptions
    proposed = provider.check(CONFIG_MAP, "n", config_map(namespace), autonaming=options(proposed_name="chosen"))
    assert proposed["metadata"]["name"] == "chosen"
    with pytest.raises(provider.Failed, match="autonaming is disabled, resource requires"):
        provider.check(CONFIG_MAP, "n", config_map(namespace), autonaming=options(mode=options.DISABLE))


def test_nothing_changed_is_no_change(provider: Any, namespace: str) -> None:
    inputs = config_map(namespace, "same", tag="1")
    assert [provider.up(CONFIG_MAP, "same", inputs) for _ in range(2)] == ["create", "same"]


def test_a_changed_config_map_is_replaced_first_deleted_when_its_name_is_fixed(provider: Any, namespace: str) -> None:
    provider.create(CONFIG_MAP, "fixed", config_map(namespace, "fixed", tag="1"))
    found = provider.diff(CONFIG_MAP, "fixed", config_map(namespace, "fixed", tag="2"))

    assert kinds(found) == {"data.tag": "UPDATE_REPLACE"}
    assert list(found.replaces) == ["data.tag"]
    assert found.deleteBeforeReplace
    assert provider.up(CONFIG_MAP, "fixed", config_map(namespace, "fixed", tag="2")) == "replace"


def test_an_autonamed_config_map_is_replaced_beside_the_old_one(provider: Any, namespace: str) -> None:
    provider.create(CONFIG_MAP, "moving", config_map(namespace, tag="1"))
    found = provider.diff(CONFIG_MAP, "moving", config_map(namespace, tag="2"))

    assert list(found.replaces) == ["data.tag"]
    assert not found.deleteBeforeReplace


def test_a_mutable_config_map_is_updated_in_place(
    start_provider: Any, kubeconfig: str, cluster: Client, namespace: str
) -> None:
    provider = start_provider(kubeconfig=kubeconfig, enableConfigMapMutable="true")
    provider.create(CONFIG_MAP, "mutable", config_map(namespace, "mutable", a="1", b="1"))

    assert provider.up(CONFIG_MAP, "mutable", config_map(namespace, "mutable", a="2")) == "update"
    assert live(cluster, namespace, "configmaps", "mutable")["data"] == {"a": "2"}
    assert provider.up(CONFIG_MAP, "mutable", config_map(namespace, "mutable", c="3")) == "update"
    assert live(cluster, namespace, "configmaps", "mutable")["data"] == {"c": "3"}


def test_an_immutable_config_map_is_replaced_even_if_config_maps_are_mutable(
    start_provider: Any, kubeconfig: str, namespace: str
) -> None:
    provider = start_provider(kubeconfig=kubeconfig, enableConfigMapMutable="true")
    provider.create(CONFIG_MAP, "frozen", {**config_map(namespace, "frozen", a="1"), "immutable": True})
    assert provider.up(CONFIG_MAP, "frozen", {**config_map(namespace, "frozen", a="2"), "immutable": True}) == "replace"


def test_labels_change_in_place_and_no_other_managers_labels_are_touched(
    provider: Any, cluster: Client, namespace: str
) -> None:
    inputs = config_map(namespace, "labels", tag="1")
    inputs["metadata"]["labels"] = {"mine": "1"}
    provider.create(CONFIG_MAP, "labels", inputs)
    cluster.send(
        "PATCH",
        f"/api/v1/namespaces/{namespace}/configmaps/labels",
        body={"metadata": {"labels": {"theirs": "1"}}},
        content_type="application/merge-patch+json",
    )
    inputs["metadata"]["labels"] = {"other": "1"}
    found = provider.diff(CONFIG_MAP, "labels", inputs)

    assert kinds(found) == {"metadata.labels.mine": "DELETE", "metadata.labels.other": "ADD"}
    assert provider.up(CONFIG_MAP, "labels", inputs) == "update"
    assert live(cluster, namespace, "configmaps", "labels")["metadata"]["labels"] == {"other": "1", "theirs": "1"}


def test_the_first_update_takes_the_creators_fields_and_later_ones_need_no_more(provider: Any, namespace: str) -> None:
    inputs = config_map(namespace, "owned", tag="1")
    for label in ("1", "2", "3"):
        inputs["metadata"]["labels"] = {"step": label}
        provider.up(CONFIG_MAP, "owned", inputs)
    state = provider.state[provider.urn(CONFIG_MAP, "owned")].outputs
    managers = {(entry["manager"], entry["operation"]) for entry in state["metadata"]["managedFields"]}

    assert managers == {(state["__fieldManager"], "Apply")}


def test_a_secrets_data_is_secret_everywhere(provider: Any, namespace: str) -> None:
    inputs = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "credentials", "namespace": namespace, "annotations": {"note": Secret("quiet")}},
        "stringData": {"password": Secret("hunter2")},
    }
    made = provider.create(SECRET, "credentials", inputs)
    encoded = {"password": "aHVudGVyMg=="}

    assert made.inputs["data"] == Secret(encoded)
    assert "stringData" not in made.inputs
    assert made.outputs["data"] == Secret(encoded)
    assert made.outputs["__inputs"]["data"] == Secret(encoded)
    assert made.outputs["metadata"]["annotations"]["note"] == Secret("quiet")
    assert provider.up(SECRET, "credentials", inputs) == "same"
    inputs["stringData"] = {"password": Secret("other")}
    assert provider.up(SECRET, "credentials", inputs) == "replace"


def test_secret_inputs_stay_secret_in_the_outputs(provider: Any, namespace: str) -> None:
    inputs = deployment(namespace, "with-secret")
    inputs["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "TOKEN", "value": Secret("hunter2")}]
    made = provider.create(DEPLOYMENT, "with-secret", inputs)

    for kept in (made.inputs, made.outputs, made.outputs["__inputs"]):
        containers = kept["spec"]["template"]["spec"]["containers"]
        assert isinstance(containers, Secret)
        assert plain(containers)[0]["env"] == [{"name": "TOKEN", "value": "hunter2"}]
    assert provider.up(DEPLOYMENT, "with-secret", inputs) == "same"


def test_the_same_quantity_in_other_words_is_no_change(provider: Any, namespace: str) -> None:
    inputs = deployment(namespace, "quantities")
    container = inputs["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"requests": {"cpu": 0.5, "memory": "1024Mi"}, "limits": {"memory": "1.5Gi"}}
    provider.create(DEPLOYMENT, "quantities", inputs)
    container["resources"] = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "1536Mi"}}

    assert provider.up(DEPLOYMENT, "quantities", inputs) == "same"
    assert provider.read(DEPLOYMENT, "quantities") is not None
    assert provider.up(DEPLOYMENT, "quantities", inputs) == "same"


def test_what_the_server_fills_in_is_no_change_after_a_refresh(provider: Any, namespace: str) -> None:
    inputs = deployment(namespace, "defaults")
    inputs["metadata"]["labels"] = {}
    inputs["spec"] |= {"minReadySeconds": 0, "paused": False}
    pod = inputs["spec"]["template"]["spec"]
    pod |= {"automountServiceAccountToken": False, "hostNetwork": False, "nodeName": "", "securityContext": {}}
    pod["containers"][0] |= {"command": [], "env": [{"name": "EMPTY", "value": ""}], "tty": False, "resources": {}}
    pod["volumes"] = [{"name": "tmp", "emptyDir": {}}]
    provider.create(DEPLOYMENT, "defaults", inputs)
    provider.read(DEPLOYMENT, "defaults")

    assert provider.up(DEPLOYMENT, "defaults", inputs) == "same"


def test_drift_shows_after_a_refresh_and_is_put_right(provider: Any, cluster: Client, namespace: str) -> None:
    inputs = deployment(namespace, "drifting", revisionHistoryLimit=5)
    provider.create(DEPLOYMENT, "drifting", inputs)
    inputs["metadata"]["labels"] = {"step": "2"}
    provider.up(DEPLOYMENT, "drifting", inputs)
    cluster.send(
        "PATCH",
        f"/apis/apps/v1/namespaces/{namespace}/deployments/drifting",
        query={"fieldManager": provider.state[provider.urn(DEPLOYMENT, "drifting")].outputs["__fieldManager"]},
        body={"spec": {"revisionHistoryLimit": 9}},
        content_type="application/merge-patch+json",
    )
    found = provider.read(DEPLOYMENT, "drifting")

    assert found.inputs["spec"]["revisionHistoryLimit"] == 9
    assert kinds(provider.diff(DEPLOYMENT, "drifting", inputs)) == {"spec.revisionHistoryLimit": "UPDATE"}


@pytest.mark.parametrize(
    ("change", "path", "kind"),
    [
        ({"selector": {"matchLabels": {"app": "x", "more": "1"}}}, "spec.selector.matchLabels.more", "ADD_REPLACE"),
        ({"replicas": 1}, "spec.replicas", "UPDATE"),
        ({"paused": True}, "spec.paused", "ADD"),
    ],
)
def test_only_immutable_fields_replace_a_deployment(
    provider: Any, namespace: str, change: dict[str, Any], path: str, kind: str
) -> None:
    provider.create(DEPLOYMENT, "x", deployment(namespace, "x"))
    assert kinds(provider.diff(DEPLOYMENT, "x", deployment(namespace, "x", **change))) == {path: kind}
    provider.delete(DEPLOYMENT, "x")


def test_a_new_name_or_namespace_replaces_without_deleting_first(provider: Any, namespace: str) -> None:
    provider.create(CONFIG_MAP, "named", config_map(namespace, "named"))
    found = provider.diff(CONFIG_MAP, "named", config_map(namespace, "renamed"))
    assert (list(found.replaces), found.deleteBeforeReplace) == (["metadata.name"], False)
    found = provider.diff(CONFIG_MAP, "named", config_map("elsewhere", "named"))
    assert (list(found.replaces), found.deleteBeforeReplace) == (["metadata.namespace"], False)


def test_fields_only_the_server_knows_to_be_immutable_replace_too(provider: Any, cluster: Client) -> None:
    token = "kubernetes:scheduling.k8s.io/v1:PriorityClass"
    inputs = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "provider-test"},
        "value": 5,
    }
    provider.create(token, "pc", inputs)
    try:
        assert kinds(provider.diff(token, "pc", {**inputs, "value": 6})) == {"value": "UPDATE_REPLACE"}
        assert kinds(provider.diff(token, "pc", {**inputs, "description": "x"})) == {"description": "ADD"}
    finally:
        provider.delete(token, "pc")


def test_ignored_changes_are_none(provider: Any, namespace: str) -> None:
    provider.create(DEPLOYMENT, "ignoring", deployment(namespace, "ignoring"))
    found = provider.diff(
        DEPLOYMENT, "ignoring", deployment(namespace, "ignoring", replicas=3), ignore=("spec.replicas",)
    )
    assert found.changes == provider_pb2.DiffResponse.DIFF_NONE


def test_an_ignored_field_stays_with_the_manager_who_has_it(provider: Any, cluster: Client, namespace: str) -> None:
    inputs = deployment(namespace, "autoscaled")
    provider.create(DEPLOYMENT, "autoscaled", inputs)
    cluster.send(
        "PATCH",
        f"/apis/apps/v1/namespaces/{namespace}/deployments/autoscaled",
        query={"fieldManager": "autoscaler", "force": "true"},
        body={"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 0, "minReadySeconds": 3}},
        content_type="application/apply-patch+yaml",
    )
    inputs["spec"]["minReadySeconds"] = 7
    inputs["metadata"]["labels"] = {"step": "2"}
    provider.update(DEPLOYMENT, "autoscaled", inputs, ignore=("spec.minReadySeconds",))

    found = live(cluster, namespace, "deployments", "autoscaled")
    assert found["metadata"]["labels"] == {"step": "2"}
    assert found["spec"]["minReadySeconds"] == 3


def test_fields_of_another_manager_are_a_conflict_that_says_what_to_do(
    provider: Any, cluster: Client, namespace: str
) -> None:
    inputs = deployment(namespace, "contested", minReadySeconds=1)
    provider.create(DEPLOYMENT, "contested", inputs)
    cluster.send(
        "PATCH",
        f"/apis/apps/v1/namespaces/{namespace}/deployments/contested",
        query={"fieldManager": "somebody", "force": "true"},
        body={"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"minReadySeconds": 3}},
        content_type="application/apply-patch+yaml",
    )
    inputs["spec"]["minReadySeconds"] = 2
    with pytest.raises(provider.Failed) as failure:
        provider.update(DEPLOYMENT, "contested", inputs)
    told = str(failure.value)
    assert "server-side apply field conflict detected" in told
    assert '- "somebody" owns .spec.minReadySeconds' in told
    assert "pulumi.com/patchForce" in told
    assert failure.value.detail is None, "nothing was changed, so nothing is to be recorded"

    inputs["metadata"]["annotations"] = {"pulumi.com/patchForce": "true"}
    provider.update(DEPLOYMENT, "contested", inputs)
    assert live(cluster, namespace, "deployments", "contested")["spec"]["minReadySeconds"] == 2


def test_a_hand_made_change_is_a_conflict_too(provider: Any, cluster: Client, namespace: str) -> None:
    inputs = deployment(namespace, "edited", minReadySeconds=1)
    provider.create(DEPLOYMENT, "edited", inputs)
    cluster.send(
        "PATCH",
        f"/apis/apps/v1/namespaces/{namespace}/deployments/edited",
        query={"fieldManager": "kubectl-edit"},
        body={"spec": {"minReadySeconds": 5}},
        content_type="application/merge-patch+json",
    )
    inputs["spec"]["minReadySeconds"] = 2
    with pytest.raises(provider.Failed, match=r'"kubectl-edit" using apps/v1.* owns \.spec\.minReadySeconds'):
        provider.update(DEPLOYMENT, "edited", inputs)


def test_an_object_that_exists_is_not_taken_by_accident(provider: Any, cluster: Client, namespace: str) -> None:
    cluster.send("POST", f"/api/v1/namespaces/{namespace}/configmaps", body=config_map(namespace, "theirs", a="1"))
    with pytest.raises(provider.Failed) as failure:
        provider.create(CONFIG_MAP, "theirs", config_map(namespace, "theirs", a="2"))

    assert 'configmaps "theirs" already exists' in str(failure.value)
    assert "pulumi import" in str(failure.value)
    assert live(cluster, namespace, "configmaps", "theirs")["data"] == {"a": "1"}


def test_an_existing_object_is_adopted_when_told_so(
    start_provider: Any, kubeconfig: str, cluster: Client, namespace: str
) -> None:
    provider = start_provider(kubeconfig=kubeconfig, upsertExistingObjects="true")
    cluster.send("POST", f"/api/v1/namespaces/{namespace}/configmaps", body=config_map(namespace, "adopted", a="1"))
    provider.create(CONFIG_MAP, "adopted", config_map(namespace, "adopted", b="2"))
    assert live(cluster, namespace, "configmaps", "adopted")["data"] == {"a": "1", "b": "2"}


def test_import_finds_the_inputs_a_program_would_have(provider: Any, cluster: Client, namespace: str) -> None:
    body = config_map(namespace, "imported", tag="1")
    cluster.send(
        "POST", f"/api/v1/namespaces/{namespace}/configmaps", query={"fieldManager": "kubectl-create"}, body=body
    )
    found = provider.read(CONFIG_MAP, "imported", f"{namespace}/imported")

    assert found.inputs == body
    assert provider.up(CONFIG_MAP, "imported", body) == "same"
    body["metadata"]["labels"] = {"now": "ours"}
    assert provider.up(CONFIG_MAP, "imported", body) == "update"


def test_an_object_deleted_by_somebody_else_is_gone(provider: Any, cluster: Client, namespace: str) -> None:
    inputs = config_map(namespace, "vanished")
    provider.create(CONFIG_MAP, "vanished", inputs)
    cluster.send("DELETE", f"/api/v1/namespaces/{namespace}/configmaps/vanished")

    with pytest.raises(provider.Failed, match="It was deleted outside of Pulumi: run `pulumi refresh`"):
        provider.update(CONFIG_MAP, "vanished", {**inputs, "data": {"a": "1"}})
    provider.delete(CONFIG_MAP, "vanished")
    provider.create(CONFIG_MAP, "vanished", inputs)
    cluster.send("DELETE", f"/api/v1/namespaces/{namespace}/configmaps/vanished")
    assert provider.read(CONFIG_MAP, "vanished") is None


def test_delete_returns_when_the_object_is_gone(provider: Any, cluster: Client, namespace: str) -> None:
    provider.create(DEPLOYMENT, "deleted", deployment(namespace, "deleted"))
    provider.delete(DEPLOYMENT, "deleted")
    with pytest.raises(ApiError) as answer:
        live(cluster, namespace, "deployments", "deleted")
    assert answer.value.status == 404


def test_a_deletion_that_is_held_up_says_by_what(provider: Any, cluster: Client, namespace: str) -> None:
    inputs = config_map(namespace, "held")
    inputs["metadata"]["finalizers"] = ["example.com/keep"]
    provider.create(CONFIG_MAP, "held", inputs)
    with pytest.raises(provider.Failed, match=r"finalizers might be preventing deletion \(example.com/keep\)"):
        provider.delete(CONFIG_MAP, "held", timeout=0.5)
    cluster.send(
        "PATCH",
        f"/api/v1/namespaces/{namespace}/configmaps/held",
        body={"metadata": {"finalizers": None}},
        content_type="application/merge-patch+json",
    )
    provider.delete(CONFIG_MAP, "held")


def test_a_preview_of_a_new_object_asks_the_server_and_makes_nothing(
    provider: Any, cluster: Client, namespace: str
) -> None:
    previewed = provider.create(DEPLOYMENT, "previewed", deployment(namespace, "previewed"), preview=True)

    assert previewed.id == ""
    assert previewed.outputs["spec"]["strategy"]["type"] == "RollingUpdate"
    assert "status" not in previewed.outputs
    with pytest.raises(ApiError):
        live(cluster, namespace, "deployments", "previewed")


def test_a_preview_refuses_what_the_server_would_refuse(provider: Any, namespace: str) -> None:
    with pytest.raises(provider.Failed, match=r"spec\.replicas: Invalid value: -1"):
        provider.create(DEPLOYMENT, "refused", deployment(namespace, "refused", replicas=-1), preview=True)


def test_a_preview_with_unknowns_gives_back_what_is_known(provider: Any, namespace: str) -> None:
    inputs = config_map(namespace, "unknown", known="1")
    inputs["data"]["later"] = UNKNOWN
    assert provider.create(CONFIG_MAP, "unknown", inputs, preview=True).outputs["data"] == {
        "known": "1",
        "later": UNKNOWN,
    }
    provider.create(CONFIG_MAP, "unknown", config_map(namespace, "unknown", known="1"))
    assert kinds(provider.diff(CONFIG_MAP, "unknown", inputs)) == {"data.later": "ADD_REPLACE"}
    assert provider.update(CONFIG_MAP, "unknown", inputs, preview=True).outputs["data"]["later"] is UNKNOWN


def test_a_preview_in_a_namespace_that_is_still_to_come_works(provider: Any) -> None:
    inputs = config_map("not-there-yet", "early", tag="1")
    assert provider.create(CONFIG_MAP, "early", inputs, preview=True).outputs["data"] == {"tag": "1"}


def test_a_previewed_services_address_is_unknown(provider: Any, namespace: str) -> None:
    spec = {"selector": {"app": "x"}, "ports": [{"port": 80}]}
    inputs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": namespace}, "spec": spec}
    previewed = provider.create(SERVICE, "s", inputs, preview=True)
    assert previewed.outputs["spec"]["clusterIP"] is UNKNOWN
    assert previewed.outputs["metadata"]["name"] == "s"


def with_port(namespace: str, name: str, port: int) -> dict[str, Any]:
    made = deployment(namespace, name)
    made["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"name": "http", "containerPort": port}]
    return made


def test_another_port_under_the_same_name_is_previewed_and_made(provider: Any, cluster: Client, namespace: str) -> None:
    """A dry run right after the creation cannot take the old port away, and the server has two of that name."""
    provider.create(DEPLOYMENT, "moved", with_port(namespace, "moved", 8080))
    for port in (8081, 8082):
        inputs = with_port(namespace, "moved", port)
        provider.update(DEPLOYMENT, "moved", inputs, preview=True)
        provider.update(DEPLOYMENT, "moved", inputs)
        (container,) = live(cluster, namespace, "deployments", "moved")["spec"]["template"]["spec"]["containers"]
        assert [each["containerPort"] for each in container["ports"]] == [port]


def test_a_previewed_update_shows_the_result_and_changes_nothing(
    provider: Any, cluster: Client, namespace: str
) -> None:
    provider.create(DEPLOYMENT, "upcoming", deployment(namespace, "upcoming"))
    previewed = provider.update(
        DEPLOYMENT, "upcoming", deployment(namespace, "upcoming", minReadySeconds=4), preview=True
    )

    assert previewed.outputs["spec"]["minReadySeconds"] == 4
    assert "minReadySeconds" not in live(cluster, namespace, "deployments", "upcoming")["spec"]


def test_a_resource_without_a_namespace_goes_to_the_providers(
    start_provider: Any, kubeconfig: str, namespace: str
) -> None:
    provider = start_provider(kubeconfig=kubeconfig, namespace=namespace)
    inputs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "placed"}}
    assert provider.create(CONFIG_MAP, "placed", inputs).id == f"{namespace}/placed"


def test_warnings_of_the_server_reach_the_user(provider: Any, namespace: str) -> None:
    inputs = config_map(namespace, "typo")
    inputs["dta"] = {"a": "1"}
    provider.create(CONFIG_MAP, "typo", inputs)
    assert provider.log.wait_for('unknown field "dta"')
