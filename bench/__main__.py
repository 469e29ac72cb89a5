"""Times Slipway and Helm on the lab, writes the results, and draws them.

N="2 50 real" OPERATIONS="unchanged one" PAIRS=5 .venv/bin/python -m bench
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from bench import results
from bench.helm import install_helm
from bench.processes import CommandError, Run
from bench.report import write_documentation
from bench.results import Choice, Measurement, Operation, Size, describe, first_of, parse
from bench.tools import HELM, HELM_QPS, QPS, Bench, HelmTool, Rounds, SlipwayTool, Tool, UntilAnswered
from slipway.environment_variables import resolve
from slipway.errors import ConfigurationError, ExitCode, SlipwayError, report
from slipway.progress import Progress
from tests.recording.workspace import RecordingError, git, workspace

NAMESPACE = "slipway-bench"


def main() -> int:
    """Run as N, OPERATIONS and PAIRS say; returns the exit code."""
    try:
        choice = parse(*(os.environ.get(name, "") for name in ("N", "OPERATIONS", "PAIRS")))
        run(choice)
    except SlipwayError as error:
        return report(error)
    except (CommandError, RecordingError) as error:
        return report(SlipwayError("The benchmark did not come to its end.", why=str(error)))
    except KeyboardInterrupt:
        return report(SlipwayError("Interrupted: all that it made was removed.", code=ExitCode.INTERRUPTED))
    return ExitCode.DONE


def run(choice: Choice) -> None:
    """Measure size by size; write the results of each size before the next one begins."""
    if not resolve(os.environ, None).uses_lab:
        raise ConfigurationError(
            "The benchmark runs on the lab, and KUBECONFIG and SLIPWAY_REGISTRY name others.",
            next_step="Unset both, and run `make bench` again.",
        )
    progress = Progress()
    helm = install_helm(progress)
    if git("status", "--porcelain", "--untracked-files=no"):
        progress.note("Files differ from the last commit. What is committed is measured.")
    with workspace(NAMESPACE, Bench) as bench:
        tools = (SlipwayTool(bench), HelmTool(bench, helm, HELM), HelmTool(bench, helm, HELM_QPS, QPS))
        for size in choice.sizes:
            progress.note(f"{size} services")
            new = measure(bench, tools, size, choice, progress.note)
            merged = results.load().merged(describe(), new)
            results.FILE.write_text(results.to_json(merged), encoding="utf-8")
            write_documentation(merged)
    progress.note("Results are in bench/results.json and docs/performance.md.")


def measure(
    bench: Bench, tools: Sequence[Tool], size: Size, choice: Choice, say: Callable[[str], None]
) -> list[Measurement]:
    """Measure all chosen operations at one size."""
    runs: dict[Operation, dict[str, list[Run]]] = {}

    def keep(operation: Operation, tool: str, run: Run) -> None:
        runs.setdefault(operation, {}).setdefault(tool, []).append(run)

    load = round(os.getloadavg()[0], 1)
    workload = bench.prepare(size, secrets.token_hex(4))
    rounds = Rounds(workload, tools, choice.operations, keep, say)
    if size.real:
        rounds.tools = [UntilAnswered(tool, bench.kubectl, lambda: rounds.live) for tool in tools]
    rounds.run(choice.pairs, history=size == first_of(choice.sizes))
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    return [Measurement(size, operation, bench.commit[:8], today, load, runs[operation]) for operation in runs]


if __name__ == "__main__":
    sys.exit(main())
