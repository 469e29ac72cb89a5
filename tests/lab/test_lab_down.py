"""Taking the lab down leaves nothing behind, and bringing it up again finds everything that was worth keeping.

Runs only with SLIPWAY_TEST_LAB_DOWN=1, as it ends whatever the lab is doing.
"""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from lab import control_plane, machine, proc
from lab.lab import Lab, remaining
from lab.network import CNI_RESULTS, ip_json, is_own_result
from lab.settings import LabSettings
from lab.system import run
from slipway.errors import SlipwayError
from slipway.progress import Progress

pytestmark = [
    pytest.mark.lab,
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif("SLIPWAY_TEST_LAB_DOWN" not in os.environ, reason="takes the lab down: SLIPWAY_TEST_LAB_DOWN=1"),
]

Eventually = Callable[[Callable[[], bool], str], None]


@pytest.fixture
def lab(lab_settings: LabSettings) -> Iterator[Lab]:
    found = _lab(lab_settings)
    found.up()
    yield found
    _lab(lab_settings).up()


def _lab(settings: LabSettings) -> Lab:
    return Lab(settings, Progress(Console(file=io.StringIO())))


def _names(lab: Lab) -> list[str]:
    return [daemon.name for daemon in lab.daemons()]


def _chains() -> list[str]:
    saved = run(["iptables-save"]) + run(["ip6tables-save"])
    return sorted({line.split()[0] for line in saved.splitlines() if line.startswith(":")})


def _links() -> set[str]:
    return {link["ifname"] for link in ip_json("link", "show")}


def test_nothing_of_the_lab_is_left_and_everybody_elses_is(
    lab: Lab, api: httpx.Client, namespace: str, eventually: Eventually
) -> None:
    run(["iptables", "-N", "SOMEBODYS-CHAIN"])
    run(["iptables", "-I", "INPUT", "-p", "tcp", "--dport", "9", "-j", "SOMEBODYS-CHAIN"])
    run(["ip", "link", "add", "somebodys0", "type", "bridge"])
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        _run_a_pod(lab, api, namespace, eventually)
        assert len(remaining(lab.settings, _names(lab))) > 20
        lab.down()
        assert remaining(lab.settings, _names(lab)) == []
        assert machine.current_mounts([lab.settings.home, lab.settings.run]) == []
        assert not any(is_own_result(json.loads(path.read_text()), lab.settings.run) for path in CNI_RESULTS.glob("*"))
        assert ":SOMEBODYS-CHAIN" in _chains()
        assert not any(chain.startswith((":KUBE-", ":SLIPWAY-", ":CNI-")) for chain in _chains())
        assert "somebodys0" in _links()
        assert not any(name.startswith(("slipway", "veth")) for name in _links())
        assert bystander.poll() is None
        assert lab.status() != []
        assert not any(status.healthy for status in lab.status())
        lab.down()
    finally:
        bystander.kill()
        bystander.wait()
        run(["iptables", "-D", "INPUT", "-p", "tcp", "--dport", "9", "-j", "SOMEBODYS-CHAIN"])
        run(["iptables", "-X", "SOMEBODYS-CHAIN"])
        run(["ip", "link", "delete", "somebodys0"])
    lab.up()
    eventually(lambda: _phase(lab, namespace) == "Running", "the pod runs again")


def _run_a_pod(lab: Lab, api: httpx.Client, namespace: str, eventually: Eventually) -> None:
    """One with a secret, an empty folder in memory and a token: mounts of every kind."""
    secret = {"metadata": {"name": "s"}, "stringData": {"key": "value"}}
    api.post(f"/api/v1/namespaces/{namespace}/secrets", json=secret).raise_for_status()
    container = {
        "name": "main",
        "image": lab.variables()["SLIPWAY_BASE_IMAGE"],
        "command": ["python", "-c", "import time; time.sleep(3600)"],
        "volumeMounts": [{"name": "s", "mountPath": "/s"}, {"name": "m", "mountPath": "/m"}],
    }
    volumes = [{"name": "s", "secret": {"secretName": "s"}}, {"name": "m", "emptyDir": {"medium": "Memory"}}]
    pod = {"metadata": {"name": "web"}, "spec": {"containers": [container], "volumes": volumes}}
    eventually(
        lambda: api.post(f"/api/v1/namespaces/{namespace}/pods", json=pod).status_code in (201, 409), "pod accepted"
    )
    eventually(lambda: _phase(lab, namespace) == "Running", "the pod runs")


def _phase(lab: Lab, namespace: str) -> str:
    with control_plane.api_client(lab.settings) as client:
        found = client.get(f"/api/v1/namespaces/{namespace}/pods/web").json()
    states = found.get("status", {}).get("containerStatuses", [{}])
    return "Running" if states[0].get("ready") else "not yet"


def test_the_kernels_settings_are_put_back(lab: Lab) -> None:
    forwarding = Path("/proc/sys") / machine.KERNEL_SETTINGS[0]
    lab.down()
    forwarding.write_text("0")
    lab.up()
    assert forwarding.read_text() == "1\n"
    lab.down()
    assert forwarding.read_text() == "0\n"


def test_a_taken_port_stops_up_and_names_who_has_it(lab: Lab) -> None:
    lab.down()
    with socket.create_server(("127.0.0.1", lab.settings.ports.registry)):
        with pytest.raises(SlipwayError) as caught:
            lab.up()
        assert "registry needs tcp port 5000 on 127.0.0.1, which is in use" in caught.value.what
        assert f"by process {os.getpid()}" in caught.value.why
        assert _lab(lab.settings).processes.running_names() == []
    lab.up()
    assert all(status.healthy for status in lab.status())


@pytest.mark.parametrize("after_seconds", [0.6, 1.5, 3.0, 5.0, 8.0])
def test_killed_in_the_middle_of_up_and_run_again(lab: Lab, after_seconds: float) -> None:
    lab.down()
    command = [sys.executable, "-c", "from slipway.cli.lab import up; up()"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after_seconds)
    running.kill()
    running.wait()
    lab.up()
    assert all(status.healthy for status in lab.status())
    for name in _names(lab):
        leaders = [stray for stray in lab.processes.strays(name) if proc.leads_session(stray.pid)]
        assert len(leaders) >= 1, name
        assert name == "postgres" or len(leaders) == 1, name


def test_killed_in_the_middle_of_down_and_run_again(lab: Lab) -> None:
    command = [sys.executable, "-c", "from slipway.cli.lab import down; down()"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.9)
    running.kill()
    running.wait()
    lab.down()
    assert remaining(lab.settings, _names(lab)) == []


def test_interrupted_like_by_control_c(lab: Lab) -> None:
    lab.down()
    command = [sys.executable, "-c", "from slipway.cli.lab import up; up()"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    time.sleep(2.5)
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(20) != 0
    lab.up()
    assert all(status.healthy for status in lab.status())
