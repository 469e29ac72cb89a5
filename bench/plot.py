"""Draws results as SVG: plain rectangles and text, readable on a light and on a dark page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, LABEL_WIDTH, MARGIN = 760, 190, 16
BAR_HEIGHT, GROUP_GAP, LINE_HEIGHT = 14, 12, 18
VALUE_WIDTH = 60
FONT = "font-family='system-ui, sans-serif' font-size='12'"
INK, FAINT, PAPER = "#1f2328", "#d0d7de", "#ffffff"


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
    low, high = _decades([*ratios, 1.0])
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


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around all `values`, which must be above zero; at least one apart."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


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
