"""The folders of the toolchain, atomic writes of files, and the lock that prevents concurrent runs."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from slipway.paths import cache_home, data_home
from slipway.progress import Progress

_LOCK_POLL_SECONDS = 0.25


def toolchain_home() -> Path:
    """Folder of the installed parts, one `<part>-<version>` each."""
    return cache_home() / "toolchain"


def downloads_home() -> Path:
    """Folder of unfinished downloads, kept so that an interrupted one can resume."""
    return cache_home() / "downloads"


def log_file(name: str) -> Path:
    """The log file of building or installing `name`; creates its folder."""
    path = cache_home() / "logs" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def pulumi_home() -> Path:
    """Our PULUMI_HOME, separate so that the user's plugins stay unchanged. Kept with the data for its log-ins."""
    return data_home() / "pulumi-home"


def write_atomically(path: Path, text: str, *, mode: int) -> None:
    """Write `path` so that a reader sees the old text or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as temporary:
        try:
            temporary.write(text)
            temporary.flush()
            os.fchmod(temporary.fileno(), mode)
            Path(temporary.name).replace(path)
        except BaseException:
            Path(temporary.name).unlink(missing_ok=True)
            raise


def link_atomically(link: Path, target: Path) -> None:
    """Make `link` point to `target`, replacing what was there."""
    if link.is_symlink() and link.readlink() == target:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)


@contextmanager
def installation_lock(progress: Progress) -> Iterator[None]:
    """Hold this cache's lock; wait for a run that has it, and say so. The kernel frees it when its process ends."""
    path = cache_home() / "toolchain.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        if not _try_lock(lock.fileno()):
            lock.seek(0)
            with progress.step(f"Waiting for another installation (process {lock.read().strip() or 'unknown'})"):
                while not _try_lock(lock.fileno()):
                    time.sleep(_LOCK_POLL_SECONDS)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
