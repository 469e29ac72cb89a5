"""A taken port is refused with the name of the process that holds it."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from lab import proc
from lab.proc import Listen, decode_address, holders, require_free
from slipway.errors import SlipwayError


@pytest.mark.skipif(sys.byteorder != "little", reason="the samples are of a little-endian machine")
@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0100007F:1388", ("127.0.0.1", 5000)),
        ("00000000:192B", ("0.0.0.0", 6443)),  # noqa: S104
        ("00000000000000000000000000000000:0016", ("::", 22)),
        ("0000000000000000FFFF00000100007F:1388", ("::ffff:127.0.0.1", 5000)),
    ],
)
def test_decode_address(text: str, address: tuple[str, int]) -> None:
    assert decode_address(text) == address


@pytest.fixture
def bound() -> Iterator[Listen]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Listen("127.0.0.1", server.getsockname()[1])


def test_the_holder_is_found(bound: Listen) -> None:
    assert holders(bound) == [os.getpid()]


def test_a_wildcard_clashes_with_every_address(bound: Listen) -> None:
    assert holders(Listen("0.0.0.0", bound.port)) == [os.getpid()]  # noqa: S104


def test_another_address_or_protocol_does_not_clash(bound: Listen) -> None:
    assert holders(Listen("127.0.0.2", bound.port)) == []
    assert holders(Listen("127.0.0.1", bound.port, "udp")) == []


def test_udp_sockets_are_seen() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        assert holders(Listen("127.0.0.1", bound.getsockname()[1], "udp")) == [os.getpid()]


def test_the_error_says_who_and_what_to_do(bound: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proc, "_RELEASE_SECONDS", 0.1)
    with pytest.raises(SlipwayError) as caught:
        require_free("registry", [bound])
    assert caught.value.what == f"registry needs tcp port {bound.port} on 127.0.0.1, which is in use"
    assert caught.value.why.startswith(f"by process {os.getpid()}: ")
    assert "lab/settings.py" in caught.value.next_step


def test_free_ports_pass(bound: Listen) -> None:
    require_free("registry", [Listen("127.0.0.2", bound.port)])


def test_a_port_that_is_let_go_in_time_passes() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    wanted = Listen("127.0.0.1", server.getsockname()[1])
    letting_go = threading.Timer(0.3, server.close)
    letting_go.start()
    require_free("registry", [wanted])
    letting_go.join()
