"""Which context is used, what the cluster is asked, and what is made of refusals: a real HTTP server answers."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from components.preflight import kubeconfig_problem
from slipway.cluster.checks import missing_rights
from slipway.cluster.client import Cluster, ClusterError, KubeconfigError, NotFoundError, _selector_of, read_kubeconfig
from slipway.cluster.diagnosis import Cause, screen

RECORDED = Path(__file__).parent / "diagnosis" / "recorded"
NAMESPACE = "diagnosis-capture"


class Server(ThreadingHTTPServer):
    """Serves a recorded failure; `refused` are the last words of paths that are answered 403."""

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())
        self.refused: set[str] = set()
        self.paths: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        path, _, query = self.path.partition("?")
        kind, content = path.rsplit("/", 1)[-1], self.server.content
        if kind in self.server.refused:
            return self._answer(403, {"message": f"you may not list {kind}"})
        if kind == "log":
            runs = {log["previous"]: log["text"] for log in content["logs"]}
            return self._answer(200, _log(runs.get("previous=true" in query, ""), parse_qs(query)))
        if kind == content["deployment"]["metadata"]["name"]:
            return self._answer(200, content["deployment"])
        if kind == "deployments":
            return self._answer(200, {"items": [content["deployment"]]})
        listed = {"replicasets": "replicaSets", "pods": "pods", "events": "events"}.get(kind)
        return self._answer(200, {"items": content[listed]}) if listed else self._answer(404, {"message": "not here"})

    def do_POST(self) -> None:
        """Whether something is allowed: all that is not among the `refused`, as `verb resource/subresource`."""
        attributes = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["spec"]["resourceAttributes"]
        words = f"{attributes['verb']} {attributes['resource']}/{attributes['subresource']}"
        self._answer(201, {"status": {"allowed": words.rstrip("/") not in self.server.refused}})

    def _answer(self, status: int, body: Any) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def _log(text: str, query: dict[str, list[str]]) -> str:
    """As the kubelet does it: the last lines, and of these the first bytes."""
    lines = text.splitlines(keepends=True)[-int(query["tailLines"][0]) :]
    limit = int(query["limitBytes"][0]) if "limitBytes" in query else None
    return "".join(lines).encode()[:limit].decode(errors="replace")


def kubeconfig(file: Path, server: str) -> str:
    """A kubeconfig for a server that asks for no login."""
    clusters = [{"name": "c", "cluster": {"server": server}}]
    contexts = [{"name": "c", "context": {"cluster": "c", "user": "u"}}]
    content = {"clusters": clusters, "contexts": contexts, "users": [{"name": "u", "user": {}}], "current-context": "c"}
    file.write_text(json.dumps(content))
    return str(file)


def test_a_proxy_that_does_not_answer_is_named_with_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:hunter2@127.0.0.1:1")
    cluster = Cluster.connect(None, kubeconfig(tmp_path / "elsewhere", "https://api.example:6443"))
    with pytest.raises(ClusterError) as raised:
        cluster.now()
    message = str(raised.value)
    assert message.startswith("the cluster at https://api.example:6443 does not answer through the proxy http://ada:")
    assert "@127.0.0.1:1, which HTTPS_PROXY in the environment names: " in message
    assert message.endswith("; if it is reachable without a proxy, add api.example to NO_PROXY")
    assert "hunter2" not in message
    monkeypatch.setenv("NO_PROXY", "api.example")
    with pytest.raises(ClusterError) as raised:
        Cluster.connect(None, kubeconfig(tmp_path / "elsewhere", "https://api.example:6443")).now()
    assert "proxy" not in str(raised.value)


def test_rights_that_checks_lack_are_named(tmp_path: Path, server: Server) -> None:
    cluster = Cluster.connect(None, kubeconfig(tmp_path / "here", f"http://127.0.0.1:{server.server_address[1]}"))
    assert missing_rights(cluster, "shop") == ""
    server.refused = {"create pods/portforward", "list endpointslices", "get pods"}
    assert missing_rights(cluster, "shop").startswith(
        "in namespace shop this kubeconfig may not `list` endpointslices, nor `create` pods/portforward: "
    )


def test_loopback_is_reached_directly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    with pytest.raises(NotFoundError):
        Cluster.connect(None, kubeconfig(tmp_path / "here", address)).read("/nothing")
    assert server.paths == ["/nothing"]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server("readiness")
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def connected(server: Server, tmp_path: Path) -> Cluster:
    file = tmp_path / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    users = [{"name": "u", "user": {}}]
    file.write_text(json.dumps({"clusters": [cluster], "contexts": [context], "users": users, "current-context": "c"}))
    return Cluster.connect("c", str(file))


def test_a_diagnosis_takes_six_requests(server: Server, tmp_path: Path) -> None:
    diagnosis = connected(server, tmp_path).diagnosis(NAMESPACE, "readiness")
    assert diagnosis is not None
    assert diagnosis.cause is Cause.READINESS
    assert diagnosis.logs
    assert diagnosis.commands[0].startswith(f"kubectl --context c -n {NAMESPACE} logs ")
    assert len(server.paths) == 6, server.paths


def test_rollouts_read_pods_only_for_deployments_that_are_not_rolled_out(server: Server, tmp_path: Path) -> None:
    apps = f"/apis/apps/v1/namespaces/{NAMESPACE}"
    name, cluster = server.content["deployment"]["metadata"]["name"], connected(server, tmp_path)
    found = cluster.rollouts(NAMESPACE, {name})[name]
    assert len(found.pods) == len(server.content["pods"]) > 0
    (deployments, *of_pods), server.paths = [urlsplit(path) for path in server.paths], []
    assert (deployments.path, parse_qs(deployments.query)) == (f"{apps}/deployments", {"resourceVersion": ["0"]})
    assert {each.path for each in of_pods} == {f"{apps}/replicasets", f"/api/v1/namespaces/{NAMESPACE}/pods"}
    ((key, value),) = server.content["deployment"]["spec"]["selector"]["matchLabels"].items()
    assert {parse_qs(each.query)["labelSelector"][0] for each in of_pods} == {f"{key} in ({value})"}

    assert cluster.rollouts(NAMESPACE, {"another"})[name].pods == []
    server.content["deployment"]["status"] |= dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), 1)
    assert cluster.rollouts(NAMESPACE, {name})[name].pods == []
    assert len(server.paths) == 2
    assert len(cluster.rollouts(NAMESPACE)[name].pods) == len(server.content["pods"])


def test_pods_of_deployments_without_a_common_label_are_all_read() -> None:
    def deployment(**labels: str) -> Any:
        return {"spec": {"selector": {"matchLabels": labels}}}

    assert _selector_of([deployment(app="a", tier="x"), deployment(app="b", zone="y")]) == {
        "labelSelector": "app in (a,b)"
    }
    assert _selector_of([deployment(app="a"), deployment(tier="b")]) == {}
    assert _selector_of([deployment(app=f"a{number}") for number in range(21)]) == {}


def test_without_the_right_to_read_events_the_objects_still_tell(server: Server, tmp_path: Path) -> None:
    server.refused = {"events"}
    diagnosis = connected(server, tmp_path).diagnosis(NAMESPACE, "readiness")
    assert diagnosis is not None
    assert diagnosis.cause is Cause.STARTING
    assert "Running, not ready" in diagnosis.finding.state


def test_other_refusals_are_reported(server: Server, tmp_path: Path) -> None:
    server.refused = {"pods"}
    with pytest.raises(ClusterError, match="you may not list pods"):
        connected(server, tmp_path).diagnosis(NAMESPACE, "readiness")


def test_a_log_that_cannot_be_read_is_left_out(server: Server, tmp_path: Path) -> None:
    server.refused = {"log"}
    diagnosis = connected(server, tmp_path).diagnosis(NAMESPACE, "readiness")
    assert diagnosis is not None
    assert diagnosis.logs == ()


def test_a_deployment_that_is_not_there(server: Server, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        connected(server, tmp_path).diagnosis(NAMESPACE, "elsewhere")


def test_the_last_lines_of_a_service(server: Server, tmp_path: Path) -> None:
    lines = connected(server, tmp_path).log(NAMESPACE, "readiness", 3)
    assert lines
    assert "GET /readyz" in lines[-1]


@pytest.mark.parametrize("length", [2_000, 16_000])
def test_the_last_line_is_shown_however_long_the_lines_are(server: Server, tmp_path: Path, length: int) -> None:
    long_lines = [f"line {number:02} {'x' * length}" for number in range(59)]
    last = f"FATAL: the key ORDERS_URL is missing {'y' * length}"
    server.content["logs"][0]["text"] = "\n".join([*long_lines, last]) + "\n"
    cluster = connected(server, tmp_path)
    assert cluster.log(NAMESPACE, "readiness", 3)[-1] == last
    diagnosis = cluster.diagnosis(NAMESPACE, "readiness")
    assert diagnosis is not None
    assert "| FATAL: the key ORDERS_URL is missing yyy" in screen(diagnosis)


def test_the_log_is_that_of_the_service_whatever_stands_beside_it(server: Server, tmp_path: Path) -> None:
    for pod in server.content["pods"]:
        pod["spec"]["containers"].insert(0, {"name": "proxy"})
    assert connected(server, tmp_path).log(NAMESPACE, "readiness", 3)
    assert all("container=readiness" in path for path in server.paths if "/log?" in path)


def test_a_cluster_that_does_not_answer_is_named_with_its_address(server: Server, tmp_path: Path) -> None:
    cluster = connected(server, tmp_path)
    server.shutdown()
    server.server_close()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    with pytest.raises(ClusterError, match=f"^the cluster at {address} does not answer: .*Connection refused$"):
        cluster.now()


def test_no_kubeconfig(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no usable kubeconfig"):
        Cluster.connect(None, str(tmp_path / "none"))


def write_kubeconfig(file: Path, *contexts: str, current: str = "") -> Path:
    """A kubeconfig in which each context has a cluster of its own, at `http://CONTEXT.FILE.example`."""
    servers = {name: f"http://{name}.{file.name}.example" for name in contexts}
    content = {
        "clusters": [{"name": f"of-{name}", "cluster": {"server": server}} for name, server in servers.items()],
        "contexts": [{"name": name, "context": {"cluster": f"of-{name}", "user": "u"}} for name in contexts],
        "users": [{"name": "u", "user": {}}],
    }
    file.write_text(json.dumps(content | ({"current-context": current} if current else {})))
    return file


def test_a_context_can_be_named_where_there_is_no_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_kubeconfig(tmp_path / "a", "one", "two")
    monkeypatch.setenv("KUBECONFIG", str(file))
    assert kubeconfig_problem("two") == ""
    assert Cluster.connect("two", str(file)).client.configuration.host == "http://two.a.example"


@pytest.mark.parametrize(
    ("context", "current", "message"),
    [
        (None, "", "the kubeconfig has no current-context; name one with `slipway:context`, or choose one with"),
        (None, "gone", "the current-context is 'gone', which the kubeconfig does not have; it has: one, two"),
        ("three", "one", "`slipway:context` is 'three', which the kubeconfig does not have; it has: one, two"),
        ("three", "", "`slipway:context` is 'three', which the kubeconfig does not have; it has: one, two"),
    ],
)
def test_a_context_that_there_is_not_is_reported_before_any_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: str | None, current: str, message: str
) -> None:
    file = write_kubeconfig(tmp_path / "a", "one", "two", current=current)
    monkeypatch.setenv("KUBECONFIG", str(file))
    assert kubeconfig_problem(context).startswith(message)
    with pytest.raises(ClusterError, match="it has: one, two"):
        Cluster.connect(context, str(file))


def test_of_several_files_the_first_counts_as_it_does_for_kubectl(tmp_path: Path) -> None:
    """The Python client would take the last current-context: another cluster than kubectl and the provider."""
    files = [
        tmp_path / "missing",
        write_kubeconfig(tmp_path / "a", "one", current="one"),
        write_kubeconfig(tmp_path / "b", "two", "one", current="two"),
    ]
    variable = os.pathsep.join(map(str, files))
    found = read_kubeconfig(variable)
    assert (found.context(None), found.server("one"), found.server("two")) == (
        "one",
        "http://one.a.example",
        "http://two.b.example",
    )
    assert Cluster.connect(None, variable).client.configuration.host == "http://one.a.example"


@pytest.mark.parametrize("text", ["[", "- a", "contexts: [{context: {}}]", "\x00"])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    file = tmp_path / "a"
    file.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(file))
    with pytest.raises(KubeconfigError, match=f"{file} is not a kubeconfig: "):
        read_kubeconfig(str(file))
    assert kubeconfig_problem(None).startswith(f"{file} is not a kubeconfig: ")


def test_without_a_kubeconfig_only_what_needs_one_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert kubeconfig_problem(None) == ""
    assert kubeconfig_problem("x") == "`slipway:context` is 'x', but there is no kubeconfig to find it in"
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    assert kubeconfig_problem(None).startswith(f"KUBECONFIG names {tmp_path / 'missing'}, which does not exist")
