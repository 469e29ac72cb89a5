"""Writes the measurements into the documentation: tables, plots, and the one plot of the README."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import plot
from bench.choice import TITLES, Operation, Size
from bench.results import Measurement, Results, load
from bench.tools import HELM, HELM_QPS, SLIPWAY

CHECKOUT = Path(__file__).resolve().parent.parent
PAGE, README = Path("docs/performance.md"), Path("README.md")
RATIOS, CPU = Path("docs/performance/ratios.svg"), Path("docs/performance/cpu.svg")
BEGIN, END = "<!-- written by `make bench` -->", "<!-- until here -->"
# Kinds of processes that are shown as one.
GROUPS = {"kubernetes provider": "providers", "docker-build provider": "providers", "docker provider": "providers"}
CPU_COLOURS = {
    "program": "#3572a5",
    "program's gate": "#7fb0d6",
    "policy pack": "#6f42c1",
    "language host": "#b392f0",
    "engine": "#d97706",
    "providers": "#2da44e",
    "command line": "#8c959f",
    "helm": "#0f1689",
    "other": "#d0d7de",
}
REPLICAS_COLOURS, REAL_COLOUR = ("#9ecae1", "#4292c6", "#08519c", "#08203f"), "#d97706"


def documentation(results: Results, page: str, readme: str) -> dict[Path, str]:
    """The text of every file that shows results, by its path in the checkout; `page` and `readme` are the old texts."""
    return {
        PAGE: _replaced(page, "\n".join(_page(results))),
        README: _replaced(readme, "\n".join(_summary(results))),
        RATIOS: ratio_plot(results),
        CPU: cpu_plot(results),
    }


def write_documentation(results: Results, checkout: Path = CHECKOUT) -> None:
    """Write every file of `documentation`."""
    page, readme = (checkout / PAGE).read_text(encoding="utf-8"), (checkout / README).read_text(encoding="utf-8")
    for file, text in documentation(results, page, readme).items():
        (checkout / file).parent.mkdir(exist_ok=True)
        (checkout / file).write_text(text, encoding="utf-8")


def main() -> None:
    """Document the saved results again."""
    write_documentation(load())


def _replaced(text: str, between: str) -> str:
    """The text with `between` between the marks. Raises ValueError if a mark is missing."""
    before, begin, rest = text.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"there is no {BEGIN} with {END} behind it")
    return f"{before}{begin}{between}\n{end}{after}"


def ratio_plot(results: Results) -> str:
    """How many times as long Slipway takes as Helm at 500 queries a second."""
    groups = {
        _label(operation): {
            _title(size): found.ratio(SLIPWAY, HELM_QPS)
            for size in results.sizes()
            if (found := results.find(size, operation))
        }
        for operation in Operation
    }
    return plot.ratio_bars(
        "Slipway ÷ Helm --wait at qps 500: wall time, left of 1 Slipway is faster",
        {label: ratios for label, ratios in groups.items() if ratios},
        _size_colours(results.sizes()),
    )


def _label(operation: Operation) -> str:
    return TITLES[operation].replace("`", "")


def _size_colours(sizes: Sequence[Size]) -> dict[str, str]:
    without = [size for size in sizes if not size.real]
    shades = {size: REPLICAS_COLOURS[min(index, len(REPLICAS_COLOURS) - 1)] for index, size in enumerate(without)}
    return {_title(size): shades.get(size, REAL_COLOUR) for size in sizes}


def _title(size: Size) -> str:
    return f"{size.services} that answer" if size.real else f"{size.services} services"


def cpu_plot(results: Results) -> str:
    """Which processes take the processor time, at the largest size without replicas."""
    size = _largest(results)
    found = [measurement for measurement in results.measurements if measurement.size == size]
    groups = {
        _label(each.operation): {"Slipway": _grouped(each, SLIPWAY), "Helm": _grouped(each, HELM_QPS)} for each in found
    }
    used = {kind for group in groups.values() for parts in group.values() for kind in parts}
    return plot.stacked_bars(
        f"Processor time by process, {_title(size)}" if size else "Processor time by process",
        groups,
        {kind: colour for kind, colour in CPU_COLOURS.items() if kind in used},
        "s",
    )


def _largest(results: Results) -> Size | None:
    sizes = results.sizes()
    return max(sizes, key=lambda size: (not size.real, size.services)) if sizes else None


def _grouped(measurement: Measurement, tool: str) -> dict[str, float]:
    """Seconds by group of processes, in the order of the colours."""
    sums: dict[str, float] = {}
    for kind, seconds in measurement.cpu_seconds(tool).items():
        group = GROUPS.get(kind, kind)
        sums[group] = sums.get(group, 0.0) + seconds
    return {group: sums[group] for group in CPU_COLOURS if group in sums}


def _summary(results: Results) -> Iterator[str]:
    """The plot, and the machine it was measured on."""
    if not results.measurements:
        yield "Nothing was measured yet: `make bench`."
        return
    machine = results.machine
    yield f"![Slipway against Helm, wall time]({RATIOS})"
    yield ""
    yield (
        f"Medians of one run on {machine['cores']} cores ({machine['processor']}) with {machine['memory']} of memory; "
        f"numbers, spread and processor time are in [{PAGE}]({PAGE})."
    )


def _page(results: Results) -> Iterator[str]:
    if not results.measurements:
        yield "Nothing was measured yet."
        return
    yield "| | |"
    yield "| --- | --- |"
    yield from (f"| {name} | {value} |" for name, value in results.machine.items())
    yield ""
    yield f"![Slipway against Helm, wall time]({RATIOS.relative_to(PAGE.parent)})"
    for size in results.sizes():
        found = [each for each in results.measurements if each.size == size]
        yield ""
        yield f"### {_title(size).capitalize()}"
        yield ""
        yield from _times(found)
    yield ""
    yield "### Processor time"
    yield ""
    yield f"![Processor time by process]({CPU.relative_to(PAGE.parent)})"
    yield ""
    yield from _cpu_table([each for each in results.measurements if each.size == _largest(results)])


def _times(measurements: Sequence[Measurement]) -> Iterator[str]:
    yield "| seconds: median (fastest to slowest) | pairs | Slipway | Helm | Helm, qps 500 | Slipway ÷ Helm, qps 500 |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for each in measurements:
        tools = " | ".join(_spread(each.seconds(tool), each.median(tool)) for tool in (SLIPWAY, HELM, HELM_QPS))
        pairs, ratio = len(each.runs[SLIPWAY]), each.ratio(SLIPWAY, HELM_QPS)
        yield f"| {TITLES[each.operation]} | {pairs} | {tools} | **{ratio:.2f}** |"
    measured = sorted({(each.date, each.commit, each.load) for each in measurements})
    yield ""
    when = (f"{date} (commit {commit}, load before it {load:.1f})" for date, commit, load in measured)
    yield f"Measured on {', '.join(when)}."


def _spread(seconds: Sequence[float], median: float) -> str:
    return f"{median:.1f} ({min(seconds):.1f} to {max(seconds):.1f})"


def _cpu_table(measurements: Sequence[Measurement]) -> Iterator[str]:
    grouped = {each.operation: (_grouped(each, SLIPWAY), _grouped(each, HELM_QPS)) for each in measurements}
    kinds = [kind for kind in CPU_COLOURS if any(kind in slipway for slipway, _ in grouped.values())]
    yield f"| seconds of processor time, medians | {' | '.join(kinds)} | all of Slipway | Helm, qps 500 |"
    yield f"| --- |{' --- |' * (len(kinds) + 2)}"
    for operation, (slipway, helm) in grouped.items():
        parts = " | ".join(f"{slipway.get(kind, 0.0):.1f}" for kind in kinds)
        yield f"| {TITLES[operation]} | {parts} | {sum(slipway.values()):.1f} | {sum(helm.values()):.1f} |"


if __name__ == "__main__":
    main()
