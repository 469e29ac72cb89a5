"""`slipway lab up|down|status|toolchain`: the one-node Kubernetes, registry and BuildKit of a machine without them."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.text import Text

from lab.lab import Lab
from lab.settings import load_settings
from lab.toolchain import install as install_toolchain
from slipway.errors import ExitCode
from slipway.progress import Progress, elapsed_text, print_table


def up(progress: Progress | None = None) -> int:
    """Start the lab, or start it again; does nothing if nothing is missing."""
    progress = progress or Progress()
    lab = Lab(load_settings(), progress)
    changed = lab.up()
    kubeconfig = lab.variables()["KUBECONFIG"]
    progress.note(f"The lab is up{'' if changed else ' already'}. Its kubeconfig is {kubeconfig}")
    return ExitCode.DONE


def down(progress: Progress | None = None, *, purge: bool = False) -> int:
    """Stop the lab. Its data stay for the next `up`; `purge` removes all data except Pulumi's history and its key."""
    progress = progress or Progress()
    lab = Lab(load_settings(), progress)
    progress.note(lab.down(purge=purge))
    return ExitCode.DONE


def databases(environment: str, *, drop: bool = False) -> int:
    """Create the databases of an environment on the lab's PostgreSQL, or delete them with all their data."""
    progress = Progress()
    lab = Lab(load_settings(), progress)
    if drop:
        lab.drop_databases(environment)
        progress.note(f"{environment} has no databases on the lab any more.")
    else:
        lab.make_databases(environment)
        progress.note(f"{environment} has databases of its own on the lab.")
    return ExitCode.DONE


def status(json_output: bool = False) -> int:
    """Show each process of the lab; fails unless every one is healthy."""
    lab = Lab(load_settings(), Progress())
    found = lab.status()
    healthy = bool(found) and all(process.healthy for process in found)
    if json_output:
        document = {"healthy": healthy, "processes": [process.document() for process in found]}
        Console(soft_wrap=True).print_json(json.dumps(document))
    elif not found:
        Console(highlight=False).print("There is no lab on this machine. Make one with `slipway lab up`.")
    else:
        headings = ("process", "pid", "health", "memory", "up", "listens on")
        rows = []
        for process in found:
            problem, *_ = process.problem.strip().splitlines() or ["unhealthy"]
            running = process.pid is not None
            rows.append(
                (
                    process.name,
                    str(process.pid) if running else "-",
                    Text("healthy", style="green") if process.healthy else Text(problem, style="red"),
                    _mebibytes(process.memory_bytes) if running else "-",
                    elapsed_text(process.uptime_seconds) if running else "-",
                    ", ".join(dict.fromkeys(process.listens)),  # each once, although TCP and UDP may both listen
                )
            )
        print_table(headings, rows, right=("pid", "memory", "up"), below=("listens on", "health"))
        console = Console(highlight=False)
        total = sum(process.memory_bytes for process in found)
        unhealthy = [process.name for process in found if not process.healthy]
        console.print(f"{len(found) - len(unhealthy)} of {len(found)} healthy, {_mebibytes(total)} in all")
        console.print(f"The log of each is {Path(found[0].log).parent}/PROCESS.log", soft_wrap=True)
        if unhealthy:
            console.print("`slipway lab up` starts what is missing; the logs say why it ended.")
    return ExitCode.DONE if healthy else ExitCode.FAILED


def _mebibytes(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:.0f} MiB"


def install(progress: Progress | None = None) -> int:
    """Install these parts of the toolchain; quick if all are there."""
    progress = progress or Progress()
    with progress.step("Toolchain"):
        install_toolchain(progress, for_lab=False)
    return ExitCode.DONE
