"""Which proxy of the environment is meant, and never one for loopback; the rest is in tests/test_environment.py."""

from __future__ import annotations

import pytest

from slipway.environment_variables import Proxy, loopback_excluded, proxy_of

OFFICE = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("url", "environment", "variable"),
    [
        ("https://api.example:6443", {"HTTPS_PROXY": OFFICE}, "HTTPS_PROXY"),
        ("https://api.example:6443", {"https_proxy": OFFICE, "HTTPS_PROXY": "http://other"}, "https_proxy"),
        ("https://api.example:6443", {"ALL_PROXY": OFFICE, "HTTP_PROXY": "http://other"}, "ALL_PROXY"),
        ("http://api.example", {"HTTP_PROXY": OFFICE}, "HTTP_PROXY"),
        ("https://api.example", {"HTTP_PROXY": OFFICE, "HTTPS_PROXY": ""}, None),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": OFFICE}, None),
        ("https://127.1.2.3:6443", {"HTTPS_PROXY": OFFICE}, None),
        ("https://[::1]:6443", {"HTTPS_PROXY": OFFICE}, None),
        ("https://LOCALHOST:6443", {"HTTPS_PROXY": OFFICE}, None),
        ("https://localhost.example", {"HTTPS_PROXY": OFFICE}, "HTTPS_PROXY"),
    ],
)
def test_the_proxy_for_an_address(url: str, environment: dict[str, str], variable: str | None) -> None:
    assert proxy_of(url, environment) == (Proxy(variable, OFFICE) if variable else None)


def test_what_is_started_asks_loopback_directly() -> None:
    found = loopback_excluded({"HTTPS_PROXY": OFFICE, "no_proxy": ".corp, 127.0.0.1", "NO_PROXY": "10.0.0.0/8"})
    assert found == dict.fromkeys(("NO_PROXY", "no_proxy"), ".corp,127.0.0.1,10.0.0.0/8,localhost,::1")


def test_without_a_proxy_nothing_is_reported() -> None:
    assert loopback_excluded({"PATH": "/bin", "NO_PROXY": "x"}) == {}
