"""The documentation shows what was measured, and nothing else."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from bench import report
from bench.processes import Run
from bench.report import BEGIN, CHECKOUT, END, PAGE, RATIOS, README, documentation
from bench.results import Measurement, Operation, Results, Size, load

MACHINE = {"cores": "2", "processor": "a processor", "memory": "24 GiB"}
TEXT = f"before\n{BEGIN}\nold\n{END}\nafter\n"


def measurement(operation: Operation, slipway: float, helm: float) -> Measurement:
    runs = {
        "slipway": [Run(slipway * part, {"engine": 1.5, "docker provider": 0.5}) for part in (0.5, 1.0, 1.5)],
        "helm": [Run(9.0)] * 3,
        "helm qps 500": [Run(helm, {"helm": 0.25})] * 3,
    }
    return Measurement(Size(50), operation, "abcdef12", "2026-11-28", 0.3, runs)


RESULTS = Results(MACHINE, (measurement(Operation.UNCHANGED, 26.0, 7.0), measurement(Operation.ALL, 4.0, 8.0)))


def test_the_committed_documentation_shows_the_committed_results() -> None:
    page, readme = (CHECKOUT / PAGE).read_text(), (CHECKOUT / README).read_text()
    results = load()
    expected = documentation(results, page, readme)
    if not results.measurements:
        expected = {file: text for file, text in expected.items() if file in (PAGE, README)}
    assert {file: (CHECKOUT / file).read_text() for file in expected} == expected


def test_a_table_has_medians_spread_and_ratio() -> None:
    page = documentation(RESULTS, TEXT, TEXT)[PAGE]
    assert "| nothing changed | 3 | 26.0 (13.0 to 39.0) | 9.0 (9.0 to 9.0) | 7.0 (7.0 to 7.0) | **3.71** |" in page
    assert "Measured on 2026-11-28 (commit abcdef12, load before it 0.3)." in page
    assert "| nothing changed | 1.5 | 0.5 | 2.0 | 0.2 |" in page
    assert page.startswith("before\n")
    assert page.endswith("\nafter\n")
    assert "old" not in page


def test_the_readme_has_one_plot_and_names_the_machine() -> None:
    readme = documentation(RESULTS, TEXT, TEXT)[README]
    assert readme.count("![") == 1
    assert f"({RATIOS})" in readme
    assert "2 cores (a processor) with 24 GiB" in readme


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no"):
        documentation(RESULTS, "no marks", TEXT)


def bars(svg: str) -> dict[str, ElementTree.Element]:
    """The rectangles that have a title, by it."""
    name = "{http://www.w3.org/2000/svg}"
    found = ElementTree.fromstring(svg).iter(f"{name}rect")  # noqa: S314 -- we wrote it
    return {str(title.text): each for each in found if (title := each.find(f"{name}title")) is not None}


def test_bars_of_ratios_go_left_and_right_of_one() -> None:
    svg = report.ratio_bars("t", {"a & b": {"x": 0.5, "y": 2.0}}, {"x": "#000000", "y": "#111111"})
    drawn = bars(svg)
    faster, slower = drawn["a & b, x: 0.50"], drawn["a & b, y: 2.00"]
    one = float(faster.attrib["x"]) + float(faster.attrib["width"])
    assert one == pytest.approx(float(slower.attrib["x"]), abs=0.2)
    assert float(faster.attrib["width"]) == pytest.approx(float(slower.attrib["width"]), abs=0.2)
    assert slower.attrib["fill"] == "#111111"


def test_parts_of_a_bar_lie_side_by_side() -> None:
    svg = report.stacked_bars("t", {"a": {"Slipway": {"x": 1.0, "y": 3.0}}}, {"x": "#000000", "y": "#111111"}, "s")
    first, second = bars(svg)["x: 1.0 s"], bars(svg)["y: 3.0 s"]
    assert float(first.attrib["x"]) + float(first.attrib["width"]) == pytest.approx(float(second.attrib["x"]), abs=0.2)
    assert float(second.attrib["width"]) == pytest.approx(3 * float(first.attrib["width"]), abs=0.2)


def test_without_results_nothing_is_claimed() -> None:
    shown = documentation(Results(), TEXT, TEXT)
    assert "Nothing was measured yet" in shown[PAGE]
    assert "![" not in shown[README]
