"""Writes the measurements into the documentation: tables, plots as SVG, and the one plot of the README."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from bench.results import TITLES, Measurement, Operation, Results, Size, load
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
WIDTH, LABEL_WIDTH, MARGIN = 760, 190, 16
BAR_HEIGHT, GROUP_GAP, LINE_HEIGHT = 14, 12, 18
VALUE_WIDTH = 60
FONT = "font-family='system-ui, sans-serif' font-size='12'"
INK, FAINT, PAPER = "#1f2328", "#d0d7de", "#ffffff"


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
    without_replicas = [size for size in results.sizes() if not size.real]
    shades = {
        size: REPLICAS_COLOURS[min(index, len(REPLICAS_COLOURS) - 1)] for index, size in enumerate(without_replicas)
    }
    colours = {_title(size): shades.get(size, REAL_COLOUR) for size in results.sizes()}
    return ratio_bars(
        "Slipway ÷ Helm --wait at qps 500: wall time, left of 1 Slipway is faster",
        {label: ratios for label, ratios in groups.items() if ratios},
        colours,
    )


def _label(operation: Operation) -> str:
    return TITLES[operation].replace("`", "")


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
    return stacked_bars(
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
    largest = [each for each in results.measurements if each.size == _largest(results)]
    grouped = {each.operation: (_grouped(each, SLIPWAY), _grouped(each, HELM_QPS)) for each in largest}
    kinds = [kind for kind in CPU_COLOURS if any(kind in slipway for slipway, _ in grouped.values())]
    yield f"| seconds of processor time, medians | {' | '.join(kinds)} | all of Slipway | Helm, qps 500 |"
    yield f"| --- |{' --- |' * (len(kinds) + 2)}"
    for operation, (slipway, helm) in grouped.items():
        parts = " | ".join(f"{slipway.get(kind, 0.0):.1f}" for kind in kinds)
        yield f"| {TITLES[operation]} | {parts} | {sum(slipway.values()):.1f} | {sum(helm.values()):.1f} |"


def _times(measurements: Sequence[Measurement]) -> Iterator[str]:
    yield "| seconds: median (fastest to slowest) | pairs | Slipway | Helm | Helm, qps 500 | Slipway ÷ Helm, qps 500 |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for each in measurements:
        times = []
        for tool in (SLIPWAY, HELM, HELM_QPS):
            seconds = each.seconds(tool)
            times.append(f"{each.median(tool):.1f} ({min(seconds):.1f} to {max(seconds):.1f})")
        pairs, ratio = len(each.runs[SLIPWAY]), each.ratio(SLIPWAY, HELM_QPS)
        yield f"| {TITLES[each.operation]} | {pairs} | {' | '.join(times)} | **{ratio:.2f}** |"
    measured = sorted({(each.date, each.commit, each.load) for each in measurements})
    yield ""
    when = (f"{date} (commit {commit}, load before it {load:.1f})" for date, commit, load in measured)
    yield f"Measured on {', '.join(when)}."


@dataclass
class _Canvas:
    """Elements, from top to bottom; `y` is where the next one goes."""

    y: float = MARGIN
    elements: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal") -> None:
        self.elements.append(
            f"<text x='{x:.1f}' y='{y:.1f}' fill='{INK}' text-anchor='{anchor}' font-weight='{weight}'>"
            f"{escape(words)}</text>"
        )

    def box(self, x: float, y: float, width: float, height: float, *, colour: str, title: str = "") -> None:
        """Draw a rectangle; `title` is its tooltip."""
        inner = f"<title>{escape(title)}</title>" if title else ""
        self.elements.append(
            f"<rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height:.1f}' fill='{colour}'>{inner}</rect>"
        )

    def heading(self, title: str, legend: Mapping[str, str]) -> None:
        """Draw the title and the legend of the colours."""
        self.text(MARGIN, self.y + 12, title, weight="bold")
        self.y += LINE_HEIGHT + 6
        x: float = MARGIN
        for name, colour in legend.items():
            needed = 16 + 7 * len(name) + 14
            if x + needed > WIDTH - MARGIN:
                x, self.y = MARGIN, self.y + LINE_HEIGHT
            self.box(x, self.y, 11, 11, colour=colour)
            self.text(x + 16, self.y + 10, name)
            x += needed
        self.y += LINE_HEIGHT + GROUP_GAP

    def svg(self) -> str:
        height = self.y + MARGIN
        inside = "\n".join(self.elements)
        return (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:.0f}' width='{WIDTH}' {FONT}>\n"
            f"<rect width='100%' height='100%' fill='{PAPER}'/>\n{inside}\n</svg>\n"
        )


def ratio_bars(title: str, groups: Mapping[str, Mapping[str, float]], colours: Mapping[str, str]) -> str:
    """An SVG with a bar for each ratio, on a logarithmic scale: from 1 to the left if it is below 1, else to the right.

    `groups` maps each label to its ratios by series, `colours` each series to its colour.
    """
    canvas = _Canvas()
    canvas.heading(title, colours)
    ratios = [ratio for group in groups.values() for ratio in group.values()]
    # The powers of ten around all ratios, at least one apart.
    low = math.floor(math.log10(min([*ratios, 1.0])))
    high = max(math.ceil(math.log10(max([*ratios, 1.0]))), low + 1)
    plot_width = WIDTH - LABEL_WIDTH - VALUE_WIDTH - MARGIN
    top = canvas.y

    def x_of(ratio: float) -> float:
        return LABEL_WIDTH + plot_width * (math.log10(ratio) - low) / (high - low)

    bars = _Canvas(y=top + LINE_HEIGHT)
    for label, group in groups.items():
        middle = bars.y + BAR_HEIGHT * len(group) / 2
        bars.text(LABEL_WIDTH - 10, middle + 4, label, anchor="end")
        for series, ratio in group.items():
            start, end = sorted((x_of(1.0), x_of(ratio)))
            bars.box(
                start,
                bars.y,
                max(end - start, 1),
                BAR_HEIGHT - 2,
                colour=colours[series],
                title=f"{label}, {series}: {ratio:.2f}",
            )
            bars.text(end + 5, bars.y + 10, f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}")
            bars.y += BAR_HEIGHT
        bars.y += GROUP_GAP
    for power in range(low, high + 1):
        for step in (1, 2, 5):
            if power + math.log10(step) <= high:
                tick = step * 10.0**power
                canvas.box(
                    x_of(tick), top + LINE_HEIGHT - 4, 1, bars.y - top - LINE_HEIGHT, colour=INK if tick == 1 else FAINT
                )
                canvas.text(x_of(tick), top + 10, f"{tick:g}", anchor="middle")
    canvas.elements += bars.elements
    canvas.y = bars.y
    return canvas.svg()


def stacked_bars(
    title: str, groups: Mapping[str, Mapping[str, Mapping[str, float]]], colours: Mapping[str, str], unit: str
) -> str:
    """An SVG of stacked bars. `groups` has the bars of each label by name, each with its parts' sizes by series."""
    canvas = _Canvas()
    canvas.heading(title, colours)
    longest = max((sum(parts.values()) for group in groups.values() for parts in group.values()), default=0.0) or 1.0
    left = LABEL_WIDTH + 70
    scale = (WIDTH - left - VALUE_WIDTH - MARGIN) / longest
    for label, group in groups.items():
        canvas.text(LABEL_WIDTH - 10, canvas.y + BAR_HEIGHT * len(group) / 2 + 4, label, anchor="end")
        for name, parts in group.items():
            x: float = left
            canvas.text(left - 6, canvas.y + 10, name, anchor="end")
            for series, value in parts.items():
                canvas.box(
                    x,
                    canvas.y,
                    value * scale,
                    BAR_HEIGHT - 2,
                    colour=colours[series],
                    title=f"{series}: {value:.1f} {unit}",
                )
                x += value * scale
            canvas.text(x + 5, canvas.y + 10, f"{sum(parts.values()):.1f} {unit}")
            canvas.y += BAR_HEIGHT
        canvas.y += GROUP_GAP
    return canvas.svg()


if __name__ == "__main__":
    main()
