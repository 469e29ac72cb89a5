"""A registry of a test's own on loopback: Debian's docker-registry, as the lab has one."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_TIMEOUT_SECONDS = 20.0
USER, PASSWORD = "ada", "secret"
# bcrypt of the password, as `htpasswd -B` writes it.
HTPASSWD = "ada:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n"


@contextmanager
def second_registry(folder: Path, *, login: bool = False) -> Iterator[str]:
    """Its address while it runs, with its content in `folder`; with `login` it knows one user and nobody else."""
    program = shutil.which("docker-registry")
    assert program, "the lab's packages are not installed"
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "content")}},
        "http": {"addr": address, "secret": "one process, so no secret to share"},
    }
    if login:
        (folder / "htpasswd").write_text(HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "a test", "path": str(folder / "htpasswd")}}
    file = folder / "registry.yml"
    file.write_text(json.dumps(config))
    process = subprocess.Popen(
        [program, "serve", str(file)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        host, _, port = address.partition(":")
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            assert process.poll() is None, "it ended"
            try:
                socket.create_connection((host, int(port)), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "it does not answer"
                time.sleep(0.05)
        yield address
    finally:
        process.kill()
        process.wait()
