"""A server that listens on `bind_addresses` answers on IPv4, and on IPv6 if there is any."""

from __future__ import annotations

import socket

import pytest
from kit.listening import bind_addresses


def test_both_families_can_connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    servers = []
    try:
        for address in bind_addresses(port):
            family = socket.AF_INET6 if address.startswith("[") else socket.AF_INET
            server = socket.socket(family, socket.SOCK_STREAM)
            servers.append(server)
            server.bind((address.rpartition(":")[0].strip("[]"), port))
            server.listen()
        hosts = ["127.0.0.1", *(["::1"] if _has_ipv6() else [])]
        for host in hosts:
            socket.create_connection((host, port), timeout=5).close()
    finally:
        for server in servers:
            server.close()


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_a_kernel_without_ipv6_is_listened_to_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "AF_INET6", 999)
    assert bind_addresses(8080) == ["0.0.0.0:8080"]
