"""A release that changes everything, and every way back from it, on the real lab.

The tests build on each other, in this order; a number is that of an update, as `slipway history` has it.
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

FAILED, GOOD, CHANGED, UNKNOWN = 1, 2, 3, 99
# A label: another image, and the same service.
DOCKERFILE, LABEL = "services/user_service/Dockerfile", "The people who may"
POLICY = "networking.v1.NetworkPolicy(self._name, metadata=self._metadata(), spec=rules, opts=self._child())"
RENAMED_POLICY = """networking.v1.NetworkPolicy(
            f"{self._name}-policy",
            metadata=self._metadata(),
            spec=rules,
            opts=ResourceOptions(parent=self, aliases=[pulumi.Alias(name=self._name)]),
        )"""
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


@pytest.fixture(scope="module")
def ship(project: Any) -> Any:
    """The project, with images that no other run of these tests has, so that one of them may be deleted."""
    project.environment["SLIPWAY_REGISTRY"] += f"/{secrets.token_hex(3)}"
    tests = project.folder / "services" / "user_service" / "tests"
    for file in tests.glob("test_*.py"):  # half a minute each time, and none of them is about this
        file.unlink()
    (tests / "test_one.py").write_text("def test_one() -> None:\n    assert 1 + 1 == 2\n")
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
    then, now = states.told(states.recorded(project, target)), states.told(states.present(project))
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


def test_a_failing_first_release_has_nothing_to_go_back_to(ship: Any) -> None:
    ship.configure(overrides(NO_SUCH_WORDS))
    result = ship.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 1, result.output
    assert "no such words" in result.output
    assert "There is no earlier state of e2e to go back to." in result.output
    refused = ship.slipway("rollback", "-s", "e2e", "--yes")
    assert refused.code == 2, refused.output
    assert "no earlier state" in refused.output
    assert states.count(ship) == FAILED


def test_one_good_release_alone_is_nothing_to_roll_back(ship: Any) -> None:
    ship.configure("")
    result = ship.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    assert states.count(ship) == GOOD
    for arguments in ((), ("--to", str(GOOD))):
        refused = ship.slipway("rollback", "-s", "e2e", "--yes", *arguments)
        assert refused.code == 2, refused.output
        assert "Traceback" not in refused.output
    assert states.count(ship) == GOOD


@pytest.fixture(scope="module")
def good(ship: Any) -> dict[str, Any]:
    """What ran after the good release, and still does when the next test begins."""
    return seen(ship)


@pytest.fixture(scope="module")
def changed(ship: Any, good: dict[str, Any]) -> dict[str, Any]:
    """What ran after the release that changed everything."""
    made = ship.slipway("new", "parcel-service")
    assert made.code == 0, made.output
    ship.replace(DOCKERFILE, LABEL, f"Changed. {LABEL}")
    ship.replace("components/microservice.py", POLICY, RENAMED_POLICY)
    configure(ship, NEW)
    result = ship.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    return seen(ship)


def configure(project: Any, *more: dict[str, Any], settings: str = "") -> None:
    """The settings of the changed release, secret and all, with `more` overrides of the services."""
    file = project.folder / "Pulumi.e2e.yaml"
    project.configure(overrides(NEW, *more) + settings)
    file.write_text(file.read_text().replace("/data/users.db", "/data/people.db"))


def test_the_release_changes_everything(ship: Any, good: dict[str, Any], changed: dict[str, Any]) -> None:
    assert states.count(ship) == CHANGED
    for key in ("image", "replicas", "level", "database"):
        assert changed["user-service"][key] != good["user-service"][key], key
    assert changed["order-service"] == {**good["order-service"], "port": 8081}
    assert set(changed) - set(good) == {"parcel-service"}
    named = {urn.rsplit("::", 1)[-1] for urn in states.present(ship) if "NetworkPolicy" in urn}
    assert named == {"user-service-policy", "order-service-policy", "parcel-service-policy"}


def test_a_preview_changes_nothing_and_needs_no_exported_variable(ship: Any, changed: dict[str, Any]) -> None:
    before, content = states.in_cluster(ship), states.state_file(ship).read_bytes()
    bare = ship.with_environment()
    bare.environment = {key: each for key, each in ship.environment.items() if not key.startswith("SLIPWAY_")}
    for project in (ship, bare):
        result = project.slipway("rollback", "-s", "e2e", "--preview")
        assert result.code == 0, result.output
        assert f"Rollback of e2e from #{CHANGED} to #{GOOD}" in result.output
        flat = " ".join(result.output.split())
        assert "spec.replicas: 2 → 1" in flat
        assert "parcel-service" in flat
        assert "people.db" not in flat
    assert states.in_cluster(ship) == before
    assert states.state_file(ship).read_bytes() == content
    assert states.count(ship) == CHANGED


def test_a_rollback_without_the_sources_brings_everything_back(
    ship: Any, good: dict[str, Any], changed: dict[str, Any]
) -> None:
    before = states.in_cluster(ship)
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
    for name in ("networkpolicies user-service", "services user-service", "deployments user-service"):
        assert after[name][0] == before[name][0], f"{name} is another one"
    assert states.outputs(ship, CHANGED + 1) == states.outputs(ship, GOOD)
    last = states.history(ship)[-1]
    assert (last["kind"], last["succeeded"]) == ("rollback", True)
    assert last["rollback"] == {"source": CHANGED, "target": GOOD, "services": [], "overriddenPolicies": ""}


def test_right_after_a_rollback_there_is_no_older_state(ship: Any) -> None:
    content = states.state_file(ship).read_bytes()
    for arguments in ((), ("--to", str(GOOD))):
        refused = ship.slipway("rollback", "-s", "e2e", "--yes", *arguments)
        assert refused.code == 2, refused.output
    assert states.state_file(ship).read_bytes() == content


def test_a_rollback_is_rolled_back(ship: Any, changed: dict[str, Any]) -> None:
    before = states.in_cluster(ship)
    with without_sources(ship):
        result = ship.slipway("rollback", "-s", "e2e", "--yes", "--to", str(CHANGED))
    assert result.code == 0, result.output
    assert "3 checks met" in result.output
    is_whole(ship, CHANGED, result.output)
    no_image_touched(ship, states.count(ship))
    assert seen(ship) == changed
    assert states.in_cluster(ship)["networkpolicies user-service"][0] == before["networkpolicies user-service"][0]


def test_one_service_goes_back_and_the_others_are_not_touched(
    ship: Any, good: dict[str, Any], changed: dict[str, Any]
) -> None:
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
    assert states.told(states.of_service(now, "user-service")) == states.told(
        states.of_service(states.recorded(ship, GOOD), "user-service")
    )
    total = states.number_of_inputs(states.told(states.of_service(now, "user-service")))
    assert total > 50
    assert f"user-service of e2e is back at #{GOOD}: {total}/{total} recorded inputs are the same" in result.output
    assert states.history(ship)[-1]["rollback"]["services"] == ["user-service"]


def test_a_rotated_secret_is_left_alone(ship: Any, good: dict[str, Any], changed: dict[str, Any]) -> None:
    result = ship.slipway(
        "rollback", "-s", "e2e", "--yes", "--to", str(CHANGED), "--service", "user-service", "--keep-secrets"
    )
    assert result.code == 0, result.output
    expected = {**changed["user-service"], "database": good["user-service"]["database"]}
    assert seen(ship) == {**changed, "user-service": expected}
    total = states.number_of_inputs(states.told(states.of_service(states.present(ship), "user-service")))
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
    held = {"pid": 1, "username": "ada", "hostname": "another-machine", "timestamp": "2030-01-01T00:00:00Z"}
    file.write_text(json.dumps(held))
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
    pytest.param(as_it_is, ("--to", str(UNKNOWN)), {}, 2, "There is no update #99 of e2e", id="unknown"),
    pytest.param(as_it_is, ("--to", str(FAILED)), {}, 2, "it failed", id="failed"),
    pytest.param(as_it_is, (*TO_GOOD, "--service", "nope"), {}, 2, "order-service, user-service", id="unknown service"),
    pytest.param(
        as_it_is,
        (*TO_GOOD, "--service", "parcel-service"),
        {},
        2,
        f"Update #{GOOD} has no service parcel-service",
        id="service that it lacks",
    ),
    pytest.param(
        as_it_is, TO_GOOD, {"PULUMI_CONFIG_PASSPHRASE": "wrong"}, 2, "PULUMI_CONFIG_PASSPHRASE", id="passphrase"
    ),
    pytest.param(as_it_is, TO_GOOD, ELSEWHERE, 3, "image-registry", id="policies"),
    pytest.param(torn_checkpoint, TO_GOOD, {}, 2, ".checkpoint.json", id="torn state"),
    pytest.param(torn_record, TO_GOOD, {}, 2, ".history.json", id="torn record"),
    pytest.param(locked, TO_GOOD, {}, 1, "ada@another-machine", id="locked"),
]


@pytest.mark.parametrize(("wrong", "asked", "variables", "code", "said"), REFUSED)
def test_what_must_not_be_is_refused_before_anything_is_touched(
    ship: Any, *, wrong: Any, asked: tuple[str, ...], variables: dict[str, str], code: int, said: str
) -> None:
    before, content, updates = states.in_cluster(ship), states.state_file(ship).read_bytes(), states.count(ship)
    with wrong(ship):
        result = ship.with_environment(**variables).slipway("rollback", "-s", "e2e", "--yes", *asked)
    assert result.code == code, result.output
    assert said in " ".join(result.output.split()), result.output
    assert "Traceback" not in result.output
    assert "people.db" not in result.output
    assert states.in_cluster(ship) == before
    assert states.state_file(ship).read_bytes() == content
    assert states.count(ship) == updates


def test_a_state_of_another_cluster_is_refused(ship: Any) -> None:
    before, recorded, outputs = states.in_cluster(ship), states.present(ship), ship.outputs()
    cluster = next(each for each in recorded.values() if each["type"] == "slipway:index:Environment")["outputs"][
        "cluster"
    ]
    with edited(states.checkpoint_files(ship)[GOOD - 1], lambda text: text.replace(cluster, "0" * len(cluster))):
        result = ship.slipway("rollback", "-s", "e2e", "--yes", *TO_GOOD)
    assert result.code == 1, result.output
    assert "of another cluster" in result.output
    assert cluster in result.output
    assert states.in_cluster(ship) == before
    assert states.told(states.present(ship)) == states.told(recorded)
    assert ship.outputs() == outputs


def test_a_reason_overrides_the_policies_and_is_recorded(ship: Any, good: dict[str, Any]) -> None:
    elsewhere = ship.with_environment(**ELSEWHERE)
    result = elsewhere.slipway("rollback", "-s", "e2e", "--yes", *TO_GOOD, "--break-glass", "the harbour burns")
    assert result.code == 0, result.output
    is_whole(ship, GOOD, result.output)
    assert seen(ship) == good
    assert states.history(ship)[-1]["rollback"]["overriddenPolicies"] == "the harbour burns"


def test_a_waiver_lets_a_rollback_through_without_a_reason(ship: Any) -> None:
    waivers = [
        {
            "rule": "image-registry",
            "resource": f"Deployment/{name}",
            "reason": "the registry moved",
            "expires": "2099-12-31",
        }
        for name in ("user-service", "order-service", "parcel-service")
    ]
    elsewhere = ship.with_environment(**ELSEWHERE)
    with edited(ship.folder / "policy" / "waivers.yaml", lambda _: f"waivers: {json.dumps(waivers)}\n"):
        result = elsewhere.slipway("rollback", "-s", "e2e", "--preview", "--to", str(CHANGED))
    assert result.code == 0, result.output
    assert "image-registry" in result.output


@pytest.mark.parametrize(("number", "said"), [(UNKNOWN, "There is no update #99"), (FAILED, "failed")])
def test_a_setting_that_names_no_good_update_changes_nothing(ship: Any, number: int, said: str) -> None:
    before, recorded = states.in_cluster(ship), states.told(states.present(ship))
    configure(ship, settings=f"  slipway:rollbackTo: {number}\n")
    result = ship.up()
    assert result.code != 0
    assert said in result.output, result.output
    assert "Traceback" not in result.output
    assert states.in_cluster(ship) == before
    assert states.told(states.present(ship)) == recorded


def test_a_setting_in_git_is_shown_and_then_carried_out_by_a_plain_update(ship: Any, changed: dict[str, Any]) -> None:
    configure(ship, settings=f"  slipway:rollbackTo: {CHANGED}\n")
    with without_sources(ship):
        shown = ship.slipway("preview", "-s", "e2e")
        assert shown.code == 0, shown.output
        assert "spec.replicas: 1 → 2" in " ".join(shown.output.split())
        assert "parcel-service" in shown.output
        result = ship.up()
    assert result.code == 0, result.output
    is_whole(ship, CHANGED)
    assert seen(ship) == changed
    last = states.history(ship)[-1]
    assert (last["kind"], last["rollback"]["target"]) == ("rollback", CHANGED)
    assert last["rollback"]["source"] == states.count(ship) - 1
    again = ship.slipway("up", "-s", "e2e", "--yes")
    assert again.code == 0, again.output
    is_whole(ship, CHANGED, again.output)


def test_without_the_setting_the_program_goes_forward(ship: Any, changed: dict[str, Any]) -> None:
    configure(ship, {"order-service": {"replicas": 2}})
    result = ship.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    forward = {**changed["order-service"], "replicas": 2}
    assert seen(ship) == {**changed, "order-service": forward}
    assert states.history(ship)[-1]["kind"] == "update"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        pytest.param(NO_SUCH_WORDS, "no such words", id="a failing check"),
        pytest.param(TOO_LITTLE_MEMORY, "limit of 12Mi", id="a failing rollout"),
    ],
)
def test_a_bad_release_goes_back_by_itself(ship: Any, changed: dict[str, Any], bad: Any, said: str) -> None:
    before, last_good = seen(ship), states.count(ship)
    configure(ship, {"order-service": {"replicas": 2}}, bad, {"user-service": {**bad["user-service"], "replicas": 3}})
    result = ship.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 4, result.output
    flat = " ".join(result.output.split())
    assert said in flat, "why it failed comes first"
    assert flat.index(said) < flat.index(f"was rolled back to #{last_good}")
    assert "3 checks met" in result.output
    is_whole(ship, last_good, result.output)
    assert seen(ship) == before
    assert answers(ship, "user-service", "/users") == 200
    last = states.history(ship)[-2:]
    assert [each["succeeded"] for each in last] == [False, True]
    assert (last[1]["rollback"]["source"], last[1]["rollback"]["target"]) == (last_good + 1, last_good)


def test_the_mended_program_goes_forward(ship: Any) -> None:
    configure(ship, {"user-service": {"replicas": 1}})
    result = ship.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 0, result.output
    assert seen(ship)["user-service"]["replicas"] == 1


def test_a_wreck_is_left_for_a_look_and_then_rolled_back(ship: Any) -> None:
    before, last_good = seen(ship), states.count(ship)
    configure(ship, {"user-service": {**TOO_LITTLE_MEMORY["user-service"], "replicas": 1}})
    result = ship.slipway("up", "-s", "e2e", "--yes", "--no-rollback")
    assert result.code == 1, result.output
    assert states.count(ship) == last_good + 1
    assert ship.deployments()["user-service"]["status"].get("unavailableReplicas")
    back = ship.slipway("rollback", "-s", "e2e", "--yes")
    assert back.code == 0, back.output
    assert f"to #{last_good}," in back.output
    is_whole(ship, last_good, back.output)
    assert seen(ship) == before


@pytest.mark.parametrize("by_setting", [True, False], ids=["by a setting in git", "by the program before"])
def test_plain_updates_go_back_from_one_that_failed(ship: Any, by_setting: bool) -> None:
    """The ConfigMap and the Secret that it brought others for are still there, and are no obstacle."""
    before, last_good = seen(ship), states.count(ship)
    bad = {"env": {"LOG_LEVEL": "warning"}, "resources": {"memory": "12Mi"}}
    configure(ship, {"user-service": {**bad, "replicas": 1}})
    file = ship.folder / "Pulumi.e2e.yaml"
    file.write_text(file.read_text().replace("/data/people.db", "/data/nobody.db"))
    failed = ship.up()
    assert failed.code != 0
    assert "limit of 12Mi" in " ".join(failed.output.split()), failed.output
    settings = f"  slipway:rollbackTo: {last_good}\n" if by_setting else ""
    configure(ship, {"user-service": {"replicas": 1}}, settings=settings)
    result = ship.up()
    assert result.code == 0, result.output
    is_whole(ship, last_good)
    assert seen(ship) == before
    hashed = [
        name for name in states.in_cluster(ship) if re.search(r"^(configmaps|secrets) user-service-[0-9a-f]{8}$", name)
    ]
    assert len(hashed) == 2, "what the failed one brought is gone"


def test_failing_checks_that_an_earlier_update_left_are_gone_back_from(ship: Any) -> None:
    before, last_good = seen(ship), states.count(ship)
    configure(ship, {"user-service": {**NO_SUCH_WORDS["user-service"], "replicas": 1}})
    left = ship.slipway("up", "-s", "e2e", "--yes", "--no-rollback")
    assert left.code == 1, left.output
    result = ship.slipway("up", "-s", "e2e", "--yes")
    assert result.code == 4, result.output
    is_whole(ship, last_good, result.output)
    assert seen(ship) == before


def test_where_the_rollback_is_refused_too_the_commands_are_said(ship: Any) -> None:
    last_good = states.count(ship) - 2  # a wreck and a rollback are the last
    configure(ship, {"user-service": {**NO_SUCH_WORDS["user-service"], "replicas": 1}})
    registry = ship.environment["SLIPWAY_REGISTRY"].rpartition("/")[0] + "/moved"
    result = ship.with_environment(SLIPWAY_REGISTRY=registry).slipway("up", "-s", "e2e", "--yes")
    assert result.code == 5, result.output
    assert "no such words" in result.output
    assert "image-registry" in result.output
    assert f'slipway rollback -s e2e --to {last_good + 2} --break-glass "REASON"' in result.output
    configure(ship, {"user-service": {"replicas": 1}})
    mended = ship.slipway("up", "-s", "e2e", "--yes")
    assert mended.code == 0, mended.output


def delete_image(image: str) -> None:
    """What a registry's clean-up does."""
    host, _, rest = image.partition("/")
    name, _, digest = rest.partition("@")
    gone = httpx.delete(f"http://{host}/v2/{name}/manifests/{digest}")
    assert gone.status_code == 202, gone.text


def test_an_image_that_is_gone_from_the_registry_is_refused(ship: Any, good: dict[str, Any]) -> None:
    delete_image(good["user-service"]["image"])
    before, recorded, outputs = states.in_cluster(ship), states.told(states.present(ship)), ship.outputs()
    result = ship.slipway("rollback", "-s", "e2e", "--yes", *TO_GOOD)
    assert result.code == 1, result.output
    assert "the registry does not have what that state runs" in result.output.lower()
    assert good["user-service"]["image"] in " ".join(result.output.split())
    assert states.in_cluster(ship) == before
    assert states.told(states.present(ship)) == recorded
    assert ship.outputs() == outputs
