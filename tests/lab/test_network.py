"""Networks of the machine that would collide with the lab's are found before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import network
from lab.network import is_own_result, overlapping_routes
from lab.settings import Network
from slipway.errors import ConfigurationError

NETWORK = Network()


@pytest.mark.parametrize(
    ("route", "clashes"),
    [
        ({"dst": "default", "gateway": "192.0.2.1", "dev": "eth0"}, False),
        ({"dst": "192.0.2.0/24", "dev": "eth0"}, False),
        ({"dst": "10.97.0.1", "dev": "eth0"}, True),
        ({"dst": "10.0.0.0/8", "dev": "tun0"}, True),
        ({"dst": "10.244.7.0/24", "dev": "cni0"}, True),
        ({"dst": "10.96.5.5", "dev": "wg0"}, True),
        ({"dst": "10.98.0.0/16", "dev": "wg0"}, False),
        ({"dst": "10.244.0.0/24", "dev": "slipway0"}, False),
        ({"dst": "10.97.0.1", "dev": "slipway-node"}, False),
    ],
)
def test_overlap(route: dict[str, str], clashes: bool) -> None:
    assert bool(overlapping_routes([route], NETWORK)) is clashes


def test_the_message_names_network_and_interface() -> None:
    assert overlapping_routes([{"dst": "10.0.0.0/8", "dev": "tun0"}], NETWORK) == ["10.0.0.0/8 via tun0"]


@pytest.mark.parametrize(
    ("result", "own"),
    [
        ({"interfaces": [{"name": "lo", "sandbox": "/run/slipway-lab/containerd/netns/cni-1"}]}, True),
        ({"interfaces": [{"name": "slipway0"}, {"name": "eth0", "sandbox": "/run/slipway-lab/x"}]}, True),
        ({"interfaces": [{"name": "eth0", "sandbox": "/run/slipway-lab-2/netns/cni-1"}]}, False),
        ({"interfaces": [{"name": "eth0", "sandbox": "/run/netns/cni-1"}]}, False),
        ({}, False),
    ],
)
def test_notes_of_other_container_engines_are_not_ours(result: dict[str, object], own: bool) -> None:
    assert is_own_result({"result": result}, Path("/run/slipway-lab")) is own


def test_without_modprobe_the_missing_kernel_modules_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(network, "BRIDGE_FILTER", tmp_path / "bridge-nf-call-iptables")
    monkeypatch.setattr(network, "find_program", lambda _: None)
    with pytest.raises(ConfigurationError, match="cannot filter bridged packets") as caught:
        network._filter_bridged_packets()
    assert "br_netfilter" in caught.value.next_step
    network.BRIDGE_FILTER.write_text("0\n")
    network._filter_bridged_packets()
    assert network.BRIDGE_FILTER.read_text() == "1"
