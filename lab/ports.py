"""Finds the process that holds a port, from /proc alone."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from slipway.errors import SlipwayError

from .proc import PROC, all_pids, command_line

_LISTEN = "0A"
# A process that was just killed may hold its port for a moment.
_RELEASE_SECONDS = 2.0
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - looked for, not bound


@dataclass(frozen=True)
class Listen:
    """An address that a daemon listens on; `protocol` is `tcp` or `udp`."""

    address: str
    port: int
    protocol: str = "tcp"

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(frozen=True)
class _BoundSocket:
    address: str
    port: int
    inode: str


def decode_address(text: str) -> tuple[str, int]:
    """`0100007F:1388` (as in /proc/net/tcp: 32-bit words in host order) to `127.0.0.1`, 5000."""
    words, port = text.split(":")
    packed = b"".join(struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8))
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, packed), int(port, 16)


def _sockets(protocol: str) -> Iterator[_BoundSocket]:
    for table in (protocol, f"{protocol}6"):
        path = PROC / "net" / table
        if not path.exists():
            continue
        for line in path.read_text().splitlines()[1:]:
            fields = line.split()
            if protocol == "udp" or fields[3] == _LISTEN:
                address, port = decode_address(fields[1])
                yield _BoundSocket(address, port, fields[9])


def _clashes(needed: Listen, bound: _BoundSocket) -> bool:
    same_address = bound.address in (needed.address, f"::ffff:{needed.address}")
    return bound.port == needed.port and (same_address or bound.address in _WILDCARDS or needed.address in _WILDCARDS)


def holders(needed: Listen) -> list[int]:
    """Pids of the processes whose sockets conflict with `needed`; 0 for one that cannot be seen."""
    inodes = {bound.inode for bound in _sockets(needed.protocol) if _clashes(needed, bound)}
    return sorted(_owner(inode) for inode in inodes)


def _owner(inode: str) -> int:
    target = f"socket:[{inode}]"
    for pid in all_pids():
        try:
            descriptors = list((PROC / str(pid) / "fd").iterdir())
        except OSError:  # ended meanwhile
            continue
        for descriptor in descriptors:
            try:
                if str(descriptor.readlink()) == target:
                    return pid
            except OSError:  # closed meanwhile
                continue
    return 0


def require_free(name: str, needed: Iterable[Listen]) -> None:
    """Raise SlipwayError that names the process if a port that `name` needs is taken, and stays so for a moment."""
    deadline = time.monotonic() + _RELEASE_SECONDS
    for listen in needed:
        while (pids := holders(listen)) and time.monotonic() < deadline:
            time.sleep(0.1)
        if pids:
            raise SlipwayError(
                f"{name} needs {listen.protocol} port {listen.port} on {listen.address}, which is in use",
                why="; ".join(_describe(pid) for pid in pids),
                next_step="stop that process, or change the port in lab/settings.py, then run `slipway lab up` again",
            )


def _describe(pid: int) -> str:
    if pid == 0:
        return "by a process that is not visible here (in another container or network namespace)"
    return f"by process {pid}: {' '.join(command_line(pid))[:200]}"
