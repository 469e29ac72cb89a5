"""`slipway lab up` brings back a lab whose processes were killed from outside, without touching what still runs."""

from __future__ import annotations

import io
import itertools
import os
import signal
from collections.abc import Callable, Iterator

import httpx
import pytest
from rich.console import Console

from lab import cgroups, machine, proc
from lab.lab import Lab
from lab.postgres import reachable_folder
from lab.proc import ProcessId
from lab.settings import LabSettings
from lab.system import run
from slipway.progress import Progress

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

Eventually = Callable[[Callable[[], bool], str], None]


@pytest.fixture
def lab(lab_settings: LabSettings) -> Iterator[Lab]:
    """A lab that is whole before and after, whatever a test does to it."""
    found = Lab(lab_settings, Progress(Console(file=io.StringIO())))
    found.up()
    yield found
    Lab(lab_settings, Progress(Console(file=io.StringIO()))).up()


def processes(lab: Lab) -> dict[str, ProcessId | None]:
    return {daemon.name: lab.processes.running(daemon.name) for daemon in lab.daemons()}


def kill(lab: Lab, *names: str) -> None:
    victims = [process for name in names if (process := lab.processes.running(name))]
    assert len(victims) == len(names)
    for victim in victims:
        proc.signal_process(victim, signal.SIGKILL)
    assert proc.wait_gone(victims, 10) == []


def healthy(lab: Lab) -> bool:
    return all(status.healthy for status in lab.status())


def test_up_on_a_healthy_lab_changes_nothing(lab: Lab) -> None:
    before, rules = processes(lab), _rule_count()
    assert Lab(lab.settings, lab.progress).up() is False
    assert processes(lab) == before
    assert machine.current_mounts(machine.lab_folders(lab.settings)).count(reachable_folder(lab.settings)) == 1
    assert _rule_count() == rules


def _rule_count() -> int:
    return run(["iptables-save", "-t", "filter"]).count("SLIPWAY-LAB")


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("kube-scheduler",), marks=pytest.mark.thorough),
        ("kubelet", "coredns"),
        pytest.param(("containerd",), marks=pytest.mark.thorough),  # below with the kubelet
        ("kube-apiserver", "etcd"),
        ("buildkitd", "registry", "postgres"),
    ],
    ids="+".join,
)
def test_the_killed_are_started_and_the_others_left_alone(lab: Lab, names: tuple[str, ...]) -> None:
    before = processes(lab)
    kill(lab, *names)
    unhealthy = {status.name: status.problem for status in lab.status() if status.name in names}
    assert unhealthy == dict.fromkeys(names, "does not run")
    assert lab.up() is True
    assert healthy(lab)
    after = processes(lab)
    assert {name for name in before if before[name] != after[name]} == set(names)


def test_pods_outlive_containerd(lab: Lab, api: httpx.Client, namespace: str, eventually: Eventually) -> None:
    address = _start_web(lab, api, namespace, eventually)
    pods = cgroups.processes(lab.settings)
    kill(lab, "containerd", "kubelet")
    lab.up()
    assert healthy(lab)
    assert pods <= cgroups.processes(lab.settings)
    assert httpx.get(address, trust_env=False).status_code == 200


@pytest.mark.e2e
@pytest.mark.skipif("SLIPWAY_TEST_LAB_DOWN" not in os.environ, reason="ends every pod; set SLIPWAY_TEST_LAB_DOWN=1")
def test_everything_killed_at_once(lab: Lab, api: httpx.Client, namespace: str, eventually: Eventually) -> None:
    """As when the machine dies: no daemon, no shim, no pod is left, and nobody has tidied up."""
    address = _start_web(lab, api, namespace, eventually)
    victims = set(cgroups.processes(lab.settings))
    for name in processes(lab):
        victims |= set(lab.processes.strays(name))
    assert len(victims) > len(processes(lab))
    for victim in victims:
        proc.signal_process(victim, signal.SIGKILL)
    assert proc.wait_gone(victims, 10) == []
    lab.up()
    assert healthy(lab)
    eventually(lambda: _status_code(address) == 200, "the pod was started again and answers")


def _start_web(lab: Lab, api: httpx.Client, namespace: str, eventually: Eventually) -> str:
    labels = {"app": "web"}
    container = {
        "name": "main",
        "image": lab.variables()["SLIPWAY_BASE_IMAGE"],
        "command": ["python", "-m", "http.server", "8080"],
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    pod = {"metadata": {"name": "web", "labels": labels}, "spec": spec}
    service = {"metadata": {"name": "web"}, "spec": {"selector": labels, "ports": [{"port": 8080}]}}
    api.post(f"/api/v1/namespaces/{namespace}/pods", json=pod).raise_for_status()
    made = api.post(f"/api/v1/namespaces/{namespace}/services", json=service)
    address = f"http://{made.json()['spec']['clusterIP']}:8080/"
    eventually(lambda: _status_code(address) == 200, "the pod answers")
    return address


def _status_code(address: str) -> int:
    try:
        return httpx.get(address, timeout=2, trust_env=False).status_code
    except httpx.HTTPError:
        return 0


def test_files_of_a_dead_machine_do_not_stand_in_the_way(lab: Lab) -> None:
    """Half-written records, sockets without a listener, configuration cut short."""
    kill(lab, "kube-proxy", "containerd", "buildkitd")
    records, sockets = lab.settings.records, (lab.settings.containerd_socket, lab.settings.buildkit_socket)
    for record, text in zip(sorted(records.iterdir()), itertools.cycle(["", "{", '{"pid": 1}']), strict=False):
        if record.stem in ("kube-proxy", "containerd", "buildkitd"):
            record.write_text(text)
    assert all(socket.exists() for socket in sockets)
    (lab.settings.config / "containerd.toml").write_text("version = ")
    (lab.settings.config / "kubelet.kubeconfig").unlink()
    lab.up()
    assert healthy(lab)
