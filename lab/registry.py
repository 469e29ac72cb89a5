"""The image registry: Debian's docker-registry on loopback, with its content in the lab's folder."""

from __future__ import annotations

import json
from pathlib import Path

from .files import make_folder, write_text
from .proc import Listen
from .processes import Daemon, http_probe
from .settings import LabSettings
from .shell import program


def config_file(settings: LabSettings) -> Path:
    return settings.config / "registry.yml"


def write_config(settings: LabSettings) -> None:
    storage = make_folder(settings.home / "registry")
    config = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        # Deletes are allowed, so that a registry that grew too large can be tidied with its own API.
        "storage": {
            "filesystem": {"rootdirectory": str(storage)},
            "delete": {"enabled": True},
            "cache": {"blobdescriptor": "inmemory"},
        },
        "http": {"addr": settings.registry_address, "secret": "one process, so no secret to share"},
    }
    write_text(config_file(settings), json.dumps(config, indent=2) + "\n")


def daemon(settings: LabSettings) -> Daemon:
    return Daemon(
        name="registry",
        command=(program("docker-registry"), "serve", str(config_file(settings))),
        probe=http_probe(f"http://{settings.registry_address}/v2/"),
        listens=(Listen("127.0.0.1", settings.ports.registry),),
        inputs=(config_file(settings),),
    )
