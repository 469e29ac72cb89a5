"""An S3 server on loopback over a folder: versitygw."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.go_programs import built

READY_TIMEOUT_SECONDS = 30
BUCKET = "states"


@dataclass(frozen=True)
class S3Server:
    """Each folder in `root` is a bucket; `variables` are what a client needs."""

    root: Path
    port: int
    variables: dict[str, str]

    def url(self, prefix: str = "") -> str:
        query = f"endpoint=127.0.0.1:{self.port}&disableSSL=true&s3ForcePathStyle=true&region=us-east-1"
        return f"s3://{BUCKET}{prefix}?{query}"


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    root = folder / "buckets"
    (root / BUCKET).mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    keys = {"ROOT_ACCESS_KEY": "the-key", "ROOT_SECRET_KEY": "the-secret"}
    program = built("versitygw", "1.8.0", "github.com/versity/versitygw/cmd/versitygw")
    command = [str(program), "--port", f"127.0.0.1:{port}", "--quiet", "posix", "--sidecar", str(folder), str(root)]
    (folder / "server.log").touch()
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | keys, stdout=log, stderr=log)
    try:
        _await(port, process, folder / "server.log")
        yield S3Server(root, port, {"AWS_ACCESS_KEY_ID": "the-key", "AWS_SECRET_ACCESS_KEY": "the-secret"})
    finally:
        process.terminate()
        process.wait(timeout=10)


def _await(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"http://127.0.0.1:{port}/", timeout=1)
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the S3 server did not come up: {log.read_text()}")
