"""The language host's service: answers the engine's requests to a language, for Python."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

import grpc
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from lab.plugins.language_python.environment import (
    PythonEnvironment,
    about,
    environment_of,
    installed_packages,
    prompts,
)
from lab.plugins.language_python.processes import ProgramProcess, Request
from lab.plugins.serving import PluginError

VERSION = "3.259.0"
ALREADY_REPORTED = 32


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """One engine's language host. `waiting` is an interpreter started ahead, for a program that may use it."""

    def __init__(self, engine_address: str, waiting: ProgramProcess) -> None:
        self._engine_address = engine_address
        self._waiting: ProgramProcess | None = waiting
        self._running: set[ProgramProcess] = set()
        self._lock = threading.Lock()

    def register(self, server: grpc.Server) -> None:
        """Make `server` answer for this host."""
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(self, server)

    def stop(self) -> None:
        """End every program and plugin; running ones get time to clean up."""
        if self._waiting is not None:
            self._waiting.kill()
        running = list(self._running)
        for process in running:
            process.interrupt()
        for process in running:
            process.stop()

    def Handshake(  # noqa: N802 -- the protocol's name, as below
        self, request: language_pb2.LanguageHandshakeRequest, _context: grpc.ServicerContext
    ) -> language_pb2.LanguageHandshakeResponse:
        self._engine_address = request.engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, _request: Empty, _context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:  # noqa: N802
        return plugin_pb2.PluginInfo(version=VERSION)

    def About(  # noqa: N802
        self, request: language_pb2.AboutRequest, _context: grpc.ServicerContext
    ) -> language_pb2.AboutResponse:
        return about(request.info)

    def GetProgramDependencies(  # noqa: N802
        self, request: language_pb2.GetProgramDependenciesRequest, _context: grpc.ServicerContext
    ) -> language_pb2.GetProgramDependenciesResponse:
        return installed_packages(request.info, transitive=request.transitiveDependencies)

    def RuntimeOptionsPrompts(  # noqa: N802
        self, request: language_pb2.RuntimeOptionsRequest, _context: grpc.ServicerContext
    ) -> language_pb2.RuntimeOptionsResponse:
        return prompts(dict(request.info.options))

    def Template(  # noqa: N802
        self, _request: language_pb2.TemplateRequest, _context: grpc.ServicerContext
    ) -> language_pb2.TemplateResponse:
        return language_pb2.TemplateResponse()  # pip's projects need no preparation

    def GetRequiredPackages(  # noqa: N802
        self, request: language_pb2.GetRequiredPackagesRequest, _context: grpc.ServicerContext
    ) -> language_pb2.GetRequiredPackagesResponse:
        from lab.plugins.language_python import packages  # noqa: PLC0415 -- `About` comes first and alone: stay quick

        environment = environment_of(request.info)
        environment.require()
        if environment.is_ours():
            found = packages.required_packages()
        else:
            # That interpreter loads the SDK while the engine gets ready to run the program.
            with self._lock:
                if self._waiting is not None and self._waiting.python != environment.python:
                    self._waiting.kill()
                    self._waiting = None
                if self._waiting is None:
                    self._waiting = ProgramProcess.start(environment.python)
            found = json.loads(environment.output_of(packages.__file__))
        required = [
            plugin_pb2.PackageDependency(
                name=package["name"],
                kind="resource",
                version=package["version"],
                server=package.get("server", ""),
                parameterization=_parameterization(package.get("parameterization")),
                extension=_parameterization(package.get("extensionParameterization")),
            )
            for package in found
        ]
        return language_pb2.GetRequiredPackagesResponse(packages=required)

    def Run(  # noqa: N802
        self, request: language_pb2.RunRequest, context: grpc.ServicerContext
    ) -> language_pb2.RunResponse:
        environment = environment_of(request.info)
        environment.require()
        if request.attach_debugger:
            return language_pb2.RunResponse(error="Slipway's fallback language host cannot attach a debugger")
        process = self._take(environment)
        context.add_callback(process.interrupt)
        process.run(self._program_request(request, environment))
        code = process.wait()
        with self._lock:
            self._running.discard(process)
        if code == ALREADY_REPORTED or process.interrupted:
            return language_pb2.RunResponse(bail=True)
        if code < 0:
            return language_pb2.RunResponse(error=f"program was ended by signal {-code}")
        return language_pb2.RunResponse(error=f"program exited with non-zero exit code: {code}" if code else "")

    def RunPlugin(  # noqa: N802
        self, request: language_pb2.RunPluginRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.RunPluginResponse]:
        from lab.plugins.language_python import plugins  # noqa: PLC0415

        is_policy_pack = request.kind == "analyzer"
        environment = environment_of(request.info, is_plugin=not is_policy_pack)
        environment.require()
        process = ProgramProcess.start(environment.python, piped=True)
        with self._lock:
            self._running.add(process)
        if not context.add_callback(process.kill):
            process.kill()
        run = plugins.run_policy_pack if is_policy_pack else plugins.run_provider
        yield from run(process, request, environment)
        with self._lock:
            self._running.discard(process)

    def InstallDependencies(  # noqa: N802
        self, request: language_pb2.InstallDependenciesRequest, _context: grpc.ServicerContext
    ) -> Iterator[language_pb2.InstallDependenciesResponse]:
        from lab.plugins.language_python import plugins  # noqa: PLC0415

        environment = environment_of(request.info, is_plugin=request.is_plugin)
        yield from plugins.install_dependencies(environment, request.info.program_directory)

    def Cancel(self, _request: Empty, _context: grpc.ServicerContext) -> Empty:  # noqa: N802
        for process in list(self._running):
            threading.Thread(target=process.stop, daemon=True).start()
        return Empty()

    def GetRequiredPlugins(self, _request: Any, _context: grpc.ServicerContext) -> NoReturn:  # noqa: N802
        raise NotImplementedError("superseded by GetRequiredPackages")

    def GenerateProgram(self, _request: Any, _context: grpc.ServicerContext) -> NoReturn:  # noqa: N802
        _refuse("convert programs")

    def GenerateProject(self, _request: Any, _context: grpc.ServicerContext) -> NoReturn:  # noqa: N802
        _refuse("convert projects")

    def GeneratePackage(self, _request: Any, _context: grpc.ServicerContext) -> NoReturn:  # noqa: N802
        _refuse("generate SDKs")

    def Pack(self, _request: Any, _context: grpc.ServicerContext) -> NoReturn:  # noqa: N802
        _refuse("pack SDKs")

    def Link(self, _request: Any, _context: grpc.ServicerContext) -> NoReturn:  # noqa: N802
        _refuse("link packages")

    def _take(self, environment: PythonEnvironment) -> ProgramProcess:
        """The waiting interpreter if it is the right one, else a new one."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
            if waiting is not None and not (environment.is_ours() or waiting.python == environment.python):
                waiting.kill()
                waiting = None
            process = waiting or ProgramProcess.start(environment.python)
            self._running.add(process)
            return process

    def _program_request(self, request: language_pb2.RunRequest, environment: PythonEnvironment) -> Request:
        config, secret_keys = dict(request.config), list(request.configSecretKeys)
        variables = environment.activated()
        variables["PULUMI_CONFIG"] = json.dumps(config)
        variables["PULUMI_CONFIG_SECRET_KEYS"] = json.dumps(secret_keys)
        return Request(
            kind="program",
            target=request.info.entry_point,
            arguments=list(request.args),
            working_directory=request.pwd,
            environment=variables,
            config=config,
            config_secret_keys=secret_keys,
            settings={
                "monitor": request.monitor_address,
                "engine": self._engine_address,
                "project": request.project,
                "stack": request.stack,
                "parallel": request.parallel,
                "dry_run": request.dryRun,
                "organization": request.organization,
                "root_directory": request.info.root_directory,
            },
        )


def _parameterization(declared: dict[str, str] | None) -> plugin_pb2.PackageParameterization | None:
    if declared is None:
        return None
    return plugin_pb2.PackageParameterization(
        name=declared["name"], version=declared["version"], value=base64.b64decode(declared.get("value") or "")
    )


def _refuse(what: str) -> NoReturn:
    raise PluginError(
        f"Slipway's fallback language host cannot {what}; install Pulumi's own pulumi-language-python for that",
        grpc.StatusCode.UNIMPLEMENTED,
    )
