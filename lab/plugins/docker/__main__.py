"""Entry point of the docker provider."""

from __future__ import annotations

from typing import NoReturn


def main() -> NoReturn:
    """Serve the engine that started this process, until it is gone."""
    from lab.plugins import serving  # noqa: PLC0415

    serving.spare_the_sdk()

    from lab.plugins.docker.provider import DockerProvider  # noqa: PLC0415 -- only now without the SDK

    serving.serve(DockerProvider().register)


if __name__ == "__main__":
    main()
