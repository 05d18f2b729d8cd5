"""Which plot suits which values, and that each of them is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nbdist.client.failures import ItemFailure
from nbdist.notebook.drawings import with_error
from nbdist.notebook.forms import NotPlottable, PlotSpec, check
from nbdist.notebook.options import PLOT_KINDS
from nbdist.notebook.plots import LivePlot

ONE = PlotSpec(ranges=(range(100),), loop_names=("n",))
TWO = PlotSpec(ranges=(range(3), range(0, 10, 5)), loop_names=("x", "y"))
PNG = b"\x89PNG\r\n"


@pytest.mark.parametrize(
    ("spec", "value", "kind"),
    [
        (ONE, 1, "line"),
        (ONE, 1.5, "line"),
        (ONE, True, "line"),
        (ONE, np.float32(2), "line"),
        (PlotSpec(), 1, "scatter"),
        (PlotSpec(filters=True), 1, "line"),
        (TWO, 1, "heatmap"),
        (PlotSpec(ranges=TWO.ranges, filters=True), 1, "line"),
        (ONE, (1, 2), "scatter"),
        (ONE, (1, 2, 3), "line"),
        (ONE, {"a": 1, "b": 2.0}, "line"),
        (ONE, np.zeros(50), "image"),
        (ONE, [0.0] * 50, "image"),
        (ONE, np.zeros((4, 5)), "image"),
        (ONE, np.zeros((4, 5, 3), dtype=np.uint8), "image"),
        (PlotSpec("hist", ranges=ONE.ranges), 1, "hist"),
    ],
)
def test_the_kind_that_suits(spec: PlotSpec, value: Any, kind: str) -> None:
    assert check(spec, [value])[0] == kind


@pytest.mark.parametrize(
    ("spec", "value", "why"),
    [
        (ONE, "abc", "type str: 'abc'"),
        (ONE, None, "type NoneType: None"),
        (ONE, 1j, "type complex"),
        (ONE, {"a": "b"}, "type dict"),
        (ONE, np.zeros((2, 2, 2, 2)), "type ndarray"),
        (PlotSpec("heatmap", ranges=ONE.ranges), 1, "two ranges"),
        (PlotSpec("image"), 1, "rows of numbers"),
        (PlotSpec("convergence"), np.zeros((3, 3)), "takes numbers"),
    ],
)
def test_what_cannot_be_drawn_is_said(spec: PlotSpec, value: Any, why: str) -> None:
    with pytest.raises(NotPlottable) as caught:
        check(spec, [value])
    assert why in str(caught.value)
    plot = LivePlot(spec)
    plot.add([value])
    assert plot.png() is None
    assert why in plot.problem


FAILURE = ItemFailure(1, 1, ValueError("x"), "here", "")
DRAWN = [
    ("line", ONE, [1, 2, FAILURE, 4]),
    ("line", ONE, [(1, 2, 3), (4, 5, 6), FAILURE]),
    ("line", ONE, [{"a": 1, "b": 2}, {"a": 3}, FAILURE]),
    ("line", ONE, list(range(10_000))),
    ("scatter", PlotSpec(), [3, FAILURE, 1]),
    ("scatter", ONE, [(1, 2), FAILURE, (4, 5)]),
    ("scatter", ONE, [(1, 2, 9), (4, 5, 8)]),
    ("hist", ONE, [FAILURE, 1, 2, 2, 3]),
    ("hist", ONE, [np.arange(20)] * 3),
    ("heatmap", TWO, [1, 2, FAILURE]),
    ("image", ONE, [np.arange(3000.0)] * 4),
    ("image", ONE, [np.eye(3)] * 20),
    ("image", ONE, [FAILURE, np.eye(2000)]),
    ("convergence", ONE, [3.1, 3.2, FAILURE, 3.0]),
    ("convergence", ONE, [7]),
]


@pytest.mark.parametrize(("kind", "spec", "values"), DRAWN)
def test_drawn_in_two_steps(kind: str, spec: PlotSpec, values: list[Any]) -> None:
    plot = LivePlot(PlotSpec(kind, spec.loop_names, spec.ranges, title="a title"))
    plot.add(values[:1])
    plot.png()
    plot.add(values[1:])
    picture = plot.png()
    assert plot.problem == ""
    assert picture is not None
    assert picture.startswith(PNG)


def test_every_kind_is_drawn() -> None:
    assert {kind for kind, _, _ in DRAWN} | {"auto"} == set(PLOT_KINDS)


def test_no_values_no_figure() -> None:
    plot = LivePlot(ONE)
    plot.add([])
    plot.add([FAILURE])
    assert plot.figure() is None


def test_the_axis_of_a_line_is_the_loops() -> None:
    plot = LivePlot(PlotSpec("line", ("n",), (range(10, 40, 10),)))
    plot.add([1, 2, 3])
    figure = plot.figure()
    assert figure is not None
    axes = figure.axes[0]
    assert axes.get_xlabel() == "n"
    assert axes.lines[0].get_xdata().tolist() == [10, 20, 30]


def test_pyplot_is_never_loaded() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from nbdist.notebook.plots import *; p = LivePlot(PlotSpec('line')); p.add([1, 2]);"
        "p.png(); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (3.14161, 0.000064, "3.141610 ± 0.000064"),
        (3.1416, 0.00024, "3.14160 ± 0.00024"),
        (1234.5, 99.0, "1234 ± 99"),
        (5.0, 0.0, "5"),
        (5.0, float("nan"), "5"),
    ],
)
def test_a_mean_is_told_to_the_digits_that_count(value: float, error: float, text: str) -> None:
    assert with_error(value, error) == text
