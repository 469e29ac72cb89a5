"""The lab's tools from Debian: finds them, and installs missing ones without starting their services."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.toolchain.layout import installation_lock, log_file, write_atomically
from lab.toolchain.running import run_logged
from slipway.errors import SlipwayError
from slipway.progress import Progress, Step

POLICY = Path("/usr/sbin/policy-rc.d")
CREATE_CLUSTER = Path("/etc/postgresql-common/createcluster.d/slipway.conf")
UNIT_FOLDERS = (Path("/lib/systemd/system"), Path("/usr/lib/systemd/system"))
_ADMIN_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"
_MARK = "# Written by slipway for the time of one package installation."
_LOCK_WAIT_SECONDS = 300
_LOCK_POLL_SECONDS = 3.0
_LOCK_BUSY = re.compile(r"Could not get lock|Unable to acquire the dpkg frontend lock|Unable to lock directory")
_STALE_LISTS = re.compile(r"Unable to locate package|has no installation candidate|404 +Not Found|Failed to fetch")
_BROKEN_OFF = re.compile(r"dpkg was interrupted")


@dataclass(frozen=True)
class DebianTool:
    """A Debian package and its required executables: names looked up on PATH, or patterns of absolute paths."""

    package: str
    executables: tuple[str, ...]
    version_arguments: tuple[str, ...] = ("--version",)

    def find(self) -> list[Path]:
        """The paths of the executables; empty if one of them is missing."""
        found = [_find(name) for name in self.executables]
        return [path for path in found if path is not None] if None not in found else []


DEBIAN_TOOLS = (
    DebianTool("etcd-server", ("etcd",)),
    DebianTool("containerd", ("containerd", "ctr")),
    DebianTool("runc", ("runc",)),
    DebianTool("containernetworking-plugins", ("/usr/lib/cni/bridge", "/usr/lib/cni/host-local"), ()),
    DebianTool("docker-registry", ("docker-registry",)),
    DebianTool("mmdebstrap", ("mmdebstrap",)),
    DebianTool("iptables", ("iptables", "iptables-save", "iptables-restore")),
    DebianTool("iproute2", ("ip",), ("-Version",)),
    DebianTool("conntrack", ("conntrack",)),
    DebianTool("socat", ("socat",), ("-V",)),
    DebianTool("postgresql", ("/usr/lib/postgresql/*/bin/postgres", "/usr/lib/postgresql/*/bin/initdb")),
)


def install_debian_tools(progress: Progress, tools: Sequence[DebianTool] = DEBIAN_TOOLS) -> None:
    """Install the packages of the tools that are missing; none of their services is started or enabled.

    Raises `SlipwayError` if that needs root or another system, or if apt-get fails.
    """
    with installation_lock(progress):
        _remove_marked()
        missing = [tool for tool in tools if not tool.find()]
        if not missing:
            return
        packages = [tool.package for tool in missing]
        if shutil.which("apt-get") is None:
            raise SlipwayError(
                f"The lab lacks {', '.join(packages)}, and this system has no apt-get",
                why="The lab installs its tools on Debian and Ubuntu only.",
                next_step="Install these tools by hand, or use a cluster of your own "
                "(KUBECONFIG and `slipway:registry`).",
            )
        if os.geteuid() != 0:
            raise SlipwayError(
                f"The lab lacks {', '.join(packages)}, and only root can install packages",
                next_step="Run the same command as root, or install the packages as root: "
                f"apt-get install {' '.join(packages)}",
            )
        _install(missing, progress)


def _install(tools: Sequence[DebianTool], progress: Progress) -> None:
    packages = [tool.package for tool in tools]
    log = log_file("apt")
    with progress.step(f"Installing {', '.join(packages)}") as step:
        log.unlink(missing_ok=True)
        units = _service_units()
        with _services_kept_down():
            _apt_install(packages, log, step)
        # At the next boot, new services would start and take the lab's ports.
        added = sorted(_service_units() - units)
        if added and shutil.which("systemctl"):
            command = ["systemctl", "disable", *added]
            run_logged(command, what="systemctl disable", log=log, step=step, environment=os.environ)
    if still := [tool for tool in tools if not tool.find()]:
        raise SlipwayError(
            f"apt-get installed {', '.join(tool.package for tool in still)}, but programs for the lab are missing",
            why="; ".join(f"{tool.package}: {', '.join(tool.executables)}" for tool in still),
            next_step=f"The log is {log}.",
        )


def _find(name: str) -> Path | None:
    if name.startswith("/"):
        return next(iter(sorted(Path("/").glob(name[1:]), reverse=True)), None)
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_ADMIN_FOLDERS}")
    return Path(found) if found else None


def _apt_install(packages: list[str], log: Path, step: Step) -> None:
    """Install `packages`; fixes each common problem once: outdated package lists, an interrupted dpkg."""
    install = ["apt-get", "install", "-y", "--no-install-recommends", "--no-upgrade"]
    install += ["-o", f"DPkg::Lock::Timeout={_LOCK_WAIT_SECONDS}", "-o", "Dpkg::Options::=--force-confold", *packages]
    remedies = {_STALE_LISTS: ["apt-get", "update"], _BROKEN_OFF: ["dpkg", "--configure", "-a"]}
    while True:
        try:
            return _apt(install, log, step)
        except SlipwayError as error:
            fitting = next((pattern for pattern in remedies if pattern.search(error.why)), None)
            if fitting is None:
                raise
            _apt(remedies.pop(fitting), log, step)


def _apt(command: list[str], log: Path, step: Step) -> None:
    """Run `command`, waiting while another program holds apt's or dpkg's lock."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    deadline = time.monotonic() + _LOCK_WAIT_SECONDS
    while True:
        try:
            run_logged(command, what=" ".join(command[:2]), log=log, step=step, environment=environment)
            return
        except SlipwayError as error:
            if not _LOCK_BUSY.search(error.why) or time.monotonic() > deadline:
                raise
        step.update("waiting for another package manager to end")
        time.sleep(_LOCK_POLL_SECONDS)


@contextmanager
def _services_kept_down() -> Iterator[None]:
    """Make the packages' scripts start and stop no service (Debian policy 9.3.3.1) and create no database cluster."""
    try:
        if not POLICY.exists():
            write_atomically(POLICY, f"#!/bin/sh\n{_MARK}\nexit 101\n", mode=0o755)
        write_atomically(CREATE_CLUSTER, f"{_MARK}\ncreate_main_cluster = false\n", mode=0o644)
        yield
    finally:
        _remove_marked()


def _remove_marked() -> None:
    """Remove our own files, also the files of a run that was killed; a file of others in their place stays."""
    for path in (POLICY, CREATE_CLUSTER):
        if os.access(path.parent, os.W_OK) and path.is_file() and _MARK in path.read_text(errors="replace"):
            path.unlink()


def _service_units() -> set[str]:
    return {unit.name for folder in UNIT_FOLDERS for unit in folder.glob("*.service") if "@" not in unit.name}
