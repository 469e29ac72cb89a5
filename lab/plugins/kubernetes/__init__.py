"""A stand-in for `pulumi-resource-kubernetes` 4.34.2: every `kubernetes:*` custom resource by the plain API."""

from __future__ import annotations

from typing import NoReturn

VERSION = "4.34.2"
OFFICIAL_PLUGIN = f"pulumi-resource-kubernetes v{VERSION}"


def main() -> NoReturn:
    """Serve the provider until the engine goes away; the engine's address is the last argument."""
    from lab.plugins import serving  # noqa: PLC0415 -- importing this package must stay cheap and free of the SDK

    serving.spare_the_sdk()
    from lab.plugins.kubernetes.server import run  # noqa: PLC0415 -- must come after the line above

    run()
