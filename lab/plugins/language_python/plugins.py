"""What the engine asks for beside programs: policy packs, providers and pip's installations, their output streamed."""

from __future__ import annotations

import queue
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from pulumi.runtime.proto import language_pb2

from lab.plugins.language_python.environment import PythonEnvironment
from lab.plugins.language_python.processes import ProgramProcess, Request
from lab.plugins.serving import PluginError

Responses = Iterator[language_pb2.RunPluginResponse]


def run_provider(
    process: ProgramProcess,
    request: language_pb2.RunPluginRequest,
    environment: PythonEnvironment,
) -> Responses:
    """Run a provider: its folder if that has a `__main__.py`, else the package that its pyproject.toml names."""
    folder = Path(request.info.program_directory)
    run = Request(working_directory=request.pwd, environment=environment.activated(_variables(request)))
    if (folder / "__main__.py").is_file():
        run |= Request(kind="path", target=str(folder), arguments=list(request.args))
    else:
        pyproject = folder / "pyproject.toml"
        content = tomllib.loads(pyproject.read_text(encoding="utf-8")) if pyproject.is_file() else {}
        package = content.get("project", {}).get("name")
        if not isinstance(package, str):
            raise PluginError(
                f"{folder} cannot be run: it has neither a __main__.py nor a pyproject.toml with project.name"
            )
        run |= Request(kind="module", target="pulumi.run.plugin", arguments=[package, *request.args])
    process.run(run)
    yield from _output(process, stdout=_chunks(process.stdout))


def run_policy_pack(
    process: ProgramProcess,
    request: language_pb2.RunPluginRequest,
    environment: PythonEnvironment,
) -> Responses:
    """Run a policy pack in its own folder, as Pulumi's own host does."""
    folder = request.info.program_directory
    process.run(
        Request(
            kind="policy",
            target=folder,
            arguments=list(request.args),
            working_directory=folder,
            environment=environment.activated(_variables(request)),
        )
    )
    yield from _output(process, stdout=_without_second_port(process.stdout))


def _variables(request: language_pb2.RunPluginRequest) -> dict[str, str]:
    return dict(variable.split("=", 1) for variable in request.env)


def _output(process: ProgramProcess, stdout: Iterator[bytes]) -> Responses:
    """The output of the process, as it comes, then its exit code."""
    output: queue.SimpleQueue[language_pb2.RunPluginResponse | None] = queue.SimpleQueue()

    def pump(responses: Responses) -> None:
        for response in responses:
            output.put(response)
        output.put(None)

    pipes = (
        (language_pb2.RunPluginResponse(stdout=chunk) for chunk in stdout),
        (language_pb2.RunPluginResponse(stderr=chunk) for chunk in _chunks(process.stderr)),
    )
    for pipe in pipes:
        threading.Thread(target=pump, args=(pipe,), daemon=True).start()
    for _ in pipes:
        yield from iter(output.get, None)
    yield language_pb2.RunPluginResponse(exitcode=process.wait())


def _without_second_port(stdout: BufferedReader) -> Iterator[bytes]:
    """Drop the second port: the executor prints it before the pack runs, and the pack, which gets the same, again."""
    port = stdout.readline()
    yield port
    seen = False
    for line in stdout:
        if line == port and not seen:
            seen = True
        else:
            yield line


def _chunks(pipe: BufferedReader) -> Iterator[bytes]:
    return iter(lambda: pipe.read1(65536), b"")


def install_dependencies(
    environment: PythonEnvironment, directory: str
) -> Iterator[language_pb2.InstallDependenciesResponse]:
    """`pulumi install`: make the program's virtual environment, install its packages, and yield the output as it comes.

    Raises:
        PluginError: a command failed.
    """
    environment.require_place()
    if not environment.exists():
        yield _line(f"Creating virtual environment {environment.virtualenv}")
        system = PythonEnvironment(virtualenv=None, option="")
        yield from _run_python(system, ["-m", "venv", str(environment.virtualenv)], directory)
    packages = _declared_packages(Path(directory))
    if not packages:
        yield _line(f"Nothing to install: neither requirements.txt nor pyproject.toml in {directory}")
        return
    yield _line("Installing dependencies")
    yield from _run_python(environment, ["-m", "pip", "install", "--disable-pip-version-check", *packages], directory)
    yield _line("Finished installing dependencies")


def _declared_packages(directory: Path) -> list[str]:
    """pip's arguments for the program in `directory`: its requirements.txt, else its pyproject.toml."""
    if (directory / "requirements.txt").is_file():
        return ["-r", "requirements.txt"]
    pyproject = directory / "pyproject.toml"
    if not pyproject.is_file():
        return []
    try:
        content = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise PluginError(f"{pyproject} is not valid TOML: {error}") from error
    if "build-system" in content:
        return ["--editable", "."]
    return list(content.get("project", {}).get("dependencies", []))


def _run_python(
    environment: PythonEnvironment, arguments: list[str], directory: str
) -> Iterator[language_pb2.InstallDependenciesResponse]:
    command = [environment.python, *arguments]
    with subprocess.Popen(
        command,
        cwd=directory,
        env=environment.activated(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None  # noqa: S101 -- for the type checker
        for line in process.stdout:
            yield language_pb2.InstallDependenciesResponse(stdout=line)
    if process.returncode:
        raise PluginError(f"`{' '.join(command)}` exited with {process.returncode}; its output is above")


def _line(text: str) -> language_pb2.InstallDependenciesResponse:
    return language_pb2.InstallDependenciesResponse(stdout=f"{text}\n".encode())
