"""Installs the Debian packages that the lab runs on, without letting them start services of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway.errors import ConfigurationError, SlipwayError
from slipway.progress import Progress

from .files import write_text
from .shell import attempt, find_program, run

# program -> the package that brings it
PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "etcd": "etcd-server",
    "docker-registry": "docker-registry",
    "mmdebstrap": "mmdebstrap",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "mount": "mount",
}
# folder or file pattern -> the package that brings it
FILES = {
    "usr/lib/cni/bridge": "containernetworking-plugins",
    "usr/lib/postgresql/*/bin/postgres": "postgresql",
}
_SERVICES = ("containerd", "docker-registry", "etcd", "postgresql")
_MARK = "written by slipway lab up"
_POLICY = Path("/usr/sbin/policy-rc.d")
_NO_CLUSTER = Path("/etc/postgresql-common/createcluster.d/slipway-lab.conf")


def missing() -> list[str]:
    """Packages that must be installed first."""
    wanted = [package for name, package in PROGRAMS.items() if find_program(name) is None]
    wanted += [package for pattern, package in FILES.items() if not any(Path("/").glob(pattern))]
    return sorted(set(wanted))


def ensure(progress: Progress) -> None:
    _remove_marked_files()
    packages = missing()
    if not packages:
        return
    if find_program("apt-get") is None:
        raise ConfigurationError(
            f"these programs are missing, and there is no apt-get to install them: {', '.join(packages)}",
            next_step="install them with your system's package manager, or use Debian or Ubuntu",
        )
    with progress.step(f"Installing Debian packages: {', '.join(packages)}") as step, _nothing_starts():
        step.update("apt-get update")
        # Its failure alone is no reason to stop: the lists at hand may do.
        attempt(["apt-get", "update", "-q"], timeout_seconds=300)
        step.update("apt-get install")
        _install(packages)
    still_missing = missing()
    if still_missing:
        raise SlipwayError(f"apt-get installed {', '.join(still_missing)}, but what they should bring is not there")


def _install(packages: list[str]) -> None:
    existing = {name for name in _SERVICES if _has_service(name)}
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    result = attempt(command, timeout_seconds=1200, environment={"DEBIAN_FRONTEND": "noninteractive"})
    if result.returncode != 0:
        raise SlipwayError(
            f"apt-get could not install {', '.join(packages)}",
            why="\n".join((result.stderr or result.stdout).strip().splitlines()[-12:]),
            next_step="make `apt-get update` and that installation work, then run `slipway lab up` again",
        )
    # The lab runs these itself; at the next boot they would take its ports.
    if Path("/run/systemd/system").exists():
        for name in _SERVICES:
            if name not in existing and _has_service(name):
                run(["systemctl", "disable", "--quiet", name])


def _has_service(name: str) -> bool:
    return any(Path(folder, f"{name}.service").exists() for folder in ("/lib/systemd/system", "/etc/systemd/system"))


@contextmanager
def _nothing_starts() -> Iterator[None]:
    """Keep package scripts from starting daemons or making a database of their own."""
    try:
        if not _POLICY.exists():
            write_text(_POLICY, f"#!/bin/sh\n# {_MARK}\nexit 101\n", mode=0o755)
        _NO_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
        write_text(_NO_CLUSTER, f"# {_MARK}\ncreate_main_cluster = false\n", mode=0o644)
        yield
    finally:
        _remove_marked_files()


def _remove_marked_files() -> None:
    """Also after an earlier run that was killed in the middle."""
    for path in (_POLICY, _NO_CLUSTER):
        if path.exists() and _MARK in path.read_text(errors="replace"):
            path.unlink()
