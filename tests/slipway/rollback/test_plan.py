"""What a rollback declares, worked out from states that were recorded on a cluster."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.errors import ExitCode, SlipwayError
from slipway.rollback.plan import (
    IMMUTABLE_FIELDS,
    DataAtStakeError,
    RollbackPlan,
    RollbackRequest,
    _in_order,
    plan_rollback,
    services_migrated_since,
)
from slipway.state.checkpoint import ResourceState, fingerprint, objects, resources, stem
from slipway.state.difference import STATEFUL_KINDS
from tests.slipway.states import CLAIM, STACK, STATEFUL_SET, add, find, remove, secret, urn, without

DEPLOYMENT, SECRET, CONFIG_MAP = "apps/v1:Deployment", "core/v1:Secret", "core/v1:ConfigMap"
VOLUME = "core/v1:PersistentVolume"
TARGET = 7


def plan(target: Any, present: Any, *services: str, **more: Any) -> RollbackPlan:
    return plan_rollback(target, present, RollbackRequest(TARGET, services, **more))


def by_urn(deployment: Any) -> dict[str, ResourceState]:
    return {each.urn: each for each in resources(deployment)}


def name_of(state: Any, kind: str) -> str:
    return str(find(state, kind, "user-service")["inputs"]["metadata"]["name"])


def in_dependency_order(declared: tuple[ResourceState, ...]) -> bool:
    position = {each.urn: index for index, each in enumerate(declared)}
    return all(
        position[before] < index
        for index, each in enumerate(declared)
        for before in (each.parent, each.provider, *each.dependencies)
        if before in position
    )


def test_a_request_survives_the_way_to_the_program() -> None:
    request = RollbackRequest(12, ("user-service", "order-service"), keep_secrets=True, include_stateful=True)
    assert RollbackRequest.from_text(request.to_text()) == request
    assert RollbackRequest.from_text(RollbackRequest(1).to_text()) == RollbackRequest(1)


def test_the_whole_of_the_recorded_state_is_declared(first: Any, second: Any) -> None:
    made = plan(first, second)
    assert {each.urn: each for each in made.resources} == by_urn(first)
    assert len(made.resources) == len(first["resources"])
    assert made.outputs["services"]["user-service"]["image"].startswith("registry.example/team/user-service@sha256:")
    assert (made.aliases, made.kept) == ({}, ())
    assert in_dependency_order(made.resources)


def test_after_a_failed_rollout_the_update_before_it_is_declared(second: Any, failed: Any) -> None:
    made = plan(second, failed).objects()
    assert made == objects(second)
    undone = sorted(stem(key) for key, each in objects(failed).items() if made.get(key) != each)
    assert undone == [urn(DEPLOYMENT, "user-service"), urn(CONFIG_MAP, "user-service")]


def test_what_only_waits_to_be_deleted_is_not_declared(first: Any, second: Any) -> None:
    add(first, CONFIG_MAP, "user-service", delete=True, id="slipway-dev/user-service-old")
    assert len(plan(first, second).resources) == len(first["resources"]) - 1


def test_a_service_alone_goes_back_and_all_else_is_as_now(first: Any, second: Any) -> None:
    made = {each.urn: each for each in plan(first, second, "user-service").resources}
    then, now = by_urn(first), by_urn(second)
    of_it = {key: each for key, each in then.items() if each.service == "user-service"}
    assert {key: made[key] for key in of_it} == of_it
    assert {key for key in of_it if then[key] != now.get(key) and then[key].is_object} == {
        find(first, kind, "user-service")["urn"] for kind in (DEPLOYMENT, SECRET, CONFIG_MAP)
    }
    assert {key: each for key, each in made.items() if each.service != "user-service"} == {
        key: each for key, each in now.items() if each.service != "user-service"
    }
    autoscaler = urn("autoscaling/v2:HorizontalPodAutoscaler", "order-service")
    assert autoscaler in made
    assert autoscaler not in then


def test_two_services_go_back_as_all_of_them_do(first: Any, second: Any) -> None:
    both = plan(first, second, "user-service", "order-service")
    assert both.objects() == plan(first, second).objects()


def test_a_service_that_is_gone_comes_back_alone(first: Any, second: Any) -> None:
    remove(second, "user-service")
    made = plan(first, second, "user-service")
    assert urn(DEPLOYMENT, "user-service") in made.objects()
    assert made.objects()[urn(DEPLOYMENT, "order-service")] == by_urn(second)[urn(DEPLOYMENT, "order-service")]
    assert in_dependency_order(made.resources)


def test_a_service_comes_back_after_a_destroy_with_what_it_stands_on(first: Any) -> None:
    """Without its provider it would be made on whatever cluster is the current one."""
    made = {each.urn: each for each in plan(first, {"resources": []}, "user-service").resources}
    providers = {each.provider for each in made.values() if each.is_object}
    assert providers <= set(made)
    assert "" not in providers
    assert any(each.type == "kubernetes:core/v1:Namespace" for each in made.values())
    assert not [each.urn for each in made.values() if each.service == "order-service"]
    assert in_dependency_order(tuple(made.values()))


def test_a_service_that_the_state_lacks_is_refused_as_a_mistake_of_the_user(first: Any, second: Any) -> None:
    remove(first, "user-service")
    with pytest.raises(SlipwayError, match=f"Update #{TARGET} has no service user-service") as caught:
        plan(first, second, "user-service", "order-service")
    assert "order-service" in caught.value.why
    assert caught.value.code is ExitCode.USAGE


def test_the_order_holds_where_two_times_are_mixed(first: Any, second: Any) -> None:
    """The present part comes first, though some of it depends on the recorded part."""
    made = plan(first, second, "user-service")
    order = [each.urn for each in made.resources]
    assert order.index(urn(DEPLOYMENT, "user-service")) < order.index(urn(DEPLOYMENT, "order-service"))
    assert in_dependency_order(made.resources)


def test_the_order_holds_in_the_wrong_way_round(first: Any, second: Any) -> None:
    first["resources"].reverse()
    assert in_dependency_order(plan(first, second).resources)


@given(st.data())
@settings(deadline=None)
def test_any_dependencies_are_put_in_order(data: Any) -> None:
    number = data.draw(st.integers(1, 9))
    names = [f"urn:pulumi:dev::slipway::t:i:T::{index}" for index in range(number)]
    drawn = {
        name: data.draw(st.lists(st.sampled_from(names[:index]), unique=True)) if index else []
        for index, name in enumerate(names)
    }
    chosen = {
        name: ResourceState({"urn": name, "type": "t:i:T", "dependencies": drawn[name]})
        for name in data.draw(st.permutations(names))
    }
    ordered = tuple(_in_order(chosen))
    assert sorted(each.urn for each in ordered) == sorted(names)
    assert in_dependency_order(ordered)


def test_resources_that_depend_on_each_other_end_it_all_the_same() -> None:
    one, two = "urn:pulumi:dev::slipway::t:i:T::1", "urn:pulumi:dev::slipway::t:i:T::2"
    chosen = {
        each: ResourceState({"urn": each, "type": "t:i:T", "dependencies": [other]})
        for each, other in ((one, two), (two, one))
    }
    assert {each.urn for each in _in_order(chosen)} == {one, two}


def references(state: Any, name: str) -> None:
    """Every way in which a pod names a Secret."""
    pod = find(state, DEPLOYMENT, "user-service")["inputs"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    container["env"] = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": name, "key": "DATABASE_URL"}}}]
    pod["imagePullSecrets"] = [{"name": name}]
    pod["volumes"] = [
        {"name": "one", "secret": {"secretName": name}},
        {"name": "two", "projected": {"sources": [{"secret": {"name": name}}, {"configMap": {"name": name}}]}},
        {"name": name, "emptyDir": {}},
    ]


def test_rotated_secrets_stay_and_everything_refers_to_them(first: Any, second: Any) -> None:
    then, now = name_of(first, SECRET), name_of(second, SECRET)
    assert then != now
    references(first, then)
    before = copy.deepcopy(first)
    made = plan(first, second, keep_secrets=True).objects()
    present = find(second, SECRET, "user-service")["urn"]
    assert made[present] == by_urn(second)[present]
    assert find(first, SECRET, "user-service")["urn"] not in made
    pod = made[urn(DEPLOYMENT, "user-service")].inputs["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert [each["secretRef"]["name"] for each in container["envFrom"] if "secretRef" in each] == [now]
    assert container["env"][0]["valueFrom"]["secretKeyRef"] == {"name": now, "key": "DATABASE_URL"}
    assert pod["imagePullSecrets"] == [{"name": now}]
    assert pod["volumes"] == [
        {"name": "one", "secret": {"secretName": now}},
        {"name": "two", "projected": {"sources": [{"secret": {"name": now}}, {"configMap": {"name": then}}]}},
        {"name": then, "emptyDir": {}},
    ]
    config_map = find(first, CONFIG_MAP, "user-service")["urn"]
    assert made[config_map] == by_urn(first)[config_map]
    assert first == before, "a state that was recorded is not to be changed"


def test_rotated_secrets_stay_though_they_go_by_another_name_now(first: Any, second: Any) -> None:
    old, new = find(first, SECRET, "user-service")["urn"], urn(SECRET, "renamed")
    now = name_of(second, SECRET)
    find(second, SECRET, "user-service").update(urn=new, aliases=[old])
    made = plan(first, second, keep_secrets=True)
    assert made.aliases == {old: new}
    assert made.objects()[old].inputs == by_urn(second)[new].inputs
    (container,) = made.objects()[urn(DEPLOYMENT, "user-service")].inputs["spec"]["template"]["spec"]["containers"]
    assert [each["secretRef"]["name"] for each in container["envFrom"] if "secretRef" in each] == [now]


@pytest.mark.parametrize("its_own_too", [False, True], ids=["after a success", "after a failure"])
def test_rotated_secrets_stay_where_their_content_names_them(first: Any, second: Any, its_own_too: bool) -> None:
    """What failed to replace it left both in the state: the newer one is the rotated one."""
    old, new = urn(SECRET, "user-service-00000001"), urn(SECRET, "user-service-00000002")
    now = name_of(second, SECRET)
    its_own = find(first, SECRET, "user-service")
    its_own.update(urn=old)
    find(first, DEPLOYMENT, "user-service").update(dependencies=[old], propertyDependencies={"spec": [old]})
    find(second, SECRET, "user-service").update(urn=new, created="2026-11-24T04:00:00Z")
    if its_own_too:
        second["resources"].append({**its_own, "created": "2026-11-23T04:00:00Z"})
    made = plan(first, second, keep_secrets=True)
    assert made.aliases == {}
    assert old not in made.objects()
    assert made.objects()[new] == by_urn(second)[new]
    deployment = made.objects()[urn(DEPLOYMENT, "user-service")]
    assert (deployment.dependencies, deployment.raw["propertyDependencies"]) == ((new,), {"spec": [new]})
    assert now in json.dumps(deployment.inputs)
    assert in_dependency_order(made.resources)


def test_secrets_go_back_where_nobody_says_otherwise(first: Any, second: Any) -> None:
    made, recorded = plan(first, second).objects(), find(first, SECRET, "user-service")
    assert made[recorded["urn"]].inputs == recorded["inputs"]


def test_a_secret_that_is_no_more_comes_back_with_its_recorded_value(first: Any, second: Any) -> None:
    without(second, find(second, SECRET, "user-service")["urn"])
    made, recorded = plan(first, second, keep_secrets=True).objects(), find(first, SECRET, "user-service")["urn"]
    assert made[recorded] == by_urn(first)[recorded]


def test_what_was_renamed_since_is_known_by_the_alias_it_was_given(first: Any, second: Any) -> None:
    old, new = urn("core/v1:Service", "user-service"), urn("core/v1:Service", "renamed")
    find(second, "core/v1:Service", "user-service").update(urn=new, aliases=[old], id="slipway-dev/elsewhere")
    assert plan(first, second).aliases == {old: new}


def test_what_was_renamed_since_is_known_by_being_the_same_thing(first: Any, second: Any) -> None:
    old, new = urn("core/v1:Service", "user-service"), urn("core/v1:Service", "renamed")
    find(second, "core/v1:Service", "user-service").update(urn=new)
    assert plan(first, second).aliases == {old: new}


def test_what_was_renamed_within_a_service_goes_back_with_it(first: Any, second: Any) -> None:
    old, new = urn("core/v1:Service", "user-service"), urn("core/v1:Service", "renamed")
    find(second, "core/v1:Service", "user-service").update(urn=new, aliases=[old])
    made = plan(first, second, "user-service")
    assert made.aliases == {old: new}
    assert new not in made.objects(), "the same thing under two names"
    assert old in made.objects()


def test_another_thing_is_no_alias(first: Any, second: Any) -> None:
    new = urn("core/v1:Service", "renamed")
    find(second, "core/v1:Service", "user-service").update(urn=new, id="slipway-dev/elsewhere")
    assert plan(first, second).aliases == {}


def test_what_holds_data_stays_though_the_state_did_not_have_it(first: Any, second: Any) -> None:
    claim = add(second, CLAIM, "order-service")
    made = plan(first, second)
    assert [each.urn for each in made.kept] == [claim]
    assert made.objects()[claim] == by_urn(second)[claim]
    assert claim not in plan(first, second, include_stateful=True).objects()
    assert plan(first, second, include_stateful=True).kept == ()


@pytest.mark.parametrize("include_stateful", [False, True])
def test_what_is_protected_stays_though_the_state_did_not_have_it(
    first: Any, second: Any, *, include_stateful: bool
) -> None:
    """The engine would refuse to delete it, at the end of a rollback that has done all else."""
    guarded = add(second, "core/v1:Service", "extra", protect=True, parent=f"{STACK}pulumi:pulumi:Stack::slipway-dev")
    made = plan(first, second, include_stateful=include_stateful)
    assert [each.urn for each in made.kept] == [guarded]
    assert made.objects()[guarded].raw["protect"]


def test_what_a_preview_says_that_data_goes_with_is_kept(first: Any, second: Any) -> None:
    for kind in sorted(STATEFUL_KINDS):
        add(second, f"any/v1:{kind}", "order-service")
    assert {each.type.rpartition(":")[2] for each in plan(first, second).kept} == STATEFUL_KINDS


def test_what_holds_data_keeps_its_parents_too(first: Any, second: Any) -> None:
    remove(first, "order-service")
    claim = add(second, CLAIM, "order-service")
    made = plan(first, second)
    parent = by_urn(second)[claim].parent
    assert [each.urn for each in made.resources if each.service == "order-service"] == [parent, claim]
    assert in_dependency_order(made.resources)


def test_what_holds_data_keeps_its_provider_too(first: Any, second: Any) -> None:
    """Under another one the engine would replace it."""
    provider = f"{STACK}pulumi:providers:kubernetes::second-cluster"
    second["resources"].append({"urn": provider, "type": "pulumi:providers:kubernetes", "custom": True, "id": "0"})
    claim = add(second, CLAIM, "order-service", provider=f"{provider}::0")
    made = plan(first, second)
    assert {each.urn for each in made.resources} - set(by_urn(first)) == {provider, claim}
    assert in_dependency_order(made.resources)


def test_the_data_of_a_renamed_claim_is_not_kept_twice(first: Any, second: Any) -> None:
    old = add(first, CLAIM, "user-service")
    new = add(second, CLAIM, "user-service", urn=urn(CLAIM, "renamed"))
    made = plan(first, second)
    assert made.aliases == {old: new}
    assert made.kept == ()


@pytest.mark.parametrize(
    ("kind", "then", "now", "field"),
    [
        (STATEFUL_SET, {"serviceName": "a"}, {"serviceName": "b"}, "spec.serviceName"),
        (STATEFUL_SET, {"volumeClaimTemplates": [{"a": 1}]}, {"volumeClaimTemplates": []}, "spec.volumeClaimTemplates"),
        (STATEFUL_SET, {"revisionHistoryLimit": 3}, {"revisionHistoryLimit": 9}, "spec.revisionHistoryLimit"),
        (CLAIM, {"storageClassName": "fast"}, {}, "spec.storageClassName"),
        (VOLUME, {"nfs": {"server": "a", "path": "/"}}, {"nfs": {"server": "b", "path": "/"}}, "spec.nfs"),
    ],
)
def test_replacing_what_holds_data_is_refused(
    first: Any, second: Any, *, kind: str, then: dict[str, Any], now: dict[str, Any], field: str
) -> None:
    add(first, kind, "user-service", then)
    add(second, kind, "user-service", now)
    with pytest.raises(SlipwayError, match="would replace objects that hold data") as caught:
        plan(first, second)
    assert field in caught.value.why
    assert plan(first, second, include_stateful=True).kept == ()


def test_a_trigger_replaces_what_holds_data_as_well(first: Any, second: Any) -> None:
    add(first, CLAIM, "user-service")
    claim = add(second, CLAIM, "user-service")
    next(each for each in second["resources"] if each["urn"] == claim)["replacementTrigger"] = "2026-11"
    with pytest.raises(SlipwayError, match="would replace objects that hold data") as caught:
        plan(first, second)
    assert "its replacement trigger differs" in caught.value.why
    assert "--include-stateful" in caught.value.next_step
    assert plan(first, second, include_stateful=True).kept == ()


def test_what_was_declared_to_be_replaced_on_a_change_is_refused(first: Any, second: Any) -> None:
    add(first, CLAIM, "user-service", {"resources": {"requests": {"storage": "1Gi"}}}, replaceOnChanges=["spec"])
    claim = add(second, CLAIM, "user-service", {"resources": {"requests": {"storage": "2Gi"}}})
    with pytest.raises(SlipwayError, match="would replace objects that hold data") as caught:
        plan(first, second)
    assert "to be replaced when spec changes" in caught.value.why
    find(first, CLAIM, "user-service").pop("replaceOnChanges")
    assert claim in plan(first, second).objects()


# https://github.com/pulumi/pulumi-kubernetes/blob/v4.25.0/provider/pkg/provider/diff.go (forceNew)
REPLACED_FOR = {
    "PersistentVolume": "awsElasticBlockStore azureDisk azureFile cephfs cinder csi fc flexVolume flocker "
    "gcePersistentDisk glusterfs hostPath iscsi local nfs photonPersistentDisk portworxVolume quobyte rbd scaleIO "
    "storageos vsphereVolume",
    "PersistentVolumeClaim": "accessModes selector storageClassName volumeName",
    "StatefulSet": "podManagementPolicy revisionHistoryLimit selector serviceName volumeClaimTemplates",
}


@pytest.mark.parametrize("kind", REPLACED_FOR)
def test_whatever_the_provider_replaces_data_for_is_known_here(kind: str) -> None:
    assert set(REPLACED_FOR[kind].split()) <= set(IMMUTABLE_FIELDS[kind])


def test_replacing_data_under_another_name_is_refused(first: Any, second: Any) -> None:
    add(first, CLAIM, "user-service")
    add(second, CLAIM, "user-service", id="slipway-dev/user-service-2")
    with pytest.raises(SlipwayError, match="would replace objects that hold data") as caught:
        plan(first, second)
    assert "it was slipway-dev/user-service and is slipway-dev/user-service-2" in caught.value.why


def test_replacing_data_that_was_renamed_since_is_refused(first: Any, second: Any) -> None:
    old = add(first, STATEFUL_SET, "user-service", {"serviceName": "a"})
    add(second, STATEFUL_SET, "user-service", {"serviceName": "b"}, urn=urn(STATEFUL_SET, "renamed"), aliases=[old])
    with pytest.raises(SlipwayError, match="would replace objects that hold data"):
        plan(first, second)


def test_changing_what_holds_data_in_place_is_allowed(first: Any, second: Any) -> None:
    claim = add(first, STATEFUL_SET, "user-service", {"replicas": 1, "serviceName": "a"})
    add(second, STATEFUL_SET, "user-service", {"replicas": 3, "serviceName": "a"})
    assert plan(first, second).objects()[claim].inputs["spec"]["replicas"] == 1


def test_another_service_s_data_is_no_obstacle(first: Any, second: Any) -> None:
    add(first, STATEFUL_SET, "order-service", {"serviceName": "a"})
    add(second, STATEFUL_SET, "order-service", {"serviceName": "b"})
    made = plan(first, second, "user-service")
    assert made.objects()[urn(STATEFUL_SET, "order-service")].inputs["spec"]["serviceName"] == "b"


def test_outputs_for_one_service_say_where_all_are(first: Any, second: Any) -> None:
    for state, text in ((first, "then"), (second, "now")):
        for each in state["resources"]:
            if each["type"] == "slipway:index:Microservice":
                each["outputs"] = {"url": f"http://{text}"}
            if each["type"] == "slipway:index:ServiceImage":
                each["outputs"] = {"reference": f"image-{text}"}
            if each["type"] == "pulumi:pulumi:Stack":
                each["outputs"] = {"checks": 9, "services": {}}
    expected = {
        "order-service": {"url": "http://now", "image": "image-now"},
        "user-service": {"url": "http://then", "image": "image-then"},
    }
    assert plan(first, second, "user-service").outputs == {"checks": 9, "services": expected}


@pytest.mark.parametrize("has_outputs", [True, False])
def test_outputs_for_one_service_after_a_failed_update(first: Any, failed: Any, *, has_outputs: bool) -> None:
    """The outputs of the update before it stay, unless the program ended before it exported any."""
    (stack,) = [each for each in failed["resources"] if each["type"] == "pulumi:pulumi:Stack"]
    if not has_outputs:
        stack.pop("outputs")
    outputs = plan(first, failed, "user-service").outputs
    assert set(outputs) == {"checks", "services"}
    assert all(
        each["url"].startswith("http://") and "@sha256:" in each["image"] for each in outputs["services"].values()
    )


def test_a_secret_output_stays_as_it_was_recorded(first: Any, second: Any) -> None:
    (stack,) = [each for each in first["resources"] if each["type"] == "pulumi:pulumi:Stack"]
    stack["outputs"]["token"] = secret("keel")
    assert plan(first, second).outputs["token"] == secret("keel")


def test_a_namespace_that_a_failed_update_only_left_behind_comes_back(first: Any, second: Any) -> None:
    """It is there with all that is in it, and waits to be deleted; so the way back loses nothing."""
    namespace = next(each for each in second["resources"] if each["type"] == "kubernetes:core/v1:Namespace")
    second["resources"].append({**copy.deepcopy(namespace), "delete": True})
    namespace["id"] = namespace["inputs"]["metadata"]["name"] = "another"
    assert namespace["urn"] in plan(first, second).objects()
    second["resources"].pop()
    with pytest.raises(DataAtStakeError, match="replace objects that hold data"):
        plan(first, second)


def test_a_claim_that_a_failed_update_has_replaced_needs_include_stateful(first: Any, second: Any) -> None:
    """What was written to the new one meanwhile would be gone."""
    add(first, CLAIM, "user-service")
    add(second, CLAIM, "user-service", delete=True)
    add(second, CLAIM, "user-service", id="slipway-dev/newer")
    with pytest.raises(DataAtStakeError):
        plan(first, second)
    assert plan(first, second, include_stateful=True).kept == ()


def test_a_state_of_before_the_directives_is_declared_with_them(first: Any, second: Any) -> None:
    """The provider would wait for the rollout, and refuse what somebody else has changed since."""
    for each in first["resources"]:
        each.get("inputs", {}).get("metadata", {}).pop("annotations", None)
    annotations = plan(first, second).objects()[urn(DEPLOYMENT, "user-service")].inputs["metadata"]["annotations"]
    assert annotations == {
        "pulumi.com/patchForce": "true",
        "pulumi.com/waitFor": "jsonpath={.metadata.uid}",
    }


def test_a_namespace_that_is_somebody_elses_by_now_is_left_alone(first: Any, second: Any) -> None:
    namespace = f"{STACK}slipway:index:Environment$kubernetes:core/v1:Namespace::dev"
    assert namespace in plan(first, second).objects()
    assert namespace not in plan(first, second, unmanaged_namespace="slipway-dev").objects()
    assert namespace in plan(first, second, unmanaged_namespace="another").objects()


JOB = "batch/v1:Job"


def migrated(state: Any, run: str, image: str = "", *, destructive: bool = False, suspended: bool = False) -> Any:
    """The state with a migration of user-service, and its Deployment on another image where one is given."""
    parent = find(state, DEPLOYMENT, "user-service")["parent"]
    annotations = {"slipway.dev/migration-run": run} | (
        {"slipway.dev/migration-destructive": "true"} if destructive else {}
    )
    name = f"user-service-{run}"
    about = {"name": name, "labels": {"slipway.dev/migration": "user-service"}, "annotations": annotations}
    spec = {"template": {"spec": {"containers": [{"name": "a", "image": image}]}}}
    add(
        state,
        JOB,
        "user-service",
        parent=parent,
        id=f"slipway-dev/{name}",
        inputs={"metadata": about, "spec": spec | ({"suspend": True} if suspended else {})},
    )
    if image:
        find(state, DEPLOYMENT, "user-service")["inputs"]["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return state


def job_of(made: RollbackPlan) -> ResourceState:
    (job,) = [each for each in made.resources if each.type == f"kubernetes:{JOB}"]
    return job


def test_a_recorded_migration_is_declared_so_as_not_to_run(first: Any, second: Any) -> None:
    made = plan(migrated(first, "one"), migrated(second, "two", "registry.example/b"))
    assert job_of(made).inputs["spec"]["suspend"] is True
    assert services_migrated_since(made, [second]) == ["user-service"]


@pytest.mark.parametrize("suspended", [True, False])
def test_a_migration_that_is_there_stays_as_it_is(first: Any, second: Any, *, suspended: bool) -> None:
    made = plan(migrated(first, "one"), migrated(second, "one", suspended=suspended))
    assert job_of(made).inputs["spec"].get("suspend", False) is suspended
    assert services_migrated_since(made, [second]) == []


def test_a_migration_that_a_failed_update_was_about_to_replace_is_there_still(first: Any, second: Any) -> None:
    migrated(second, "one")
    find(second, JOB, "user-service")["delete"] = True
    made = plan(migrated(first, "one"), migrated(second, "two"))
    assert "suspend" not in job_of(made).inputs["spec"]


def test_a_rollback_over_a_destructive_migration_is_refused(first: Any, second: Any) -> None:
    migrated(first, "one", "registry.example/a")
    migrated(second, "two", "registry.example/b", destructive=True)
    with pytest.raises(DataAtStakeError, match="past a migration that the earlier release does not support") as raised:
        plan(first, second)
    assert raised.value.why == "user-service: its migration (Job user-service-two) is declared destructive"
    assert job_of(plan(first, second, include_stateful=True)).inputs["spec"]["suspend"] is True


def test_a_destructive_migration_after_which_nothing_was_rolled_out_holds_nothing_up(first: Any, second: Any) -> None:
    migrated(first, "one", "registry.example/a")
    migrated(second, "two", "registry.example/a", destructive=True)
    assert job_of(plan(first, second)).inputs["spec"]["suspend"] is True


def test_a_state_is_the_same_whether_or_not_its_migration_is_kept_from_running(first: Any) -> None:
    other = copy.deepcopy(first)
    assert fingerprint(migrated(first, "one")) == fingerprint(migrated(other, "one", suspended=True))
    assert fingerprint(first) != fingerprint(migrated(copy.deepcopy(first), "two"))
