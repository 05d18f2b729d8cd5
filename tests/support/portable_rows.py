"""Kinds of functions and values that must go from any version of Python to any other: the cells of text files.

`portable_cells.txt` has them by what is written (functions, classes), `portable_values.txt` by what that works on.

Each cell has a title (`## title`) and defines `f`. `args` are its arguments (3, if there are none); with
`compare = False` the result is compared by its text only; `sources` are those of the task.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

FILES = [Path(__file__).with_name(name) for name in ("portable_cells.txt", "portable_values.txt")]
_SINCE = {"type parameters": (3, 12), "quotes inside f-strings": (3, 12)}


class Row(NamedTuple):
    name: str
    text: str
    since: tuple[int, int]
    """The version in which its syntax appeared: older ones cannot define it."""


def rows() -> list[Row]:
    """All kinds."""
    return [row for file in FILES for row in rows_of(file)]


def rows_of(file: Path) -> list[Row]:
    """The cells of a file."""
    blocks = re.split(r"^## ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    pairs = [block.split("\n", 1) for block in blocks]
    return [Row(name, text, _SINCE.get(name, (3, 11))) for name, text in pairs]
