"""Lets several threads connect with one TLS context."""

from __future__ import annotations

import ssl


def shared(context: ssl.SSLContext) -> ssl.SSLContext:
    """`context`, which offers HTTP/1.1 and from now on nothing else, whoever asks for it.

    urllib3 and httpcore say so again for each connection. Another thread may be connecting just then, and would send
    a torn greeting, which the server refuses: https://github.com/python/cpython/issues/141012
    """
    context.set_alpn_protocols(["http/1.1"])
    context.set_alpn_protocols = lambda _protocols: None  # type: ignore[method-assign, assignment]
    return context
