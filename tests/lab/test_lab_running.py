"""The running lab: healthy, closed to strangers, and able to do what a cluster is for."""

from __future__ import annotations

import json
import os
import socket
import ssl
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg
import pytest

from lab import postgres, proc
from lab.control_plane import APISERVER_USER_ID, apiserver_folder
from lab.images import Entry, ImageConfig, Registry, archive_of, compress_layer
from lab.lab import Lab
from lab.network import ip_json
from lab.settings import NODE_NAME, LabSettings
from lab.system import run
from slipway.cli import lab as command
from slipway.paths import CHECKOUT, lab_environment_file, toolchain_environment_file
from tests.lab_databases import lab_database

pytestmark = pytest.mark.lab

Eventually = Callable[[Callable[[], bool], str], None]


def environment() -> dict[str, str]:
    return dict(json.loads(lab_environment_file().read_text()))


def test_every_process_is_healthy(running_lab: Lab) -> None:
    found = {status.name: status.problem for status in running_lab.status()}
    assert found == dict.fromkeys(
        (
            "etcd",
            "registry",
            "containerd",
            "buildkitd",
            "postgres",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "coredns",
        ),
        "",
    )


def test_status_as_json_tells_pid_memory_and_log(capsys: pytest.CaptureFixture[str], lab_settings: LabSettings) -> None:
    assert command.status(json_output=True) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["healthy"] is True
    etcd = next(process for process in document["processes"] if process["name"] == "etcd")
    assert proc.command_line(etcd["pid"])[0].endswith("/etcd")
    assert etcd["memory_bytes"] > 1024 * 1024
    assert etcd["listens"] == ["127.0.0.1:2379", "127.0.0.1:2380"]
    assert Path(etcd["log"]).stat().st_size > 0


def test_the_node_is_ready(api: httpx.Client) -> None:
    conditions = api.get(f"/api/v1/nodes/{NODE_NAME}").json()["status"]["conditions"]
    assert {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False"}.items() <= {
        condition["type"]: condition["status"] for condition in conditions
    }.items()


@pytest.mark.parametrize("path", ["/version", "/readyz", "/api/v1/namespaces"])
def test_the_api_server_refuses_strangers(lab_settings: LabSettings, path: str) -> None:
    trusting = ssl.create_default_context(cafile=str(lab_settings.pki / "ca.crt"))
    answer = httpx.get(f"{lab_settings.apiserver_url}{path}", verify=trusting, trust_env=False)
    assert answer.status_code == 401


def test_the_kubelet_refuses_strangers(lab_settings: LabSettings) -> None:
    trusting = ssl.create_default_context(cafile=str(lab_settings.pki / "ca.crt"))
    address = f"https://{lab_settings.network.node_address}:{lab_settings.ports.kubelet}"
    answer = httpx.get(f"{address}/pods", verify=trusting, trust_env=False)
    assert answer.status_code == 401


def test_the_kubelet_asks_what_a_known_client_may(lab_settings: LabSettings) -> None:
    context = ssl.create_default_context(cafile=str(lab_settings.pki / "ca.crt"))
    context.load_cert_chain(lab_settings.pki / "proxy.crt", lab_settings.pki / "proxy.key")
    address = f"https://{lab_settings.network.node_address}:{lab_settings.ports.kubelet}"
    answer = httpx.get(f"{address}/pods", verify=context, trust_env=False)
    assert answer.status_code == 403


def test_a_component_may_do_its_own_work_only(lab_settings: LabSettings) -> None:
    context = ssl.create_default_context(cafile=str(lab_settings.pki / "ca.crt"))
    context.load_cert_chain(lab_settings.pki / "dns.crt", lab_settings.pki / "dns.key")
    with httpx.Client(base_url=lab_settings.apiserver_url, verify=context, trust_env=False) as client:
        assert client.get("/api/v1/services").status_code == 200
        assert client.get("/api/v1/secrets").status_code == 403


def test_etcd_refuses_clients_without_a_certificate_of_its_own(lab_settings: LabSettings) -> None:
    context = ssl.create_default_context(cafile=str(lab_settings.pki / "etcd-ca.crt"))
    context.load_cert_chain(lab_settings.pki / "admin.crt", lab_settings.pki / "admin.key")
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"https://127.0.0.1:{lab_settings.ports.etcd}/version", verify=context, trust_env=False)


def test_keys_kubeconfigs_and_secrets_are_roots_alone(lab_settings: LabSettings) -> None:
    private = [
        *lab_settings.pki.iterdir(),
        *lab_settings.config.glob("*.kubeconfig"),
        lab_environment_file(),
        lab_settings.passphrase_file,
        lab_settings.home / "kubeconfig",
        lab_settings.home / "postgres-password",
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    assert stat.S_IMODE(lab_settings.home.stat().st_mode) == 0o700


def test_the_api_server_is_a_user_of_its_own_and_its_keys_are_its_own_too(running_lab: Lab) -> None:
    process = running_lab.processes.running("kube-apiserver")
    assert process is not None
    assert (proc.PROC / str(process.pid)).stat().st_uid == APISERVER_USER_ID
    folder = apiserver_folder(running_lab.settings)
    assert (folder.stat().st_uid, stat.S_IMODE(folder.stat().st_mode)) == (APISERVER_USER_ID, 0o700)
    keys = [path.stat() for path in folder.glob("*.key")]
    assert {(key.st_uid, stat.S_IMODE(key.st_mode)) for key in keys} == {(APISERVER_USER_ID, 0o600)}


def test_pods_a_service_and_its_name(
    api: httpx.Client, namespace: str, lab_settings: LabSettings, eventually: Eventually
) -> None:
    """A pod answers by its ClusterIP from the host, and by its Service's name from another pod."""
    labels = {"app": "web"}
    api.post(
        f"/api/v1/namespaces/{namespace}/pods", json=_pod("web", labels, "-m", "http.server", "8080")
    ).raise_for_status()
    service = api.post(
        f"/api/v1/namespaces/{namespace}/services",
        json={"metadata": {"name": "web"}, "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}},
    )
    address = service.json()["spec"]["clusterIP"]
    eventually(lambda: _answers(f"http://{address}/etc/os-release"), "the Service answers on its ClusterIP")
    url = f"http://web.{namespace}.svc.cluster.local"
    script = f"import urllib.request; print(urllib.request.urlopen('{url}').status)"
    api.post(f"/api/v1/namespaces/{namespace}/pods", json=_pod("client", {}, "-c", script)).raise_for_status()
    eventually(lambda: _log(api, namespace, "client") == "200\n", "another pod reaches it by name")


def _pod(name: str, labels: dict[str, str], *arguments: str) -> dict[str, object]:
    container = {
        "name": "main",
        "image": environment()["SLIPWAY_BASE_IMAGE"],
        "command": ["python", *arguments],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    spec = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _log(api: httpx.Client, namespace: str, pod: str) -> str:
    return api.get(f"/api/v1/namespaces/{namespace}/pods/{pod}/log").text


def test_dns_answers_on_its_service_address(lab_settings: LabSettings) -> None:
    question = "kubernetes.default.svc.cluster.local"
    assert _resolve(question, lab_settings.network.dns_service) == lab_settings.network.apiserver_service


def _resolve(name: str, server: str) -> str:
    """Ask one server for one A record over UDP; the answer's last four bytes are the address."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack(">HHHHHH", 0x5117, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(5)
        connection.sendto(query, (server, 53))
        answer = connection.recv(512)
    assert struct.unpack(">HHHH", answer[:8]) == (0x5117, answer[2] << 8 | answer[3], 1, 1)
    return socket.inet_ntoa(answer[-4:])


@pytest.mark.parametrize("service", ["user_service", "order_service"])
def test_postgres_takes_the_password_on_the_address_that_pods_reach(service: str) -> None:
    url = lab_database(service)
    assert url.endswith(f"@10.97.0.1:5433/{service}_dev")
    with psycopg.connect(url, connect_timeout=5) as connection:
        connection.execute("CREATE TEMPORARY TABLE probe (id int)")
    wrong = psycopg.conninfo.make_conninfo(url, password="wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong, connect_timeout=5)


def test_an_environment_gets_databases_of_its_own_and_loses_them(running_lab: Lab) -> None:
    name = f"test-{os.getpid()}"
    settings = running_lab.settings
    running_lab.make_databases(name)
    try:
        url = postgres.url_file(settings, name, "order_service").read_text().strip()
        session = psycopg.connect(url, connect_timeout=5, autocommit=True)
        session.execute("CREATE TABLE kept (id int)")
        running_lab.make_databases(name)
        assert session.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    finally:  # also while somebody is connected
        running_lab.drop_databases(name)
    session.close()
    assert name not in postgres.environments(settings)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url, connect_timeout=5)


def test_an_image_pushed_without_an_engine_is_whole(lab_settings: LabSettings, tmp_path: Path) -> None:
    layer = compress_layer(archive_of([Entry("hello", b"hello\n")]), tmp_path / "layer.tar.gz")
    with Registry(lab_settings.registry_address) as registry:
        registry.push("slipway/test-push", "1", [layer], ImageConfig("a recipe"))
        assert registry.recipe("slipway/test-push", "1") == "a recipe"
        assert registry.recipe("slipway/test-push", "2") is None


def test_a_build_that_names_no_builder_runs_in_the_lab(tmp_path: Path) -> None:
    """The docker-build provider finds the lab's BuildKit through BUILDX_CONFIG alone, and `pip` works inside."""
    (tmp_path / "Pulumi.yaml").write_text("name: lab-build-test\nruntime: python\n")
    (tmp_path / "backend").mkdir()
    (tmp_path / "__main__.py").write_text(_PROGRAM)
    given = {**os.environ, **_shell(), "PULUMI_BACKEND_URL": f"file://{tmp_path / 'backend'}"}
    pulumi = ["pulumi", "--non-interactive", "--cwd", str(tmp_path)]
    for arguments in (["stack", "init", "t"], ["up", "--yes", "--skip-preview", "--stack", "t"]):
        result = subprocess.run([*pulumi, *arguments], env=given, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
    assert f"{environment()['SLIPWAY_REGISTRY']}/slipway/test-build:1@sha256:" in result.stdout


_PROGRAM = """\
import os
import pulumi
import pulumi_docker_build as docker_build

image = docker_build.Image(
    "image",
    push=True,
    no_cache=True,
    context={"location": os.path.dirname(os.path.abspath(__file__))},
    dockerfile={"inline": f"FROM {os.environ['SLIPWAY_BASE_IMAGE']}\\nRUN pip download --no-deps itsdangerous"},
    tags=[f"{os.environ['SLIPWAY_REGISTRY']}/slipway/test-build:1"],
    opts=pulumi.ResourceOptions(retain_on_delete=True),
)
pulumi.export("ref", image.ref)
"""


def _shell() -> dict[str, str]:
    toolchain = json.loads(toolchain_environment_file().read_text())
    folders = [*toolchain.pop("PATH"), str(Path(sys.executable).parent), os.environ["PATH"]]
    folders += toolchain.pop("PATH_BEHIND")
    return {**toolchain, **environment(), "PATH": os.pathsep.join(folders), "PYTHONPATH": str(CHECKOUT)}


def test_neighbours_are_kept_out(
    lab_settings: LabSettings, eventually: Callable[[Callable[[], bool], str], None]
) -> None:
    """From a network namespace that stands for the neighbour's machine, nothing of the lab answers."""
    name, ours, theirs = "lab-neighbour", "198.51.100.1", "198.51.100.2"
    ours6, theirs6 = "fd00:51::1", "fd00:51::2"
    run(["ip", "netns", "add", name])
    try:
        run(["ip", "link", "add", "labtest0", "type", "veth", "peer", "name", "labtest1", "netns", name])
        run(["ip", "address", "add", f"{ours}/30", "dev", "labtest0"])
        run(["ip", "address", "add", f"{ours6}/64", "dev", "labtest0", "nodad"])
        run(["ip", "link", "set", "labtest0", "up"])
        run(["ip", "-n", name, "address", "add", f"{theirs}/30", "dev", "labtest1"])
        run(["ip", "-n", name, "address", "add", f"{theirs6}/64", "dev", "labtest1", "nodad"])
        run(["ip", "-n", name, "link", "set", "labtest1", "up"])
        run(["ip", "-n", name, "route", "add", "default", "via", ours])
        node, ports = lab_settings.network.node_address, lab_settings.ports
        for address in (ours, ours6, node):
            _require_silence(name, address, ports.apiserver)
        _require_silence(name, node, ports.postgres)
    finally:
        run(["ip", "netns", "delete", name])
    # The kernel takes a namespace's interfaces away in its own time.
    eventually(lambda: "labtest0" not in [link["ifname"] for link in ip_json("link", "show")], "the interface is gone")


def _require_silence(namespace: str, address: str, port: int) -> None:
    script = f"import socket; socket.create_connection(('{address}', {port}), 2)"
    inside = ["ip", "netns", "exec", namespace, sys.executable, "-c", script]
    tried = subprocess.run(inside, capture_output=True, text=True, check=False)
    assert "TimeoutError" in tried.stderr, (address, port, tried)
