"""The text of a cell: what stands outside brackets and strings, and errors that show the line they are about.

Offsets count characters of the whole cell, its first line included, so that positions in the syntax tree are those
that the person sees.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from nbdist.errors import CellError

HIDDEN = "\0"
"""Stands in a masked text for each character inside brackets, strings and comments."""

_LANDMARK = re.compile(r"\"\"\"|'''|[\"'()\[\]{}\n]|#[^\n]*")
_STRING_ENDS = {
    '"': re.compile(r'(?:\\.|[^\\\n"])*"', re.DOTALL),
    "'": re.compile(r"(?:\\.|[^\\\n'])*'", re.DOTALL),
    '"""': re.compile(r'(?:\\.|[^\\])*?"""', re.DOTALL),
    "'''": re.compile(r"(?:\\.|[^\\])*?'''", re.DOTALL),
}
_CLOSERS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class FirstLine:
    """The first logical line of a cell: `text[start:end]`, and the same with everything nested hidden."""

    end: int
    masked: str
    """As long as the whole text: nested characters and those behind `end` are `HIDDEN`, comments and what stands
    before `start` are blanks."""


def logical_line(source: Source, start: int) -> FirstLine:
    """The logical line from `start` on: it ends at the first line break outside brackets and strings.

    Raises CellError when a bracket or string is never closed, or a bracket closes that was not opened.
    """
    text = source.text
    masked = [" "] * start + [HIDDEN] * (len(text) - start)
    expected: list[tuple[str, int]] = []
    position = start
    while True:
        landmark = _LANDMARK.search(text, position)
        found = landmark.start() if landmark else len(text)
        if not expected:
            masked[position:found] = text[position:found]
        if landmark is None or (landmark[0] == "\n" and not expected):
            break
        position = _pass(source, landmark, expected)
        if not expected and landmark[0].startswith("#"):
            masked[found:position] = " " * (position - found)
    if expected:
        bracket, opened_at = expected[-1]
        raise source.refuse(opened_at, f"this bracket is never closed: `{bracket}` is missing", "Close it.")
    return FirstLine(found, "".join(masked))


def _pass(source: Source, landmark: re.Match[str], expected: list[tuple[str, int]]) -> int:
    """Steps over one landmark; keeps the stack of expected brackets; gives the offset behind it."""
    mark, at = landmark[0], landmark.start()
    if mark in _STRING_ENDS:
        end = _STRING_ENDS[mark].match(source.text, landmark.end())
        if end is None:
            raise source.refuse(at, "this string is never closed", f"End it with {mark}.")
        return end.end()
    if mark in _CLOSERS:
        expected.append((_CLOSERS[mark], at))
    elif mark in ")]}":
        if not expected or expected[-1][0] != mark:
            raise source.refuse(at, f"`{mark}` closes nothing here", "Open it, or leave it out.")
        expected.pop()
    return landmark.end()


@contextlib.contextmanager
def not_too_deep() -> Iterator[None]:
    """Around what works through a tree: raises CellError for one that is nested too deeply, even for Python itself."""
    try:
        yield
    except RecursionError:
        raise CellError("this cell is nested too deeply\nWrite it in several statements.") from None


def syntax_tree(text: str, mode: Literal["exec", "eval"] = "exec") -> ast.Module | ast.Expression:
    """The tree of Python source. Raises SyntaxError, whatever is wrong with it."""
    try:
        tree = ast.parse(text, mode=mode)
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes, half characters, a thousand brackets
        raise SyntaxError(str(error) or "it is nested too deeply") from None
    assert isinstance(tree, ast.Module | ast.Expression)
    return tree


@dataclass(frozen=True)
class Source:
    """The text of a cell with its magic, as the person sees it: the positions of all its errors refer to it."""

    text: str

    def line(self, number: int) -> str:
        """A line by its number from 1 on; empty when there is none."""
        lines = self.text.split("\n")
        return lines[number - 1] if 0 < number <= len(lines) else ""

    def refuse(self, where: int | ast.AST | tuple[int, int], what: str, todo: str) -> CellError:
        """The error that shows a place: an offset, a node, or (line from 1, column from 0)."""
        line, column = self._place(where)
        shown = self.line(line)
        pointer = " " * min(column, len(shown)) + "^"
        return CellError(f"line {line}: {what}\n    {shown}\n    {pointer}\n{todo}")

    def _place(self, where: int | ast.AST | tuple[int, int]) -> tuple[int, int]:
        if isinstance(where, tuple):
            return where
        if isinstance(where, int):
            before = self.text[:where]
            return before.count("\n") + 1, where - (before.rfind("\n") + 1)
        line = getattr(where, "lineno", 1)
        in_bytes = self.line(line).encode(errors="replace")[: getattr(where, "col_offset", 0)]
        return line, len(in_bytes.decode(errors="replace"))

    def parse(self, start: int, end: int, before: str = "(", after: str = ")") -> ast.expr:
        """Parses `text[start:end]`, put between `before` and `after`, as one expression with its true positions.

        There must be room for `before` ahead of `start`: it takes the place of the magic's own name.
        """
        ahead = "".join(c if c == "\n" else " " * len(c.encode(errors="replace")) for c in self.text[:start])
        padded = f"{before}{ahead[len(before) :]}{self.text[start:end]}\n{after}"
        try:
            tree = syntax_tree(padded, "eval")
        except SyntaxError as error:
            place = self._within(error, start, end)
            raise self.refuse(place, f"this does not parse: {error.msg}", "Write it as in Python.") from None
        assert isinstance(tree, ast.Expression)
        return tree.body

    def _within(self, error: SyntaxError, start: int, end: int) -> int:
        """The error's offset in the text, moved into the part that was parsed."""
        lines = self.text.split("\n")
        number = (error.lineno or 1) - 1
        offset = sum(len(line) + 1 for line in lines[:number]) + (error.offset or 1) - 1
        return max(start, min(offset, end - 1))
