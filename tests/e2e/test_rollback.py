"""A release that changes everything, and every way back from it, on the real lab.

A number is that of an update, as `slipway history` has it.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e import recorded_states as states

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

GOOD, CHANGED, UNKNOWN = 1, 2, 99
# A label: another image, and the same service.
DOCKERFILE, LABEL = "services/user_service/Dockerfile", "The people who may"
ACCOUNT = """            self._name,
            metadata=self._metadata(annotations=annotations),
            automount_service_account_token=False,
            opts=self._child(),"""
RENAMED_ACCOUNT = """            f"{self._name}-account",
            metadata=self._metadata(annotations=annotations),
            automount_service_account_token=False,
            opts=ResourceOptions(parent=self, aliases=[pulumi.Alias(name=self._name)]),"""
NO_SUCH_WORDS = {"user-service": {"checks": [{"get": "/users", "has": "no such words"}]}}
TOO_LITTLE_MEMORY = {"user-service": {"resources": {"memory": "12Mi"}}}
NEW = {
    "user-service": {"env": {"LOG_LEVEL": "debug"}, "replicas": 2},
    "order-service": {"port": 8081},
}


def overrides(*more: dict[str, Any]) -> str:
    merged: dict[str, Any] = {}
    for each in more:
        for name, spec in each.items():
            merged[name] = {**merged.get(name, {}), **spec}
    return f"  slipway:services: {json.dumps(merged)}\n"


@pytest.fixture
def ship(project: Any) -> Any:
    """The project, with images that no other run of these tests has, so that one of them may be deleted."""
    project.environment["SLIPWAY_REGISTRY"] += f"/{secrets.token_hex(3)}"
    project.replace(DOCKERFILE, LABEL, f"{secrets.token_hex(3)}: {LABEL}")
    return project


def seen(project: Any) -> dict[str, Any]:
    """What runs, asked of the cluster alone."""
    found = {}
    core = f"/api/v1/namespaces/{project.namespace}"
    for name, item in project.deployments().items():
        only = item["spec"]["template"]["spec"]["containers"][0]
        (config,) = (each["configMapRef"]["name"] for each in only["envFrom"] if "configMapRef" in each)
        names = [each["secretRef"]["name"] for each in only["envFrom"] if "secretRef" in each]
        data = [project.get(f"{core}/secrets/{each}")["data"]["DATABASE_URL"] for each in names]
        found[name] = {
            "image": only["image"],
            "replicas": item["spec"]["replicas"],
            "port": only["ports"][0]["containerPort"],
            "level": project.get(f"{core}/configmaps/{config}")["data"]["LOG_LEVEL"],
            "database": [base64.b64decode(each).decode() for each in data],
        }
    return found


def answers(project: Any, service: str, path: str) -> int:
    address = project.get(f"/api/v1/namespaces/{project.namespace}/services/{service}")["spec"]["clusterIP"]
    return httpx.get(f"http://{address}{path}", timeout=10).status_code


def is_whole(project: Any, target: int, output: str = "") -> None:
    """The state is as the target left it, by a comparison of the test's own; that is the n/n of the output, too."""
    then, now = states.object_inputs(states.recorded(project, target)), states.object_inputs(states.present(project))
    assert now == then
    total = states.number_of_inputs(then)
    assert total > 100
    assert not output or f"{total}/{total} recorded inputs are the same" in output, output


def images_of(resources: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {urn: each for urn, each in resources.items() if each["type"] == "docker-build:index:Image"}


def no_image_touched(project: Any, number: int) -> None:
    """Not even that it was registered: time stamps and all are as the update before left them."""
    before, after = (images_of(states.recorded(project, each)) for each in (number - 1, number))
    assert before
    assert after == before


@contextmanager
def without_sources(project: Any) -> Iterator[None]:
    services, away = project.folder / "services", project.folder / "away"
    away.mkdir()
    folders = [each for each in services.iterdir() if (each / "service.yaml").exists()]
    for each in folders:
        shutil.move(each, away / each.name)
    (services / "broken").mkdir()
    (services / "broken" / "service.yaml").write_text("name: [")
    try:
        yield
    finally:
        shutil.rmtree(services / "broken")
        for each in folders:
            shutil.move(away / each.name, each)
        away.rmdir()


@pytest.fixture
def good(ship: Any) -> dict[str, Any]:
    """What runs after a good release, the first one."""
    result = ship.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    assert states.count(ship) == GOOD
    return seen(ship)


@pytest.fixture
def changed(ship: Any, good: dict[str, Any]) -> dict[str, Any]:
    """What runs after the release that changed everything: image, settings, secret, replicas, names; a service more."""
    made = ship.slipway("new", "parcel-service")
    assert made.code == 0, made.output
    ship.replace(DOCKERFILE, LABEL, f"Changed. {LABEL}")
    ship.replace("components/workload.py", ACCOUNT, RENAMED_ACCOUNT)
    configure_changed(ship)
    result = ship.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    assert states.count(ship) == CHANGED
    now = seen(ship)
    for key in ("image", "replicas", "level", "database"):
        assert now["user-service"][key] != good["user-service"][key], key
    assert now["order-service"] == {**good["order-service"], "port": 8081}
    assert set(now) - set(good) == {"parcel-service"}
    return now


def configure_changed(project: Any, *more: dict[str, Any], settings: str = "") -> None:
    """The settings of the changed release, secret and all, with `more` overrides of the services."""
    project.configure(overrides(NEW, *more) + settings)
    project.replace("Pulumi.e2e.yaml", "/data/users.db", "/data/people.db")


def test_a_rollback_without_the_sources_brings_everything_back_and_is_rolled_back(
    ship: Any, good: dict[str, Any], changed: dict[str, Any]
) -> None:
    named = {urn.rsplit("::", 1)[-1] for urn in states.present(ship) if "ServiceAccount" in urn}
    assert named == {"user-service-account", "order-service-account", "parcel-service-account"}
    before, content = states.in_cluster(ship), states.state_file(ship).read_bytes()
    bare = ship.with_environment()
    bare.environment = {key: each for key, each in ship.environment.items() if not key.startswith("SLIPWAY_")}
    shown = bare.slipway("rollback", "-s", "e2e", "--preview")
    assert shown.code == 0, shown.output
    assert f"Rollback of e2e from #{CHANGED} to #{GOOD}" in shown.output
    flat = " ".join(shown.output.split())
    assert "replicas: 2 → 1" in flat
    assert "parcel-service" in flat
    assert "people.db" not in flat
    assert states.in_cluster(ship) == before
    assert states.state_file(ship).read_bytes() == content
    assert states.count(ship) == CHANGED

    require_refusals(ship)
    with without_sources(ship):
        result = ship.slipway("rollback", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    assert "2 checks met" in result.output
    is_whole(ship, GOOD, result.output)
    no_image_touched(ship, CHANGED + 1)
    assert seen(ship) == good
    assert answers(ship, "user-service", "/users") == 200
    assert answers(ship, "order-service", "/orders") == 200
    after = states.in_cluster(ship)
    assert not [name for name in after if "parcel-service" in name]
    for name in ("serviceaccounts user-service", "services user-service", "deployments user-service"):
        assert after[name][0] == before[name][0], f"{name} is another one"
    assert states.outputs(ship, CHANGED + 1) == states.outputs(ship, GOOD)
    last = states.history(ship)[-1]
    assert (last["kind"], last["succeeded"]) == ("rollback", True)
    assert last["rollback"] == {"source": CHANGED, "target": GOOD, "services": [], "overriddenPolicies": ""}

    content = states.state_file(ship).read_bytes()
    for arguments in ((), ("--to", str(GOOD))):
        refused = ship.slipway("rollback", "-s", "e2e", "--yes", *arguments)
        assert refused.code == 2, "there is no older state: " + refused.output
    assert states.state_file(ship).read_bytes() == content

    before = states.in_cluster(ship)
    with without_sources(ship):
        result = ship.slipway("rollback", "-s", "e2e", "--yes", "--to", str(CHANGED))
    assert result.code == 0, result.output
    assert "3 checks met" in result.output
    is_whole(ship, CHANGED, result.output)
    no_image_touched(ship, states.count(ship))
    assert seen(ship) == changed
    assert states.in_cluster(ship)["serviceaccounts user-service"][0] == before["serviceaccounts user-service"][0]

    take_one_service_back_and_forth(ship, good, changed)
    refuse_a_state_of_another_cluster(ship)
    override_and_waive_a_policy(ship, good)
    refuse_a_state_whose_image_is_gone(ship, changed)


def take_one_service_back_and_forth(ship: Any, good: dict[str, Any], changed: dict[str, Any]) -> None:
    """From the changed release to the good one; the others are not touched."""
    before, recorded = states.in_cluster(ship), states.present(ship)
    with without_sources(ship):
        result = ship.slipway("rollback", "-s", "e2e", "--yes", "--to", str(GOOD), "--service", "user-service")
    assert result.code == 0, result.output
    assert seen(ship) == {**changed, "user-service": good["user-service"]}
    after = states.in_cluster(ship)
    assert len(after) == len(before), "what was replaced is gone"
    assert not [each for each in states.latest(states.state_file(ship))["resources"] if each.get("delete")]
    mine = re.compile(r" user-service(-[0-9a-f]{8})?$")
    assert {k: v for k, v in after.items() if not mine.search(k)} == {
        k: v for k, v in before.items() if not mine.search(k)
    }
    now = states.present(ship)
    for name in ("order-service", "parcel-service"):
        assert states.of_service(now, name) == states.of_service(recorded, name)
    assert states.object_inputs(states.of_service(now, "user-service")) == states.object_inputs(
        states.of_service(states.recorded(ship, GOOD), "user-service")
    )
    total = states.number_of_inputs(states.object_inputs(states.of_service(now, "user-service")))
    assert total > 50
    assert f"user-service of e2e is back at #{GOOD}: {total}/{total} recorded inputs are the same" in result.output
    assert states.history(ship)[-1]["rollback"]["services"] == ["user-service"]

    # And forth again, but for the secret, which was rotated meanwhile.
    only = ("--service", "user-service", "--keep-secrets")
    result = ship.slipway("rollback", "-s", "e2e", "--yes", "--to", str(CHANGED), *only)
    assert result.code == 0, result.output
    expected = {**changed["user-service"], "database": good["user-service"]["database"]}
    assert seen(ship) == {**changed, "user-service": expected}
    total = states.number_of_inputs(states.object_inputs(states.of_service(states.present(ship), "user-service")))
    assert f"{total}/{total} recorded inputs are the same" in result.output


@contextmanager
def edited(file: Path, edit: Callable[[str], str]) -> Iterator[None]:
    text = file.read_text()
    changed = edit(text)
    assert changed != text
    file.write_text(changed)
    try:
        yield
    finally:
        file.write_text(text)


def torn_checkpoint(project: Any) -> AbstractContextManager[None]:
    return edited(states.checkpoint_files(project)[GOOD - 1], lambda text: text[: len(text) // 2])


def torn_record(project: Any) -> AbstractContextManager[None]:
    file = states.checkpoint_files(project)[GOOD - 1]
    return edited(file.with_name(file.name.replace(".checkpoint.", ".history.")), lambda text: text[: len(text) // 2])


@contextmanager
def locked(project: Any) -> Iterator[None]:
    file = states.folder(project) / "locks" / "organization" / "slipway" / "e2e" / "0.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = {"pid": 1, "username": "ada", "hostname": "another-machine", "timestamp": "2030-01-01T00:00:00Z"}
    file.write_text(json.dumps(lock))
    try:
        yield
    finally:
        file.unlink()


def as_it_is(_project: Any) -> AbstractContextManager[None]:
    return nullcontext()


# The lab's registry under another path: it answers, and no image of any state is from there.
ELSEWHERE = {"SLIPWAY_REGISTRY": "127.0.0.1:5000/elsewhere"}
TO_GOOD = ("--to", str(GOOD))
# what is wrong, what is asked, more variables, exit code, what is said
REFUSED: list[Any] = [
    (as_it_is, ("--to", str(UNKNOWN)), {}, 2, "There is no update #99 of e2e"),
    (as_it_is, (*TO_GOOD, "--service", "nope"), {}, 2, "order-service, user-service"),
    (as_it_is, (*TO_GOOD, "--service", "parcel-service"), {}, 2, f"Update #{GOOD} has no service parcel-service"),
    (as_it_is, TO_GOOD, {"PULUMI_CONFIG_PASSPHRASE": "wrong"}, 2, "PULUMI_CONFIG_PASSPHRASE"),
    (as_it_is, TO_GOOD, ELSEWHERE, 3, "image-registry"),
    (torn_checkpoint, TO_GOOD, {}, 2, ".checkpoint.json"),
    (torn_record, TO_GOOD, {}, 2, ".history.json"),
    (locked, TO_GOOD, {}, 1, "ada@another-machine"),
]


def require_refusals(ship: Any) -> None:
    """What must not be is refused before anything is touched."""
    before, content, updates = states.in_cluster(ship), states.state_file(ship).read_bytes(), states.count(ship)
    for wrong, arguments, variables, code, message in REFUSED:
        with wrong(ship):
            result = ship.with_environment(**variables).slipway("rollback", "-s", "e2e", "--yes", *arguments)
        assert result.code == code, result.output
        assert message in " ".join(result.output.split()), result.output
        assert "Traceback" not in result.output
        assert "people.db" not in result.output
        assert states.in_cluster(ship) == before
        assert states.state_file(ship).read_bytes() == content
        assert states.count(ship) == updates


def refuse_a_state_of_another_cluster(ship: Any) -> None:
    before = states.in_cluster(ship)
    recorded, outputs = states.present(ship), ship.outputs()
    environment = next(each for each in recorded.values() if each["type"] == "slipway:index:Environment")
    cluster = environment["outputs"]["cluster"]
    with edited(states.checkpoint_files(ship)[GOOD - 1], lambda text: text.replace(cluster, "0" * len(cluster))):
        result = ship.slipway("rollback", "-s", "e2e", "--yes", *TO_GOOD)
    assert result.code == 1, result.output
    assert "of another cluster" in result.output
    assert cluster in result.output
    assert states.in_cluster(ship) == before
    assert states.object_inputs(states.present(ship)) == states.object_inputs(recorded)
    assert ship.outputs() == outputs


def override_and_waive_a_policy(ship: Any, good: dict[str, Any]) -> None:
    """What a policy refuses, a reason overrides, and is recorded; a waiver needs none."""
    elsewhere = ship.with_environment(**ELSEWHERE)
    result = elsewhere.slipway("rollback", "-s", "e2e", "--yes", *TO_GOOD, "--break-glass", "the harbour burns")
    assert result.code == 0, result.output
    is_whole(ship, GOOD, result.output)
    assert seen(ship) == good
    assert states.history(ship)[-1]["rollback"]["overriddenPolicies"] == "the harbour burns"
    waivers = [
        {
            "rule": "image-registry",
            "resource": f"Deployment/{name}",
            "reason": "the registry moved",
            "expires": "2099-12-31",
        }
        for name in ("user-service", "order-service", "parcel-service")
    ]
    with edited(ship.folder / "policy" / "waivers.yaml", lambda _: f"waivers: {json.dumps(waivers)}\n"):
        result = elsewhere.slipway("rollback", "-s", "e2e", "--preview", "--to", str(CHANGED))
    assert result.code == 0, result.output
    assert "image-registry" in result.output


def refuse_a_state_whose_image_is_gone(ship: Any, changed: dict[str, Any]) -> None:
    host, _, rest = changed["user-service"]["image"].partition("/")
    name, _, digest = rest.partition("@")
    gone = httpx.delete(f"http://{host}/v2/{name}/manifests/{digest}")
    assert gone.status_code == 202, "as a registry's clean-up does it: " + gone.text
    before, recorded, outputs = states.in_cluster(ship), states.object_inputs(states.present(ship)), ship.outputs()
    result = ship.slipway("rollback", "-s", "e2e", "--yes", "--to", str(CHANGED))
    assert result.code == 1, result.output
    assert "the registry lacks these images of the recorded state" in result.output.lower()
    assert changed["user-service"]["image"] in " ".join(result.output.split())
    assert states.in_cluster(ship) == before
    assert states.object_inputs(states.present(ship)) == recorded
    assert ship.outputs() == outputs


@pytest.mark.thorough
def test_a_setting_in_git_is_shown_and_then_carried_out_by_a_plain_update(
    ship: Any, good: dict[str, Any], changed: dict[str, Any]
) -> None:
    before, recorded = states.in_cluster(ship), states.object_inputs(states.present(ship))
    configure_changed(ship, settings=f"  slipway:rollbackTo: {UNKNOWN}\n")
    refused = ship.up()
    assert refused.code != 0
    assert "There is no update #99" in refused.output, refused.output
    configure_changed(ship, settings=f"  slipway:rollbackTo: {states.count(ship)}\n")
    refused = ship.up()
    assert refused.code != 0
    assert "failed" in refused.output, refused.output
    assert "Traceback" not in refused.output
    assert states.in_cluster(ship) == before
    assert states.object_inputs(states.present(ship)) == recorded

    configure_changed(ship, settings=f"  slipway:rollbackTo: {GOOD}\n")
    with without_sources(ship):
        shown = ship.slipway("preview", "-s", "e2e")
        assert shown.code == 0, shown.output
        assert "replicas: 2 → 1" in " ".join(shown.output.split())
        assert "parcel-service" in shown.output
        result = ship.up()
    assert result.code == 0, result.output
    is_whole(ship, GOOD)
    assert seen(ship) == good
    last = states.history(ship)[-1]
    assert (last["kind"], last["rollback"]["target"]) == ("rollback", GOOD)
    assert last["rollback"]["source"] == states.count(ship) - 1
    again = ship.slipway("up", "-s", "e2e", "--yes")
    assert again.code == 0, again.output
    is_whole(ship, GOOD, again.output)

    configure_changed(ship, {"order-service": {"replicas": 2}})
    result = ship.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, "without the setting the program goes forward: " + result.output
    assert seen(ship) == {**changed, "order-service": {**changed["order-service"], "replicas": 2}}
    assert states.history(ship)[-1]["kind"] == "update"


def test_a_first_release_that_fails_has_nothing_to_go_back_to(ship: Any) -> None:
    ship.configure(overrides(NO_SUCH_WORDS))
    failed = ship.slipway("up", "-s", "e2e", "--yes")
    assert failed.code == 1, failed.output
    assert "no such words" in failed.output
    assert "There is no earlier state of e2e to go back to." in failed.output
    refused = ship.slipway("rollback", "-s", "e2e", "--yes")
    assert refused.code == 2, refused.output
    assert "no earlier state" in refused.output
    assert states.count(ship) == 1
    ship.configure()
    result = ship.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    for arguments, reason in (((), ""), (("--to", "2"), ""), (("--to", "1"), "it failed")):
        refused = ship.slipway("rollback", "-s", "e2e", "--yes", *arguments)
        assert refused.code == 2, refused.output
        assert reason in refused.output
        assert "Traceback" not in refused.output
    assert states.count(ship) == 2


@pytest.mark.thorough  # test_diagnosis.py and test_network.py have one each
@pytest.mark.parametrize(("bad", "message"), [(NO_SUCH_WORDS, "no such words"), (TOO_LITTLE_MEMORY, "limit of 12Mi")])
def test_a_bad_release_goes_back_by_itself_and_the_next_goes_forward(
    ship: Any, good: dict[str, Any], bad: Any, message: str
) -> None:
    ship.configure(overrides(bad, {"user-service": {**bad["user-service"], "replicas": 3}}))
    result = ship.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 4, result.output
    flat = " ".join(result.output.split())
    assert message in flat, "why it failed comes first"
    assert flat.index(message) < flat.index(f"was rolled back to #{GOOD}")
    assert "2 checks met" in result.output
    is_whole(ship, GOOD, result.output)
    assert seen(ship) == good
    assert answers(ship, "user-service", "/users") == 200
    last = states.history(ship)[-2:]
    assert [each["succeeded"] for each in last] == [False, True]
    assert (last[1]["rollback"]["source"], last[1]["rollback"]["target"]) == (GOOD + 1, GOOD)
    ship.configure(overrides({"user-service": {"replicas": 2}}))
    fixed = ship.slipway("up", "-s", "e2e", "--yes")
    assert fixed.code == 0, fixed.output
    assert seen(ship)["user-service"]["replicas"] == 2


@pytest.mark.thorough
def test_a_wreck_is_left_for_a_look_and_then_rolled_back(ship: Any, good: dict[str, Any]) -> None:
    ship.configure(overrides(TOO_LITTLE_MEMORY))
    result = ship.slipway("up", "-s", "e2e", "--yes", "--no-rollback")
    assert result.code == 1, result.output
    assert states.count(ship) == GOOD + 1
    assert ship.deployments()["user-service"]["status"].get("unavailableReplicas")
    back = ship.slipway("rollback", "-s", "e2e", "--yes")
    assert back.code == 0, back.output
    assert f"to #{GOOD}," in back.output
    is_whole(ship, GOOD, back.output)
    assert seen(ship) == good


@pytest.mark.thorough
@pytest.mark.parametrize(
    "by_setting",
    [pytest.param(True, id="by a setting in git"), pytest.param(False, id="by the program before")],
)
def test_plain_updates_go_back_from_one_that_failed(ship: Any, good: dict[str, Any], by_setting: bool) -> None:
    """The ConfigMap and the Secret that it brought others for are still there, and are no obstacle."""
    ship.configure(overrides({"user-service": {"env": {"LOG_LEVEL": "warning"}, "resources": {"memory": "12Mi"}}}))
    ship.replace("Pulumi.e2e.yaml", "/data/users.db", "/data/nobody.db")
    failed = ship.up()
    assert failed.code != 0
    assert "limit of 12Mi" in " ".join(failed.output.split()), failed.output
    ship.configure(f"  slipway:rollbackTo: {GOOD}\n" if by_setting else "")
    result = ship.up()
    assert result.code == 0, result.output
    is_whole(ship, GOOD)
    assert seen(ship) == good
    hashed = [
        name for name in states.in_cluster(ship) if re.search(r"^(configmaps|secrets) user-service-[0-9a-f]{8}$", name)
    ]
    assert len(hashed) == 2, "what the failed one brought is gone"


@pytest.mark.thorough
def test_failing_checks_that_an_earlier_update_left_are_gone_back_from(ship: Any, good: dict[str, Any]) -> None:
    ship.configure(overrides(NO_SUCH_WORDS))
    left = ship.slipway("up", "-s", "e2e", "--yes", "--no-rollback")
    assert left.code == 1, left.output
    registry = ship.environment["SLIPWAY_REGISTRY"].rpartition("/")[0] + "/moved"
    refused = ship.with_environment(SLIPWAY_REGISTRY=registry).slipway("up", "-s", "e2e", "--yes")
    assert refused.code == 5, "where the rollback is refused too, the commands are said: " + refused.output
    assert "no such words" in refused.output
    assert "image-registry" in refused.output
    assert f'slipway rollback -s e2e --to {GOOD} --break-glass "REASON"' in refused.output
    result = ship.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 4, result.output
    is_whole(ship, GOOD, result.output)
    assert seen(ship) == good
