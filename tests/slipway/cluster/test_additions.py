"""What somebody has added is removed, and nothing else."""

from __future__ import annotations

import copy
from typing import Any

from slipway.cluster.additions import Addition, additions
from slipway.cluster.drift import found_inputs
from tests.slipway.cluster.test_drift import DEPLOYMENT, containers, entry, live, of_container


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
