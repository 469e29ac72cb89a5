"""Runs policy packs and providers written in Python, their output streamed to the engine."""

from __future__ import annotations

import json
import queue
import threading
import tomllib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

from pulumi.runtime.proto import language_pb2

from lab.plugins.language_python.policy_proxy import PolicyProxy
from lab.plugins.language_python.processes import ProgramProcess, Request
from lab.plugins.serving import PluginError

if TYPE_CHECKING:
    import grpc
    from pulumi.runtime.proto.analyzer_pb2 import AnalyzerStackConfigureRequest

    from lab.plugins.language_python.environment import PythonEnvironment

Responses = Iterator[language_pb2.RunPluginResponse]


def run_provider(
    process: ProgramProcess,
    request: language_pb2.RunPluginRequest,
    environment: PythonEnvironment,
    _context: grpc.ServicerContext,
) -> Responses:
    """Run a provider: its folder where that has a `__main__.py`, else the package that its pyproject.toml names."""
    folder = Path(request.info.program_directory)
    run = Request(working_directory=request.pwd, environment=environment.activated(_variables(request)))
    if (folder / "__main__.py").is_file():
        run |= Request(kind="path", target=str(folder), arguments=list(request.args))
    else:
        arguments = [_package_name(folder), *request.args]
        run |= Request(kind="module", target="pulumi.run.plugin", arguments=arguments)
    process.run(run)
    yield from _output(process)


def run_policy_pack(
    process: ProgramProcess,
    request: language_pb2.RunPluginRequest,
    environment: PythonEnvironment,
    context: grpc.ServicerContext,
) -> Responses:
    """Run a policy pack behind a proxy, since it wants the stack's name and configuration in its environment."""
    proxy = PolicyProxy()
    context.add_callback(proxy.stop)
    yield language_pb2.RunPluginResponse(stdout=f"{proxy.port}\n".encode())
    configuration = proxy.wait_for_configuration()
    folder = request.info.program_directory
    process.run(
        Request(
            kind="module",
            target="pulumi.policy",
            arguments=[*request.args, folder],
            working_directory=folder,
            environment=environment.activated(_variables(request)) | _stack_variables(configuration),
        )
    )
    yield from _output(process, proxy)


def _variables(request: language_pb2.RunPluginRequest) -> dict[str, str]:
    return dict(variable.split("=", 1) for variable in request.env)


def _stack_variables(configuration: AnalyzerStackConfigureRequest | None) -> dict[str, str]:
    """The variables from which the SDK's `pulumi.policy` learns about the stack."""
    if configuration is None:
        return {}
    variables = {
        "PULUMI_ORGANIZATION": configuration.organization,
        "PULUMI_PROJECT": configuration.project,
        "PULUMI_STACK": configuration.stack,
        "PULUMI_DRY_RUN": str(configuration.dry_run).lower(),
        "PULUMI_CONFIG": json.dumps(dict(configuration.config)),
    }
    return {name: value for name, value in variables.items() if value}


def _package_name(folder: Path) -> str:
    pyproject = folder / "pyproject.toml"
    if pyproject.is_file():
        name = tomllib.loads(pyproject.read_text(encoding="utf-8")).get("project", {}).get("name")
        if isinstance(name, str):
            return name
    raise PluginError(f"{folder} cannot be run: it has neither a __main__.py nor a pyproject.toml with project.name")


def _output(process: ProgramProcess, proxy: PolicyProxy | None = None) -> Responses:
    """What the process prints, then its exit code. A policy pack's first line is its port and goes to the proxy."""
    output: queue.SimpleQueue[language_pb2.RunPluginResponse | None] = queue.SimpleQueue()

    def pump_stdout() -> None:
        if proxy is not None:
            proxy.attach(process.stdout.readline())
        for chunk in _chunks(process.stdout):
            output.put(language_pb2.RunPluginResponse(stdout=chunk))
        output.put(None)

    def pump_stderr() -> None:
        for chunk in _chunks(process.stderr):
            output.put(language_pb2.RunPluginResponse(stderr=chunk))
        output.put(None)

    for pump in (pump_stdout, pump_stderr):
        threading.Thread(target=pump, daemon=True).start()
    for _ in (pump_stdout, pump_stderr):
        yield from iter(output.get, None)
    yield language_pb2.RunPluginResponse(exitcode=process.wait())


def _chunks(pipe: BufferedReader) -> Iterator[bytes]:
    """What comes, as it comes."""
    return iter(lambda: pipe.read1(65536), b"")
