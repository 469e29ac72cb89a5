"""Where each installed part is for the lab, the shell and the engine, and how files, links and launchers get there."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from lab.toolchain.parts import BUILDKIT, COREDNS, CRANE, KUBECTL, KUBERNETES, PULUMI, Part
from slipway.paths import CHECKOUT, cache_home, data_home
from slipway.progress import Progress

_LOCK_POLL_SECONDS = 0.25
LANGUAGE_HOST_MODULE = "lab.plugins.language_python"

_LAUNCHER = """\
#!/bin/sh
# Starts {module} of the checkout that `slipway` runs from; outside of its environment
# of the checkout named below; written anew by every installation of the toolchain.
checkout={checkout}
python={python}
if [ -x "$SLIPWAY_CHECKOUT/.venv/bin/python" ] && [ -d "$SLIPWAY_CHECKOUT/lab/plugins" ]; then
  checkout=$SLIPWAY_CHECKOUT
  python=$checkout/.venv/bin/python
elif [ ! -x "$python" ] || [ ! -d "$checkout/lab/plugins" ]; then
  echo "$0 belongs to $checkout, which is gone; run 'make up' in the checkout you use now" >&2
  exit 1
fi
export PYTHONPATH="$checkout${{PYTHONPATH:+:$PYTHONPATH}}"
exec "$python" -P -m {module} "$@"
"""


@dataclass(frozen=True)
class Toolchain:
    """Paths of the installed executables. `kube` takes the component (`kubelet`, ...) as its first argument."""

    pulumi: Path
    kube: Path
    kubectl: Path
    crane: Path
    buildkitd: Path
    buildctl: Path
    coredns: Path
    pulumi_home: Path

    def environment(self) -> dict[str, str | list[str]]:
        """The content of `toolchain.json`: variables of a shell, and folders for its PATH, in front and behind."""
        return {
            "PATH": [str(self.pulumi.parent), str(self.buildctl.parent)],
            # Any version will do: behind, it is there for users without one, and hides no other.
            "PATH_BEHIND": [str(self.kubectl.parent), str(self.crane.parent)],
            "PULUMI_HOME": str(self.pulumi_home),
            # Plugins on PATH are linked into PULUMI_HOME if their version is right. The engine would take any other
            # version from PATH too, with only a warning.
            "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
            # The version is pinned: the check for a newer one is useless, and costs time at every command.
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }


def installed() -> Toolchain:
    """Where the parts are once they are installed; changes nothing."""
    buildkit = bin_folder(BUILDKIT)
    return Toolchain(
        pulumi=bin_folder(PULUMI) / "pulumi",
        kube=bin_folder(KUBERNETES) / KUBERNETES.multicall,
        kubectl=bin_folder(KUBECTL) / "kubectl",
        crane=bin_folder(CRANE) / "crane",
        buildkitd=buildkit / "buildkitd",
        buildctl=buildkit / "buildctl",
        coredns=bin_folder(COREDNS) / "coredns",
        pulumi_home=pulumi_home(),
    )


def part_folder(part: Part) -> Path:
    """The part's folder in the cache: its stamp, and `bin` with its executables."""
    return toolchain_home() / part.folder_name


def bin_folder(part: Part) -> Path:
    return part_folder(part) / "bin"


def plugin_folder(part: Part) -> Path:
    """Where the engine looks for a resource plugin of exactly this version."""
    name = part.executables[0].removeprefix("pulumi-resource-")
    return pulumi_home() / "plugins" / f"resource-{name}-v{part.version}"


def turn_off_engine_log() -> None:
    """Put a file where the engine would make the folder of its own log; it runs without one.

    Otherwise each run logs everything there, encrypted and for the engine's makers alone: 40 % of its processor time,
    and half a gigabyte after a day of tests. No setting turns it off; the messages of an update are in our own log.
    """
    logs = pulumi_home() / "logs"
    if logs.is_dir():
        shutil.rmtree(logs)
    logs.parent.mkdir(parents=True, exist_ok=True)
    logs.touch()


def show_to_engine(part: Part) -> None:
    """Put a link to the plugin into a folder of PULUMI_HOME (a real folder: the engine ignores links to folders)."""
    folder = plugin_folder(part)
    executable = part.executables[0]
    link_atomically(folder / executable, bin_folder(part) / executable)
    # Left by an interrupted `pulumi plugin install`; the engine skips a folder with this mark.
    folder.with_name(f"{folder.name}.partial").unlink(missing_ok=True)


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


def launcher_text(module: str) -> str:
    """The script for `module`; `-P` keeps the program's folder, in which the engine starts it, off `sys.path`."""
    own = CHECKOUT / ".venv" / "bin" / "python"
    python = own if own.exists() else Path(sys.executable)
    return _LAUNCHER.format(module=module, checkout=shlex.quote(str(CHECKOUT)), python=shlex.quote(str(python)))


def is_launcher(path: Path) -> bool:
    """Whether `path` is one of these scripts and not an official plugin."""
    if not path.is_file() or path.stat().st_size > 4096:
        return False
    return b" of the checkout named below; written anew by " in path.read_bytes()


def point_launcher(path: Path, module: str) -> None:
    """Make `path` start this checkout's `module`; unchanged if it does already."""
    text = launcher_text(module)
    if not path.is_symlink() and path.is_file() and path.read_bytes() == text.encode():
        return
    write_atomically(path, text, mode=0o755)
