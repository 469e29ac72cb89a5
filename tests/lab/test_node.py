"""CoreDNS on the node never asks itself, and names only servers that the host has."""

from __future__ import annotations

from pathlib import Path

from lab.node import nameservers, render_corefile
from lab.settings import LabSettings

RESOLVER = """\
# a comment: nameserver 9.9.9.9
search example.org
nameserver 192.0.2.53
nameserver 10.97.0.1
nameserver
nameserver 192.0.2.53
nameserver fd00::53
options ndots:2
"""


def test_own_address_and_repetitions_are_left_out() -> None:
    assert nameservers(RESOLVER, own_address="10.97.0.1") == ["192.0.2.53", "fd00::53"]


def test_foreign_names_go_to_the_hosts_servers(tmp_path: Path) -> None:
    text = render_corefile(LabSettings(home=tmp_path), ["192.0.2.53", "fd00::53"])
    assert "forward . 192.0.2.53 fd00::53 {" in text
    assert ".:1053 {\n    bind 10.97.0.1\n" in text
    assert text.count("{") == text.count("}")


def test_a_host_without_a_resolver_still_gets_the_clusters_names(tmp_path: Path) -> None:
    text = render_corefile(LabSettings(home=tmp_path), [])
    assert "forward ." not in text
    assert "kubernetes cluster.local in-addr.arpa ip6.arpa {" in text
    assert text.count("{") == text.count("}")
