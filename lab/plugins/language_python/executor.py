"""Runs one Pulumi program, policy pack or plugin in the interpreter it needs.

The language host starts this file by its path with the program's own Python, so it imports nothing of this project.
It loads the SDK, then waits on stdin for a request: one line of JSON. When stdin closes, the host is gone.
"""

from __future__ import annotations

import signal
import sys

if __name__ == "__main__":
    del sys.path[0]  # the program must not import from this file's folder
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the program runs, an interrupt ends it without a message

import asyncio
import atexit
import importlib.util
import json
import logging
import os
import runpy
import threading
import traceback
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

ALREADY_REPORTED = 32  # the exit code for "the user has seen the error", as in Pulumi's own language host
INTERRUPTED = 130
CLEANUP_SECONDS = 2.0  # for a program that was interrupted; the host kills it after three
GRACE_SECONDS = 3.0  # for a program whose host has died, from the interrupt to the end

try:
    import pulumi
    import pulumi.runtime
except ImportError as error:
    SDK_PROBLEM = str(error)
    MACHINERY: tuple[str, ...] = ()
else:
    SDK_PROBLEM = ""
    _MODULES = (asyncio, futures, sys.modules["grpc"], pulumi)
    MACHINERY = tuple(f"{Path(str(module.__file__)).parent}{os.sep}" for module in _MODULES)


def main() -> int:
    """Wait for a request, carry it out, and return the exit code."""
    request = _receive()
    if request is None:
        return 0
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["working_directory"])
    sys.argv = [request["target"], *request["arguments"]]
    signal.signal(signal.SIGINT, _interrupted)
    try:
        if request["kind"] == "program":
            return _run_program(request)
        return _run_plugin(request)
    except KeyboardInterrupt:
        _leave_quietly()


def _receive() -> dict[str, Any] | None:
    """Read the request; `None` if the host closed the pipe without one."""
    control = os.dup(0)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(control, 65536)
        if not chunk:
            return None
        line += chunk
    threading.Thread(target=_watch_host, args=(control,), daemon=True).start()
    request: dict[str, Any] = json.loads(line)
    return request


def _watch_host(control: int) -> None:
    """End with the host: it holds the other end of the pipe as long as it runs."""
    os.read(control, 1)
    os.killpg(0, signal.SIGINT)
    threading.Event().wait(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


def _interrupted(_number: int, _frame: FrameType | None) -> NoReturn:
    """Let the program clean up (`finally`, `except KeyboardInterrupt`); errors meanwhile are not printed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_late, daemon=True).start()
    sys.unraisablehook = lambda _: None
    threading.excepthook = lambda _: None
    raise KeyboardInterrupt


def _leave_late() -> None:
    """End a program whose main thread does not end: it waits for an answer that a cancelled engine will not give."""
    threading.Event().wait(CLEANUP_SECONDS)
    _leave_quietly()


def _leave_quietly() -> NoReturn:
    """Exit without waiting for threads that are blocked in calls to an engine that no longer answers."""
    atexit._run_exitfuncs()  # temporary folders and the like
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(INTERRUPTED)


def _run_program(request: dict[str, Any]) -> int:
    """Run a program as a stack, as Pulumi's own `pulumi-language-python-exec` does."""
    if SDK_PROBLEM:
        sys.stderr.write(
            f"The Pulumi SDK cannot be loaded by {sys.executable}: {SDK_PROBLEM}\n"
            "Install the program's dependencies with `pulumi install`, "
            "or name their virtual environment in Pulumi.yaml: runtime.options.virtualenv\n"
        )
        return 1
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    pulumi.runtime.set_all_config(request["config"], request["config_secret_keys"])
    pulumi.runtime.configure(pulumi.runtime.Settings(**request["settings"]))
    entry_point = Path(request["target"]).absolute()
    if entry_point.is_dir() and not (entry_point / "__main__.py").is_file():
        pulumi.log.error(f"unable to find main python program `__main__.py` in `{entry_point}`")
        return ALREADY_REPORTED
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    threads = futures.ThreadPoolExecutor(max_workers=max(request["settings"]["parallel"], 1) * 4)
    loop.set_default_executor(threads)
    # A failing program leaves futures that were not awaited; asyncio's messages about them do not help.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        loop.run_until_complete(pulumi.runtime.run_in_stack(_program(request["target"])))
    except KeyboardInterrupt:
        _cancel_tasks(loop)
        _leave_quietly()
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return ALREADY_REPORTED
    except Exception as error:  # noqa: BLE001 -- every exception is the program's
        pulumi.log.error("Program failed with an unhandled exception:\n" + _user_traceback(error))
        return ALREADY_REPORTED
    threads.shutdown(wait=True)
    loop.close()
    return 0


def _cancel_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Let coroutines clean up for at most half of the time there is: some wait for the engine in vain."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=CLEANUP_SECONDS / 2))


def _program(target: str) -> Callable[[], None]:
    def run() -> None:
        try:
            runpy.run_path(target, run_name="__main__")
        except KeyboardInterrupt:  # the SDK would catch it, and wait for the engine
            _leave_quietly()

    return run


def _user_traceback(error: BaseException) -> str:
    """The traceback without the frames that led to the program: the host's, runpy's, asyncio's and the SDK's."""
    seen: BaseException | None = error
    while seen is not None:
        trace = seen.__traceback__
        while trace is not None and _is_machinery(trace.tb_frame.f_code.co_filename):
            trace = trace.tb_next
        seen.__traceback__ = trace  # `None` if no frame is the program's, as for a syntax error in it
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "".join(traceback.format_exception(error))


def _is_machinery(filename: str) -> bool:
    return filename in (__file__, runpy.__file__) or filename.startswith(("<frozen ", *MACHINERY))


def _run_plugin(request: dict[str, Any]) -> int:
    """Run a policy pack or a provider written in Python: a module by its name, or a folder by its path."""
    try:
        if request["kind"] == "path":
            runpy.run_path(request["target"], run_name="__main__")
        elif request["kind"] == "module":
            _run_module(request["target"])
        else:
            _run_policy_pack(request["target"])
    except Exception as error:  # noqa: BLE001 -- every exception is the plugin's
        sys.stderr.write(_user_traceback(error))
        return 1
    return 0


def _run_module(name: str) -> None:
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _run_policy_pack(folder: str) -> None:
    """Run a policy pack as `python -m pulumi.policy <engine address> <pack folder>` would."""
    server = _sibling("policy_server").PolicyServer()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    os.environ.update(server.stack_variables())
    server.offer_to_pack()
    sys.argv = ["pulumi.policy", *sys.argv[1:], folder]
    # `pulumi.policy` formats the pack's errors for the engine's log, which may be closed by then: keep them.
    failures: list[str] = []
    format_exc = traceback.format_exc

    def keep(*arguments: Any, **options: Any) -> str:
        if error := sys.exc_info()[1]:
            failures.append(_user_traceback(error))
        return format_exc(*arguments, **options)

    traceback.format_exc = keep
    try:
        _run_module("pulumi.policy")
    finally:
        server.fail("".join(failures))


def _sibling(name: str) -> Any:
    """Import a module beside this file, which is not on `sys.path`."""
    spec = importlib.util.spec_from_file_location(f"_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None  # noqa: S101 -- for the type checker
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
