"""The Gantt chart: what is in the data is in the picture, and a large pool is drawn in a moment."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from nbdist.errors import NbdistError
from nbdist.figures.timeline import COLORS, MAX_LINES, draw


def timeline(job: str, slots: list[list[Any]], bars: list[list[Any]], **more: Any) -> dict[str, Any]:
    seconds = max((bar[4] for bar in bars), default=0.0)
    fields = {"job": job, "name": job, "ago": 10.0, "seconds": seconds, "resolution": 0.0, "left_out": 0}
    return {**fields, "slots": slots, "bars": bars, **more}


def spans(figure: Any) -> list[tuple[float, float, float, str]]:
    """(began, ended, line, colour) of all bars."""
    from matplotlib.colors import to_hex

    found = []
    for collection in figure.axes[0].collections:
        color = to_hex(collection.get_facecolor()[0])
        for path in collection.get_paths():
            (left, low), (right, high) = path.vertices.min(axis=0), path.vertices.max(axis=0)
            found.append((round(left, 6), round(right, 6), round((low + high) / 2, 6), color))
    return sorted(found)


def test_each_slot_has_its_line_and_each_outcome_its_colour() -> None:
    bars = [
        [0, 0, 5, 0.0, 1.0, 1.0, 3, "done", 0],
        [0, 5, 6, 1.5, 2.0, 0.5, 1, "failed", 0],
        [1, 6, 9, 0.5, 2.0, 1.5, 1, "running", 1],
    ]
    figure = draw([timeline("j", [["b", 0], ["a", 1]], bars)], "outcome")
    assert spans(figure) == [
        (0.0, 1.0, 1.0, COLORS["done"]),
        (0.5, 2.0, 0.0, COLORS["running"]),
        (1.5, 2.0, 1.0, COLORS["failed"]),
    ]
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a 1", "b 0"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["done", "running", "failed"]
    assert axes.get_title() == "j: 2 s, 2 slots, at work 75%"


def test_other_jobs_stand_where_they_ran_by_the_clock_of_the_first() -> None:
    first = timeline("first", [["a", 0]], [[0, 0, 1, 0.0, 4.0, 4.0, 1, "done", 0]], ago=10.0)
    later = timeline("later", [["b", 0]], [[0, 0, 1, 0.0, 1.0, 1.0, 1, "done", 0]], ago=8.0)
    figure = draw([first, later], "job")
    assert [(began, ended, line) for began, ended, line, _ in spans(figure)] == [(0.0, 4.0, 0.0), (2.0, 3.0, 1.0)]
    assert len({color for *_, color in spans(figure)}) == 2
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["first", "later"]


def test_nothing_and_too_much() -> None:
    assert draw([timeline("j", [], [])], "outcome").axes
    slots = [["lab", number] for number in range(MAX_LINES + 50)]
    bars = [[number, 0, 1, 0.0, 1.0, 1.0, 1, "done", 0] for number in range(len(slots))]
    figure = draw([timeline("j", slots, bars, left_out=1_234)], "outcome")
    assert len(spans(figure)) == MAX_LINES
    assert figure.axes[0].get_title().endswith("; 50 slots are not drawn; 1,234 slices are not drawn")
    assert figure.get_size_inches()[1] <= 14


def test_matplotlib_is_named_if_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(NbdistError, match="drawn by matplotlib, which is not here"):
        draw([timeline("j", [], [])], "outcome")
