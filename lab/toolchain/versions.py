"""Asks executables and Pulumi plugins for their version, and finds those that the user has already."""

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

from lab.toolchain.layout import plugin_folder, pulumi_home, toolchain_home
from lab.toolchain.parts import LANGUAGE_HOST, Part, VersionQuestion

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


def find_nearby(part: Part) -> dict[str, Path]:
    """The part's executables by name; empty if one of them is missing or unusable."""
    found = nearby_executables(part)
    return {} if why_unusable(part, found) else found


def nearby_executables(part: Part) -> dict[str, Path]:
    """Files with the names of the part's executables, right version or not."""
    found = {name: _find(part, name) for name in part.executables}
    return {name: path for name, path in found.items() if path is not None}


def why_unusable(part: Part, found: dict[str, Path]) -> str:
    """Why the executables in `found` cannot be used for the part; empty if they can."""
    if missing := [name for name in part.executables if name not in found]:
        return f"{' and '.join(missing)} is not on PATH"
    for executable in found.values():
        # The engine's mark of a running or interrupted installation, beside the plugin's folder.
        if executable.parent.with_name(f"{executable.parent.name}.partial").exists():
            return "`pulumi plugin install` did not finish it"
        if not will_do(part, executable):
            version = reported_version(part, executable)
            if version[:1].isdigit():
                return f"another version ({version})"
            return "it does not start as a plugin" if part.question is None else "it does not report its version"
    # The engine runs the companion in its own folder: without one, this copy is useless here.
    if part.companion and not (found[part.executables[0]].resolve().parent / part.companion).is_file():
        return f"{part.companion} is not beside it"
    return ""


def will_do(part: Part, executable: Path) -> bool:
    """Whether the user's `executable` can be used for the part: it runs, and its version is accepted."""
    if part.any_version:
        return reported_version(part, executable)[:1].isdigit()
    return has_version(part, executable)


def has_version(part: Part, executable: Path) -> bool:
    """Whether `executable` runs and reports the part's version."""
    if part.question is None:
        return ask_plugin(executable) == part.version
    return tells(ask_executable(executable, part.question.arguments), part.question, part.version)


def reported_version(part: Part, executable: Path) -> str:
    """The version that `executable` reports, in its shortest form; empty if it reports none."""
    if part.question is None:
        return ask_plugin(executable)
    return version_in(ask_executable(executable, part.question.arguments))


def _find(part: Part, name: str) -> Path | None:
    if found := find_on_path(name, but_not_below=toolchain_home()):
        return found
    if part.question is not None:
        return None
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    plugin = home / "plugins" / plugin_folder(part).name / name
    return plugin if plugin.is_file() and home.resolve() != pulumi_home().resolve() else None
