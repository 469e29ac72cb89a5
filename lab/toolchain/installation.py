"""Installs every part: found on PATH, downloaded, built, or (two plugins) started from this checkout; stamps it."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lab.toolchain.download import Downloader, UnavailableError
from lab.toolchain.go import build_part, ensure_go, recipe
from lab.toolchain.layout import (
    LANGUAGE_HOST_MODULE,
    Toolchain,
    bin_folder,
    installation_lock,
    installed,
    is_launcher,
    link_atomically,
    part_folder,
    point_launcher,
    show_to_engine,
    toolchain_home,
    turn_off_engine_log,
    write_atomically,
)
from lab.toolchain.parts import LAB_PARTS, PROGRAMS, PROVIDERS, Part
from lab.toolchain.versions import (
    ask_plugin,
    find_nearby,
    find_on_path,
    has_version,
    nearby_executables,
    reported_version,
    why_unusable,
)
from slipway.errors import SlipwayError
from slipway.paths import cache_home, data_home, toolchain_environment_file
from slipway.progress import Progress

_DISPATCHER = """\
#!/bin/sh
# Runs the component named by the first argument, as our own multi-call binary does.
component=$1
shift
exec {folder}/"$component" "$@"
"""
STAMP = "stamp.json"


@dataclass(frozen=True)
class FileMark:
    """Size and time show quickly that a file is as it was installed; the hash proves it."""

    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class Stamp:
    """`source` is `PATH`, `download`, `build` or `fallback`; `origin` the path, URL or compiler; `recipe` a hash of
    everything that goes into the build, so that a part with a changed pin is rebuilt."""

    part: str
    version: str
    source: str
    origin: str
    recipe: str
    files: dict[str, FileMark] = field(default_factory=dict)


def install(progress: Progress | None = None, *, for_lab: bool = True) -> Toolchain:
    """Install every part and write `toolchain.json`; quick if all are installed. Raises `SlipwayError`.

    Without `for_lab`, the parts that only the lab runs are left out: a user with a cluster and a registry of their own
    need not build Kubernetes.
    """
    progress = progress or Progress()
    with _installing(progress):
        _ensure([part for part in (*PROGRAMS, *PROVIDERS) if for_lab or part not in LAB_PARTS], progress)
        for part in PROVIDERS:
            show_to_engine(part)
        turn_off_engine_log()
        toolchain = installed()
        text = json.dumps(toolchain.environment(), indent=2) + "\n"
        write_atomically(toolchain_environment_file(), text, mode=0o600)
    return toolchain


def install_lab_parts(progress: Progress) -> None:
    """Install the parts that the lab starts with. Raises `SlipwayError`."""
    with _installing(progress):
        _ensure(LAB_PARTS, progress)


def install_part(part: Part, progress: Progress) -> Path:
    """Install a part outside the toolchain; returns the folder of its executables. Raises `SlipwayError`."""
    with _installing(progress):
        _ensure([part], progress)
    return bin_folder(part)


@contextmanager
def _installing(progress: Progress) -> Iterator[None]:
    if sys.platform != "linux":
        raise SlipwayError(f"The toolchain is for Linux, and this is {sys.platform}", next_step="Use a Linux machine.")
    try:
        with installation_lock(progress):
            yield
    except OSError as error:
        raise SlipwayError(
            f"The toolchain cannot be written to {cache_home()} and {data_home()}",
            why=str(error),
            next_step="Free some space, or set SLIPWAY_CACHE and SLIPWAY_HOME to folders that can be written.",
        ) from error


def _ensure(parts: Sequence[Part], progress: Progress) -> None:
    installation = Installation(progress)
    try:
        for part in parts:
            installation.ensure(part)
    finally:
        installation.close()


def is_current(part: Part, stamp: Stamp | None, *, thorough: bool = False) -> bool:
    """Whether the installed part matches its stamp, and the stamp the current table of parts and modules."""
    if stamp is None or (stamp.part, stamp.version) != (part.name, part.version):
        return False
    if stamp.source == "build" and (part.build is None or stamp.recipe != recipe(part.build)):
        return False
    return not changed_files(part_folder(part), stamp, thorough=thorough)


class Installation:
    """One run: installs part after part, and remembers sites that were unreachable."""

    def __init__(self, progress: Progress, downloader: Downloader | None = None) -> None:
        self._progress = progress
        self._downloader = downloader or Downloader()

    def close(self) -> None:
        self._downloader.close()

    def ensure(self, part: Part) -> None:
        """Install `part`; if it is installed, look only for an official plugin in place of a fallback."""
        stamp = read_stamp(part_folder(part))
        current = is_current(part, stamp)
        if not current or (stamp and stamp.source == "fallback" and find_nearby(part)):
            self._choose(part)
        stamp = read_stamp(part_folder(part))
        # Launchers start this checkout's modules, whichever checkout wrote them.
        if stamp and stamp.source == "fallback":
            point_launcher(bin_folder(part) / part.executables[0], part.fallback_module)
        if stamp and stamp.source == "build" and part.companion:
            self._provide_companion(part)

    def _choose(self, part: Part) -> None:
        """Try the ways in their order, each in a folder that gets its name only when it is complete."""
        last_way = self._from_modules if part.build else self._from_checkout
        reasons: list[str] = []
        for way in (self._from_path, self._from_download, last_way):
            partial = part_folder(part).with_name(f"{part.folder_name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            (partial / "bin").mkdir(parents=True)
            try:
                source, origin = way(part, partial / "bin")
            except UnavailableError as error:
                reasons.append(str(error))
                continue
            self._complete(part, partial, source, origin)
            if source == "fallback":
                self._progress.note(f"{part.title}: this checkout's own is used, because {' and '.join(reasons)}")
            return

    def _from_path(self, part: Part, folder: Path) -> tuple[str, str]:
        executables = nearby_executables(part)
        if not executables:
            raise UnavailableError(f"{' and '.join(part.executables)} {part.version} is not on PATH")
        if unusable := why_unusable(part, executables):
            reason = f"{next(iter(executables.values()))} is not used: {unusable}"
            self._progress.note(f"{part.title} {part.version}: {reason}")
            raise UnavailableError(reason)
        for name, path in executables.items():
            (folder / name).symlink_to(path.absolute())
        return "PATH", str(executables[part.executables[0]])

    def _from_download(self, part: Part, folder: Path) -> tuple[str, str]:
        if reason := self._downloader.known_unreachable(part):
            raise UnavailableError(reason)
        with self._progress.step(f"Downloading {part.title} {part.version}") as step:
            try:
                url = self._downloader.fetch(part, folder, step)
                if wrong := _wrong_version(part, folder):
                    raise UnavailableError(wrong)
            except UnavailableError as error:
                step.skip(str(error))
                raise
        return "download", url

    def _from_modules(self, part: Part, folder: Path) -> tuple[str, str]:
        if part.build is None:
            raise UnavailableError(f"there are no Go modules of {part.title}")
        go = ensure_go(self._progress)
        with self._progress.step(f"Building {part.title} {part.version}") as step:
            step.result = f"{build_part(part, part.build, go, folder, step):.0f} s of processor time"
            if part.multicall:
                for name in part.executables:
                    (folder / name).symlink_to(part.multicall)
            if wrong := _wrong_version(part, folder):
                raise SlipwayError(f"Building {part.title} {part.version} gave another version", why=wrong)
        return "build", str(go)

    def _from_checkout(self, part: Part, folder: Path) -> tuple[str, str]:
        point_launcher(folder / part.executables[0], part.fallback_module)
        return "fallback", part.fallback_module

    def _complete(self, part: Part, partial: Path, source: str, origin: str) -> None:
        """Add a missing multi-call dispatcher, write the stamp, and give the folder its final name."""
        folder = partial / "bin"
        if part.multicall and not (folder / part.multicall).exists():
            final = shlex.quote(str(bin_folder(part)))
            write_atomically(folder / part.multicall, _DISPATCHER.format(folder=final), mode=0o755)
        files = {} if source == "fallback" else mark_files(partial)
        flush_files(partial)
        made_by = recipe(part.build) if part.build else ""
        stamp = Stamp(part.name, part.version, source, origin, made_by, files)
        write_atomically(partial / STAMP, json.dumps(asdict(stamp), indent=2) + "\n", mode=0o644)
        shutil.rmtree(part_folder(part), ignore_errors=True)
        partial.rename(part_folder(part))

    def _provide_companion(self, part: Part) -> None:
        """Put the language host beside an engine of our own build: the one on PATH, else this checkout's."""
        beside = bin_folder(part) / part.companion
        on_path = find_on_path(part.companion, but_not_below=toolchain_home())
        version = ask_plugin(on_path) if on_path else ""
        if on_path and version == part.version:
            link_atomically(beside, on_path)
            return
        if not is_launcher(beside):
            reason = f"{on_path} has {version or 'no version'}, not {part.version}" if on_path else "none is on PATH"
            self._progress.note(
                f"Python language host: this checkout's own is used, because an engine built here has none and {reason}"
            )
        point_launcher(beside, LANGUAGE_HOST_MODULE)


def _wrong_version(part: Part, folder: Path) -> str:
    """The wrong versions that the installed executables report; empty if there are none."""
    return "; ".join(
        f"{name} reports {reported_version(part, folder / name) or 'no version'}"
        for name in part.executables
        if not has_version(part, folder / name)
    )


def mark_files(folder: Path) -> dict[str, FileMark]:
    """Marks of every file below `folder/bin`; a link has the mark of its target."""
    hashes: dict[Path, str] = {}
    marks = {}
    for path in sorted((folder / "bin").iterdir()):
        status = path.stat()
        marks[path.name] = FileMark(status.st_size, status.st_mtime_ns, _hash_once(path, hashes))
    return marks


def flush_files(folder: Path) -> None:
    """Write the files below `folder/bin` to the disk: after a power cut no stamp must refer to empty ones."""
    for path in (folder / "bin").iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


def read_stamp(folder: Path) -> Stamp | None:
    """The stamp of `folder`; `None` if there is none or it cannot be read: then the part is installed again."""
    try:
        fields = json.loads((folder / STAMP).read_text())
        files = {name: FileMark(**mark) for name, mark in fields.pop("files").items()}
        return Stamp(**fields, files=files)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def changed_files(folder: Path, stamp: Stamp, *, thorough: bool = False) -> list[str]:
    """Names of the stamp's files that are gone or differ; `thorough` hashes them instead of trusting size and time."""
    changed = []
    hashes: dict[Path, str] = {}
    for name, mark in stamp.files.items():
        path = folder / "bin" / name
        try:
            status = path.stat()
            same = (status.st_size, status.st_mtime_ns) == (mark.size, mark.mtime_ns)
            if not same or (thorough and _hash_once(path, hashes) != mark.sha256):
                changed.append(name)
        except OSError:
            changed.append(name)
    return changed


def _hash_once(path: Path, hashes: dict[Path, str]) -> str:
    """The hash of the target of `path`, only once: several links may point to one large file."""
    target = path.resolve()
    if target not in hashes:
        with target.open("rb") as stream:
            hashes[target] = hashlib.file_digest(stream, "sha256").hexdigest()
    return hashes[target]
