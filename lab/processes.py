"""Starts, probes and stops the lab's daemons, which keep running when the command line ends."""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc

from lab.toolchain.go import rarer_garbage_collection
from slipway.errors import SlipwayError
from slipway.progress import Progress

from . import proc
from .proc import Listen, ProcessId, require_free_ports
from .settings import LabSettings
from .system import attempt, last_lines, make_folder, read_json_object, search_path, write_json

# In the environment of each daemon and its child processes: finds processes whose record was lost.
OWNER_VARIABLE = "SLIPWAY_LAB_OWNER"
# Daemons get no other variables of the user's environment, above all no credentials.
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
INHERITED_VARIABLES = frozenset({"HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", *_PROXY_VARIABLES})
LOG_LIMIT_BYTES = 50 * 1024 * 1024
_POLL_SECONDS = 0.1
_PROBE_TIMEOUT_SECONDS = 5.0


def owner_mark(settings: LabSettings, name: str) -> dict[str, str]:
    """The variable that names the lab and the daemon of a process."""
    return {OWNER_VARIABLE: f"{settings.home}:{name}"}


class NotReadyError(Exception):
    """Raised by a probe; one line with the daemon's answer, or that it gave none."""


@dataclass(frozen=True)
class Daemon:
    """One long-running process. It is restarted if its command, environment, user or an input's content has changed."""

    name: str
    command: tuple[str, ...]
    probe: Callable[[], None]
    listens: tuple[Listen, ...] = ()
    socket: Path | None = None
    inputs: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | int | None = None
    ready_timeout_seconds: float = 60
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_seconds: float = 10

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self.command, sorted(self.environment.items()), self.user)).encode())
        for path in self.inputs:
            digest.update(path.read_bytes() if path.exists() else b"")
        return digest.hexdigest()


class Processes:
    """The daemons of one lab, recorded in `settings.records`."""

    def __init__(self, settings: LabSettings) -> None:
        self._settings = settings
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def log(self, name: str) -> Path:
        return self._settings.logs / f"{name}.log"

    def running(self, name: str) -> ProcessId | None:
        """The daemon's process; `None` if it does not run, or if the record is of an earlier boot or a reused pid."""
        record = read_json_object(self._record(name))
        if not record or record.get("boot_id") != proc.boot_id():
            return None
        process = ProcessId(int(record["pid"]), int(record["start_ticks"]))
        child = self._children.get(process.pid)
        if child is not None and child.poll() is not None:  # of this command line: a zombie until it is polled
            del self._children[process.pid]
        return process if proc.is_alive(process) else None

    def running_names(self) -> list[str]:
        """The recorded daemons that run now."""
        names = sorted(path.stem for path in self._settings.records.glob("*.json"))
        return [name for name in names if self.running(name)]

    def require_ports(self, daemons: Sequence[Daemon]) -> None:
        """Raise SlipwayError, before anything is started, if another process holds a port that is needed."""
        for daemon in daemons:
            if self.running(daemon.name) is None:
                self._stop_leftovers(daemon)
                require_free_ports(daemon.name, daemon.listens)

    def ensure(self, daemons: Sequence[Daemon], progress: Progress) -> list[str]:
        """Make sure that all of them run and answer; returns the names of the ones that had to be started."""
        absent = [daemon for daemon in daemons if self._needs_start(daemon)]
        if not absent:
            return []
        names = [daemon.name for daemon in absent]
        with progress.step(f"Starting {', '.join(names)}") as step:
            for daemon in absent:
                self._start(daemon)
            for daemon in absent:
                step.update(f"waiting for {daemon.name}")
                self._wait_ready(daemon, daemon.ready_timeout_seconds)
        return names

    def stop(self, names: Sequence[str], signals: Mapping[str, signal.Signals], timeout_seconds: float = 10) -> None:
        """Stop the named daemons, including processes that lost their record."""
        groups: dict[signal.Signals, list[ProcessId]] = {}
        for name in names:
            number = signals.get(name, signal.SIGTERM)
            groups.setdefault(number, []).extend({*filter(None, [self.running(name)]), *self.strays(name)})
        for number, processes in groups.items():
            for process in processes:
                proc.signal_process(process, number)
        signalled = [process for group in groups.values() for process in group]
        stubborn = proc.kill_all(proc.wait_gone(signalled, timeout_seconds))
        if stubborn:
            raise SlipwayError(f"processes {[process.pid for process in stubborn]} do not end after SIGKILL")
        for name in names:
            self._record(name).unlink(missing_ok=True)

    def strays(self, name: str) -> list[ProcessId]:
        """Processes of that daemon by their environment, including children, recorded or not."""
        owner = owner_mark(self._settings, name)[OWNER_VARIABLE]
        return proc.find_processes(lambda pid: proc.environment_value(pid, OWNER_VARIABLE) == owner)

    def _needs_start(self, daemon: Daemon) -> bool:
        process = self.running(daemon.name)
        if process is None:
            return True
        record = read_json_object(self._record(daemon.name)) or {}
        if record.get("fingerprint") != daemon.fingerprint():
            return True
        try:
            # Just started by an interrupted run: wait. Up for long without an answer: it hangs.
            self._wait_ready(daemon, max(5.0, daemon.ready_timeout_seconds - proc.age_seconds(process)))
        except SlipwayError:
            return True
        return False

    def _start(self, daemon: Daemon) -> None:
        self._stop_leftovers(daemon)
        require_free_ports(daemon.name, daemon.listens)
        make_folder(self._settings.logs)
        log = self.log(daemon.name)
        fresh = not log.exists() or log.stat().st_size > LOG_LIMIT_BYTES
        inherited = {key: value for key, value in os.environ.items() if key in INHERITED_VARIABLES}
        own = rarer_garbage_collection() | {"PATH": search_path(), **daemon.environment}
        own |= owner_mark(self._settings, daemon.name)
        with log.open("wb" if fresh else "ab") as stream:
            log.chmod(0o600)
            stream.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(daemon.command)}\n".encode())
            stream.flush()
            child = subprocess.Popen(
                daemon.command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                cwd="/",
                env=inherited | own,
                user=daemon.user,
                group=daemon.user,
                extra_groups=[] if daemon.user else None,
                # containerd unpacks images with it: with a stricter one, only root could read them.
                umask=0o022,
            )
        self._children[child.pid] = child
        process = proc.identify(child.pid)
        if process is None:
            raise self._failure(daemon, "it exited immediately")
        record = {
            "pid": child.pid,
            "start_ticks": process.start_ticks,
            "boot_id": proc.boot_id(),
            "fingerprint": daemon.fingerprint(),
        }
        write_json(self._record(daemon.name), record)

    def _stop_leftovers(self, daemon: Daemon) -> None:
        """End only older runs of the daemon itself: the new one may adopt its child processes, such as shims."""
        process = self.running(daemon.name)
        leftovers = {process} if process else set()
        # Daemons are started as session leaders; their child processes are not.
        leftovers |= {stray for stray in self.strays(daemon.name) if proc.leads_session(stray.pid)}
        proc.stop_all(leftovers, daemon.stop_timeout_seconds, daemon.stop_signal)

    def _wait_ready(self, daemon: Daemon, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                return daemon.probe()
            except NotReadyError as problem:
                if self.running(daemon.name) is None:
                    raise self._failure(daemon, "it exited") from problem
                if time.monotonic() >= deadline:
                    raise self._failure(daemon, f"no healthy answer in {timeout_seconds:.0f} s: {problem}") from problem
            time.sleep(_POLL_SECONDS)

    def _failure(self, daemon: Daemon, reason: str) -> SlipwayError:
        log = self.log(daemon.name)
        return SlipwayError(
            f"{daemon.name} did not become ready: {reason}",
            why=f"the last lines of {log}:\n{last_lines(log)}",
            next_step="read the whole log and fix the cause; then `slipway lab up` continues from here",
        )

    def _record(self, name: str) -> Path:
        return self._settings.records / f"{name}.json"


def client_context(authority: Path, certificate: Path | None = None) -> ssl.SSLContext:
    """TLS that trusts one authority and presents the client certificate in `NAME.crt`, with the key in `NAME.key`."""
    context = ssl.create_default_context(cafile=str(authority))
    if certificate:
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


def http_probe(url: str, authority: Path | None = None, certificate: Path | None = None) -> Callable[[], None]:
    """Healthy if `url` answers 200. The host's proxies are not used: every probed address is local."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0

    def probe() -> None:
        connection = http.client.HTTPConnection(host, port, timeout=_PROBE_TIMEOUT_SECONDS)
        try:
            if authority:
                context = client_context(authority, certificate)
                connection = http.client.HTTPSConnection(host, port, timeout=_PROBE_TIMEOUT_SECONDS, context=context)
            connection.request("GET", parts.path)
            response = connection.getresponse()
            body = response.read().decode(errors="replace").strip()
        except (http.client.HTTPException, OSError) as error:
            raise NotReadyError(f"{url}: {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise NotReadyError(f"{url} answered {response.status}: {body[-200:]}")

    return probe


def runtime_probe(socket: Path) -> Callable[[], None]:
    """Healthy if the container runtime at `socket` answers the kubelet's first request.

    The socket exists before that, and a kubelet that gets "not initialized yet" exits.
    """

    def probe() -> None:
        with grpc.insecure_channel(f"unix://{socket}") as channel:
            try:
                ask = channel.unary_unary("/runtime.v1.RuntimeService/Version", _as_it_is, _as_it_is)
                ask(b"", timeout=_PROBE_TIMEOUT_SECONDS)
            except grpc.RpcError as error:
                raise NotReadyError(f"{socket}: {error.details()}") from error

    return probe


def _as_it_is(message: bytes) -> bytes:
    """Return the bytes as they are: the request is empty, and the answer is not read."""
    return message


def command_probe(command: Sequence[str], user: str | None = None) -> Callable[[], None]:
    """Healthy if the command succeeds."""

    def probe() -> None:
        try:
            result = attempt(command, timeout_seconds=_PROBE_TIMEOUT_SECONDS, user=user)
        except SlipwayError as error:
            raise NotReadyError(error.what) from error
        if result.returncode != 0:
            raise NotReadyError((result.stderr.strip() or result.stdout.strip() or "no answer").splitlines()[-1][:200])

    return probe


@dataclass(frozen=True)
class ProcessStatus:
    """One daemon now. `pid` is `None` if it does not run; `problem` is empty if it is healthy."""

    name: str
    pid: int | None
    problem: str
    memory_bytes: int
    uptime_seconds: float
    listens: tuple[str, ...]
    log: str

    @property
    def healthy(self) -> bool:
        return not self.problem

    def document(self) -> dict[str, Any]:
        return {**asdict(self), "healthy": self.healthy}


def check_daemons(daemons: Sequence[Daemon], processes: Processes) -> list[ProcessStatus]:
    """Check all at the same time, because a hanging one takes seconds to time out."""
    with ThreadPoolExecutor(max_workers=max(1, len(daemons))) as pool:
        return list(pool.map(lambda daemon: _check(daemon, processes), daemons))


def _check(daemon: Daemon, processes: Processes) -> ProcessStatus:
    process = processes.running(daemon.name)
    problem = "" if process else "does not run"
    if process:
        try:
            daemon.probe()
        except NotReadyError as error:
            problem = str(error)
    return ProcessStatus(
        name=daemon.name,
        pid=process.pid if process else None,
        problem=problem,
        memory_bytes=proc.resident_bytes(process.pid) if process else 0,
        uptime_seconds=proc.age_seconds(process) if process else 0.0,
        listens=(*map(str, daemon.listens), *([str(daemon.socket)] if daemon.socket else [])),
        log=str(processes.log(daemon.name)),
    )
