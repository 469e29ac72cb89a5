"""Releases on a cluster as others have them: the API server has no way to the pods, and few rights are given."""

from __future__ import annotations

import json
import re
import secrets
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.control_plane import APISERVER_USER_ID
from lab.settings import load_settings
from services.spec import Check
from slipway.cluster.checks import ReadyPods
from slipway.cluster.client import Cluster
from slipway.cluster.port_forward import PortForwards

pytestmark = [pytest.mark.lab, pytest.mark.e2e]

CLUSTER_NOTES = Path(__file__).resolve().parents[2] / "docs" / "cluster.md"
SERVICES = ("user-service", "order-service")
NOT_ANSWERED = "nothing listens on its port 9999"


def services(**more: dict[str, Any]) -> str:
    return f"  slipway:services: {json.dumps({name.replace('_', '-'): fields for name, fields in more.items()})}\n"


@pytest.fixture
def port(project: Any) -> Iterator[int]:
    """A port that both services listen on, to which the API server's own user cannot connect.

    Of this test alone, so that whoever else uses the lab is not shut off.
    """
    number = 20000 + secrets.randbelow(10000)
    for name in SERVICES:
        project.replace(f"services/{name.replace('-', '_')}/service.yaml", "port: 8080", f"port: {number}")
    match = ["-p", "tcp", "--dport", str(number), "-m", "owner", "--uid-owner", str(APISERVER_USER_ID)]
    for action in ("-I", "-D"):
        subprocess.run(["iptables", "--wait", action, "OUTPUT", *match, "-j", "REJECT"], check=True)
        if action == "-I":
            yield number


@pytest.fixture
def shut_off(project: Any, port: int) -> Any:
    """The services of this repository, released where the API server has no way to them."""
    done = project.slipway("up", "-s", "e2e", "--yes")
    assert done.code == 0, done.output
    return project


def test_with_exactly_the_documented_rights_where_the_api_server_cannot_reach_the_pods(
    project: Any, port: int, tmp_path: Path
) -> None:
    """docs/cluster.md has the Role; without one of its rules for checks, nothing is touched."""
    role = yaml.safe_load(re.findall(r"```yaml\n(kind: Role\n.*?)```", CLUSTER_NOTES.read_text(), re.DOTALL)[0])
    namespace = project.namespace
    existing = {"name": namespace, "managed": False}
    project.configure(namespace=existing)
    created = project.run("kubectl", "create", "namespace", namespace)
    assert created.code == 0, created.output
    without = {**role, "rules": [rule for rule in role["rules"] if "pods/portforward" not in rule["resources"]]}
    allowed = as_service_account(project, tmp_path, without)
    refused = allowed.slipway("up", "-s", "e2e", "--yes")
    assert refused.code == 2, refused.output
    assert f"in namespace {namespace} this kubeconfig may not `get` pods/portforward" in flat(refused.output)
    assert not project.deployments()
    allowed = as_service_account(project, tmp_path, role)
    for command in (("up", "-s", "e2e", "--yes"), ("verify", "-s", "e2e"), ("drift", "-s", "e2e")):
        done = allowed.slipway(*command)
        assert done.code == 0, done.output
    path = f"/api/v1/namespaces/{namespace}/services/user-service:http/proxy/users"
    through_the_api_server = project.run("kubectl", "get", "--raw", path)
    assert through_the_api_server.code != 0, "nothing was blocked"
    assert project.outputs()["checks"] == 2

    # A Service that leads to a port that nothing listens on.
    leads_to = json.dumps([{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 9999}])
    for patch, found in ((leads_to, True), (leads_to.replace("9999", '"http"'), False)):
        patched = project.run("kubectl", "-n", namespace, "patch", "svc", "user-service", "--type=json", "-p", patch)
        assert patched.code == 0, patched.output
        verified = allowed.slipway("verify", "-s", "e2e")
        assert (verified.code, NOT_ANSWERED in flat(verified.output)) == (int(found), found), verified.output

    no_such_words = services(user_service={"checks": [{"get": "/users", "has": "no such words"}]})
    project.configure(no_such_words, namespace=existing)
    failed = allowed.slipway("up", "-s", "e2e", "--yes")
    assert failed.code == 4, failed.output


@pytest.mark.thorough
def test_a_check_asks_each_pod_and_names_the_one_that_answers_differently(project: Any, port: int) -> None:
    """Each has a database of its own."""
    empty = {"replicas": 2, "checks": [{"get": "/users", "json": {"$.total": 0}}]}
    project.configure(services(user_service=empty))
    done = project.slipway("up", "-s", "e2e", "--yes")
    assert done.code == 0, done.output
    pods = answering_pods(project)
    assert len(pods) == 2
    cluster = Cluster.connect(None, project.environment["KUBECONFIG"])
    status, _ = PortForwards(cluster.client).request(
        project.namespace,
        pods[1],
        port,
        method="POST",
        path="/users",
        headers={"Content-Type": "application/json"},
        body=json.dumps({"name": "Ada", "email": "ada@example.com"}).encode(),
        timeout_seconds=10,
    )
    assert status == 201
    verified = project.slipway("verify", "-s", "e2e")
    assert verified.code == 1, verified.output
    assert f"GET /users of pod {pods[1]} answered 200" in flat(verified.output)
    assert "expected 0 at $.total, which is 1 (1 of 2 pods, asked" in flat(verified.output)
    failed = project.slipway("up", "-s", "e2e", "--yes")
    assert f"GET /users of pod {pods[1]} answered 200" in flat(failed.output), failed.output


@pytest.mark.thorough
def test_the_first_answer_counts_and_every_kind_of_request_is_sent(shut_off: Any, port: int) -> None:
    """The same check is met in an update and by `verify`: neither follows a redirect."""
    del port
    moved = (
        '\n\n@users.get("/moved")\ndef moved() -> Response:\n'
        '    return Response(status=302, headers={"Location": "http://127.0.0.1:1/elsewhere"})\n'
        '\n\n@users.post("/echo")\ndef echo() -> tuple[Response, int]:\n'
        "    from flask import request\n\n"
        '    said, name = request.get_json(), request.headers["X-For"]\n'
        '    return jsonify({"said": said, "for": name, "host": request.host}), 202\n'
    )
    source = shut_off.folder / "services/user_service/user_service/routes.py"
    source.write_text(source.read_text() + moved)
    checks = [
        {"get": "/moved", "status": 302},
        {"head": "/users"},
        {
            "post": "/echo",
            "body": {"text": "boat"},
            "headers": {"X-For": "a check"},
            "status": 202,
            "json": {"$.said.text": "boat", "$.for": "a check", "$.host": "user-service"},
            "timeoutSeconds": 5,
        },
    ]
    shut_off.configure(services(user_service={"checks": checks}))
    for command in (("up", "-s", "e2e", "--yes"), ("verify", "-s", "e2e")):
        done = shut_off.slipway(*command)
        assert done.code == 0, done.output


@pytest.mark.thorough
def test_a_changed_port_and_a_removed_call_shut_no_old_pod_off(released: Any) -> None:
    """What the policy before opens stays open until the pods before are gone."""
    seen: list[tuple[list[str], bool]] = []
    before = policies(released)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.3):
            deployments = released.deployments()
            rolled_out = all(
                each["metadata"]["generation"] == each["status"].get("observedGeneration")
                and each["status"].get("updatedReplicas") == each["status"].get("replicas")
                for each in deployments.values()
            )
            seen.append((policies(released), rolled_out))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        changed: dict[str, Any] = {
            "user_service": {"port": 8081},
            "order_service": {"calls": [], "env": {"USER_SERVICE_URL": "http://user-service"}},
        }
        released.configure(services(**changed))
        result = released.slipway("up", "-s", "e2e", "--yes")
    finally:
        done.set()
        watching.join()
    assert result.code == 0, result.output
    after = policies(released)
    assert set(after).isdisjoint(before), "both services have another policy"
    assert any({*before, *after} == set(names) for names, _ in seen), "both are there at once"
    assert not [names for names, rolled_out in seen if not rolled_out and not set(before) <= set(names)]
    assert all(str(each).count("'port': 'http'") for each in rules(released))


@pytest.mark.thorough
def test_a_stack_whose_policies_have_the_names_of_their_services_goes_on_and_back(project: Any) -> None:
    """As every release before this one made them."""
    components, hashed = "components/workload.py", "name = self._hashed(json.dumps(rules, sort_keys=True).encode())"
    project.replace(components, hashed, "name = self._name")
    first = project.slipway("up", "-s", "e2e", "--yes")
    assert first.code == 0, first.output
    assert sorted(policies(project)) == sorted(SERVICES)
    project.replace(components, "name = self._name\n", f"{hashed}\n")
    second = project.slipway("up", "-s", "e2e", "--yes")
    assert second.code == 0, second.output
    assert set(policies(project)).isdisjoint(SERVICES)
    back = project.slipway("rollback", "-s", "e2e", "--to", "1", "--yes")
    assert back.code == 0, back.output
    assert sorted(policies(project)) == sorted(SERVICES)
    again = project.slipway("up", "-s", "e2e", "--yes")
    assert again.code == 0, again.output


def as_service_account(project: Any, folder: Path, role: dict[str, Any]) -> Any:
    """The project with a kubeconfig whose token an exec plugin prints, bound to the Role alone."""
    name = "releaser"
    objects = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
        {**role, "metadata": {"name": name}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name}],
        },
    ]
    file = folder / "account.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    applied = project.run("kubectl", "-n", project.namespace, "apply", "-f", str(file))
    assert applied.code == 0, applied.output
    token = project.run("kubectl", "-n", project.namespace, "create", "token", name)
    assert token.code == 0, token.output
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": token.output.strip()},
    }
    (folder / "credential.json").write_text(json.dumps(credential))
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "cat",
        "args": [str(folder / "credential.json")],
        "interactiveMode": "Never",
    }
    content = yaml.safe_load(Path(project.environment["KUBECONFIG"]).read_text())
    content["users"] = [{"name": content["users"][0]["name"], "user": {"exec": plugin}}]
    (folder / "kubeconfig").write_text(yaml.safe_dump(content))
    return project.with_environment(KUBECONFIG=str(folder / "kubeconfig"))


@pytest.mark.thorough
def test_loopback_is_never_reached_through_a_proxy(project: Any) -> None:
    """One that is named in the environment, as in many offices, and knows nothing of this machine's own addresses."""
    variables = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), "http://127.0.0.1:1")
    behind = project.with_environment(**variables)
    for name in ("NO_PROXY", "no_proxy"):
        behind.environment.pop(name, None)
    checks = [{"get": "/users"}]
    behind.configure(services(user_service={"checks": checks}))
    # What the lab's registry has is built already: a build would ask for packages through the proxy.
    released = project.slipway("up", "-s", "e2e", "--yes")
    assert released.code == 0, released.output
    behind.configure(services(user_service={"checks": checks, "resources": {"memory": "130Mi"}}))
    for command in (("up", "-s", "e2e", "--yes"), ("verify", "-s", "e2e")):
        done = behind.slipway(*command)
        assert done.code == 0, done.output


def test_a_proxy_that_keeps_the_cluster_away_is_named_before_anything_is_touched(project: Any, tmp_path: Path) -> None:
    content = yaml.safe_load(Path(project.environment["KUBECONFIG"]).read_text())
    address = load_settings().network.node_address
    server = content["clusters"][0]["cluster"]["server"].replace("127.0.0.1", address)
    content["clusters"][0]["cluster"]["server"] = server
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(content))
    variables = {"HTTPS_PROXY": "http://127.0.0.1:1", "KUBECONFIG": str(tmp_path / "kubeconfig")}
    behind = project.with_environment(**variables)
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        behind.environment.pop(name, None)
    assert project.run("pulumi", "stack", "init", "e2e").code == 0
    for refused in (behind.slipway("up", "-s", "e2e", "--yes"), behind.up()):
        assert refused.code != 0, refused.output
        named = f"{server} does not answer through the proxy http://127.0.0.1:1, which HTTPS_PROXY in the environment"
        assert named in flat(refused.output), refused.output
        assert f"add {address} to NO_PROXY" in flat(refused.output), refused.output
    assert not project.deployments()


@pytest.mark.thorough
def test_a_proxy_that_the_kubeconfig_names_is_gone_through(released: Any, tmp_path: Path) -> None:
    """With a tunnel for every pod, and its password."""
    with proxy() as (address, tunnels):
        content = yaml.safe_load(Path(released.environment["KUBECONFIG"]).read_text())
        content["clusters"][0]["cluster"]["proxy-url"] = f"http://ada:pass%20word@{address}"
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump(content))
        ask = ReadyPods(Cluster.connect(None, str(file)), released.namespace)
        (answer,) = ask("user-service", Check(get="/users"), 10)
    assert answer.status == 200
    assert len(tunnels) == 2, "the list of EndpointSlices, and the pod"
    assert all("proxy-authorization: basic ywrhonbhc3mgd29yza==" in each.lower() for each in tunnels)


@contextmanager
def proxy() -> Iterator[tuple[str, list[str]]]:
    """An HTTP proxy that opens tunnels; yields its address and the requests that it got."""
    tunnels: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def copy(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            target.close()

    def serve(client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65536)
        tunnels.append(head.decode())
        host, _, number = head.split()[1].decode().rpartition(":")
        server = socket.create_connection((host, int(number)))
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        threading.Thread(target=copy, args=(client, server), daemon=True).start()
        copy(server, client)

    def accept() -> None:
        try:
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
        except OSError:  # closed
            return

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", tunnels
    finally:
        listener.close()


def answering_pods(project: Any) -> list[str]:
    cluster = Cluster.connect(None, project.environment["KUBECONFIG"])
    ask: Callable[..., Any] = ReadyPods(cluster, project.namespace)
    return [answer.pod for answer in ask("user-service", Check(get="/users"), 10)]


def rules(project: Any) -> list[Any]:
    path = f"/apis/networking.k8s.io/v1/namespaces/{project.namespace}/networkpolicies"
    return [item["spec"] for item in project.get(path)["items"] if item["spec"].get("ingress")]


def policies(project: Any) -> list[str]:
    path = f"/apis/networking.k8s.io/v1/namespaces/{project.namespace}/networkpolicies"
    return [item["metadata"]["name"] for item in project.get(path)["items"]]


def flat(text: str) -> str:
    return " ".join(text.split())
