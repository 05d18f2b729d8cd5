"""Names that code looks up by text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nbdist.packing import mentioned_names

LIMIT = 3


def evaluates(x: int) -> Any:
    """Not `these` names."""
    return eval("x + LIMIT * scale(y)")


def runs(x: int) -> Any:
    def inner() -> None:
        exec("from math import pi\nfound = LIMIT")

    return inner


def takes(x: int) -> Any:
    return globals()["LIMIT"], "not code at all"


def formats(x: int) -> Any:
    return "{LIMIT:>{width}} {names[0]} {}".format(x, **globals())


def pieces(x: int) -> Any:
    return eval(f"{x} + LIMIT")


def queries(frame: Any) -> Any:
    return frame.query("a > @LIMIT and b < @table.size and c == 'd@e'")


def says(x: int) -> Any:
    return print("LIMIT"), "@LIMIT", x


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (evaluates, {"LIMIT", "scale", "y"}),
        (runs, {"LIMIT", "found"}),
        (takes, {"LIMIT"}),
        (formats, {"LIMIT", "names"}),
        (pieces, {"LIMIT"}),
        (queries, {"LIMIT", "table", "e"}),
        (says, set()),
        (lambda: eval("LIMIT"), {"LIMIT"}),
    ],
)
def test_names_are_found_in_text_that_is_run(function: Callable[..., Any], names: set[str]) -> None:
    assert mentioned_names(function.__code__) == names
