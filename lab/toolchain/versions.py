"""Asks executables and Pulumi plugins for their version, each within a deadline."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import grpc
from google.protobuf.wrappers_pb2 import StringValue

from lab.toolchain.parts import LANGUAGE_HOST, VersionQuestion

DEADLINE_SECONDS = 10.0
_VERSION = re.compile(r"\bv?(\d+(?:\.\d+){1,2}(?:[-+][\w.+-]+)?)")
# An address without a server: a plugin takes its engine's address as argument, but calls it only when there is work.
_NO_ENGINE = "127.0.0.1:1"


def find_on_path(name: str, *, but_not_below: Path) -> Path | None:
    """The first `name` on PATH outside `but_not_below`, where Slipway installs its own; `None` if there is none."""
    refused = but_not_below.resolve()
    folders = [entry for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    kept = [entry for entry in folders if not Path(entry).resolve().is_relative_to(refused)]
    found = shutil.which(name, path=os.pathsep.join(kept)) if kept else None
    return Path(found) if found else None


def tells(answer: str, question: VersionQuestion, version: str) -> bool:
    """Whether `answer` names exactly `version` (`1.2.3` is not found in `11.2.3`, `1.2.30` or `1.2.3-rc.1`)."""
    expected = re.escape(question.answer.format(version=version))
    return re.search(rf"(?<![\w.]){expected}(?![\w.+-])", answer) is not None


def ask_executable(executable: Path, arguments: tuple[str, ...], deadline_seconds: float = DEADLINE_SECONDS) -> str:
    """The version output of `executable` on both streams; empty if it fails or does not answer in time."""
    try:
        answer = subprocess.run(
            [str(executable), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=deadline_seconds,
            check=False,
            # `pulumi version` would look for a newer release over the network.
            env=os.environ | {"PULUMI_SKIP_UPDATE_CHECK": "true"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.decode(errors="replace").strip() if answer.returncode == 0 else ""


def version_in(answer: str) -> str:
    """The first thing in `answer` that looks like a version, without its `v`; else the answer's first line."""
    match = _VERSION.search(answer)
    return match.group(1) if match else answer.partition("\n")[0]


def ask_plugin(executable: Path, deadline_seconds: float = DEADLINE_SECONDS) -> str:
    """The version a Pulumi plugin reports over gRPC, without its `v`; empty if it fails or does not answer in time."""
    kind = "LanguageRuntime" if executable.name.startswith(LANGUAGE_HOST) else "ResourceProvider"
    with _started_plugin(executable, deadline_seconds) as port:
        if not port.isdigit():
            return ""
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            # PluginInfo is a message of one string, as StringValue is; importing the SDK for it would cost time.
            ask: grpc.UnaryUnaryMultiCallable[bytes, StringValue] = channel.unary_unary(
                f"/pulumirpc.{kind}/GetPluginInfo", response_deserializer=StringValue.FromString
            )
            try:
                return str(ask(b"", timeout=deadline_seconds).value).removeprefix("v")
            except grpc.RpcError:
                return ""


@contextmanager
def _started_plugin(executable: Path, deadline_seconds: float) -> Iterator[str]:
    """Run the plugin and yield its first line, which is its port (empty if none came in time)."""
    try:
        plugin = subprocess.Popen(
            [str(executable), _NO_ENGINE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        yield ""
        return
    killer = threading.Timer(deadline_seconds, plugin.kill)
    killer.start()
    output = cast(IO[bytes], plugin.stdout)
    try:
        yield output.readline().decode(errors="replace").strip()
    finally:
        killer.cancel()
        plugin.kill()
        output.close()
        plugin.wait()
