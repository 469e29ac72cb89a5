"""`slipway doctor`: a table of everything the project needs, and what to do about missing parts."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text

from lab.toolchain import PartStatus, survey
from slipway.cluster.client import KubeconfigError, no_answer, read_kubeconfig
from slipway.environment_variables import owns_cluster, proxy_of
from slipway.errors import ConfigurationError, ExitCode
from slipway.paths import cache_home, lab_environment_file
from slipway.progress import Progress, print_table
from slipway.project import Project
from slipway.project import find as find_project

WANTED_PYTHON = (3, 11)
MEMORY_GIB = 3
DISK_GIB = 5
# Once, for Go's caches of modules and of compiled packages.
DISK_FOR_BUILDS_GIB = 20
_CONNECT_SECONDS = 1.0
_GIB = 1 << 30


def doctor(json_output: bool) -> int:
    """Print for every part where it was found, its version, the wanted version and what to do.

    Returns 0 if everything needed is there, else 1. A user with their own cluster and registry does not need the parts
    that only the lab needs.
    """
    with Progress().step("Check every part"):
        parts = survey()
        cluster, uses_lab = _cluster()
        statuses = [*_machine(parts), *parts]
        if not uses_lab:
            spared = "not needed with a cluster and a registry of your own"
            statuses = [
                replace(each, ok=True, to_do=spared) if each.for_lab and not each.ok else each for each in statuses
            ]
        statuses.append(cluster)
    if json_output:
        sys.stdout.write(json.dumps([asdict(status) for status in statuses], indent=2) + "\n")
    else:
        _print_table(statuses)
    return int(ExitCode.DONE if all(status.ok for status in statuses) else ExitCode.FAILED)


def _machine(parts: Sequence[PartStatus]) -> list[PartStatus]:
    """Python, the user, memory and free disk; missing `parts` have to be built, which takes more disk."""
    required = ".".join(map(str, WANTED_PYTHON))
    ok = sys.version_info[:2] >= WANTED_PYTHON
    to_do = "" if ok else f"install Python {required} or newer, remove .venv, and run `make up`"
    python = PartStatus("Python", f">= {required}", platform.python_version(), sys.executable, "", ok, to_do)

    ok = os.geteuid() == 0
    to_do = "" if ok else "run as root: the lab makes mounts, network interfaces and containers"
    root = PartStatus("root", "yes", "yes" if ok else f"no, user {os.geteuid()}", "", "", ok, to_do, for_lab=True)

    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available_gib = int(lines["MemAvailable"].split()[0]) / (1 << 20)
    ok = available_gib >= MEMORY_GIB
    to_do = "" if ok else "stop other programs; the lab takes about 1 GiB, building Kubernetes about 2"
    wanted, found = f">= {MEMORY_GIB} GiB", f"{available_gib:.1f} GiB"
    memory = PartStatus("memory", wanted, found, "", "", ok, to_do, for_lab=True)

    folder = next(path for path in (cache_home(), *cache_home().parents) if path.exists())
    free_gib = shutil.disk_usage(folder).free / _GIB
    wanted_gib = DISK_GIB if all(part.ok for part in parts) else DISK_FOR_BUILDS_GIB
    ok = free_gib >= wanted_gib
    to_do = "" if ok else "free some, or set SLIPWAY_CACHE, SLIPWAY_HOME, GOCACHE and GOMODCACHE to a larger disk"
    disk = PartStatus("free disk", f">= {wanted_gib} GiB", f"{free_gib:.1f} GiB", str(folder), "", ok, to_do)
    return [python, root, memory, disk]


def _cluster() -> tuple[PartStatus, bool]:
    """The status of the lab, or of the user's own cluster; and whether the lab is used at all."""
    project = find_project(Path.cwd())
    try:
        if owns_cluster(os.environ, project.folder if project else None):
            return _own_cluster(os.environ["KUBECONFIG"], project), False
    except ConfigurationError as error:
        return PartStatus("cluster", "", "", error.what, "", ok=False, to_do=error.next_step), True
    # A lab that is down or was never created is not a missing part: `lab up` starts it.
    try:
        file = lab_environment_file()
        environment = json.loads(file.read_text(encoding="utf-8"))
        kubeconfig = read_kubeconfig(environment["KUBECONFIG"])
        addresses = [kubeconfig.server(kubeconfig.current_context), f"http://{environment['SLIPWAY_REGISTRY']}"]
    except (OSError, ValueError, KeyError, TypeError):  # a KubeconfigError is a ValueError
        return PartStatus("lab", "", "not made", "", "", ok=True, to_do="`make up` makes it"), True
    up = all(_answers(address) for address in addresses)
    to_do = "" if up else "`slipway lab up` starts it"
    return PartStatus("lab", "", "up" if up else "down", str(file.parent), "", ok=True, to_do=to_do), True


def _own_cluster(kubeconfig: str, project: Project | None) -> PartStatus:
    """The cluster of the current context; if there is none, of the first context that an environment names."""
    try:
        found = read_kubeconfig(kubeconfig)
        settings = [project.config(name) for name in project.environments()] if project else []
        named = [context for each in settings if (context := each.get("slipway:context")) in found.contexts]
        used = found.context(found.current_context or next(iter(named), None))
        address = found.server(used)
        to_do = "" if address else "set KUBECONFIG to a kubeconfig whose current-context names a cluster"
    except KubeconfigError as error:
        address, to_do = "", str(error)
    if to_do:
        return PartStatus("your cluster", "", "", kubeconfig, "", ok=False, to_do=to_do)
    if proxy_of(address, os.environ) or found.proxy(used):
        to_do = no_answer(used, kubeconfig)
    elif not _answers(address):
        to_do = f"check why {address} does not answer"
    ok = not to_do
    return PartStatus("your cluster", "answers", "answers" if ok else "no answer", address, "", ok, to_do)


def _answers(address: str) -> bool:
    """Whether something listens at the address of a URL."""
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _short(where: str) -> str:
    """The path, with `~` for the home folder."""
    path, home = Path(where), Path.home()
    return f"~/{path.relative_to(home)}" if home != Path("/") and path.is_relative_to(home) else where


def _print_table(statuses: Sequence[PartStatus]) -> None:
    rows = [
        (
            Text("ok", "green") if status.ok else Text("!!", "bold red"),
            status.name,
            status.wanted,
            status.version or "-",
            status.source,
            _short(status.where),
            status.to_do,
        )
        for status in statuses
    ]
    print_table(("", "part", "wanted", "found", "how", "where", "what to do"), rows, below=("where", "what to do"))
    missing = sum(not status.ok for status in statuses)
    closing = f"{missing} of {len(statuses)} parts need a fix." if missing else "All parts are ready."
    Console(highlight=False).print(Text(closing))
