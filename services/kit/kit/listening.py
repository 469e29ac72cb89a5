"""The addresses that the server listens on."""

from __future__ import annotations

import socket


def bind_addresses(port: int) -> list[str]:
    """All addresses, of IPv6 and IPv4 if the kernel has both, in the form of gunicorn's `bind`."""
    every_ipv4, every_ipv6 = f"0.0.0.0:{port}", f"[::]:{port}"
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
            # By default a socket for IPv6 accepts IPv4 as well, and prevents a second one.
            takes_both = not probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:
        return [every_ipv4]
    return [every_ipv6] if takes_both else [every_ipv4, every_ipv6]
