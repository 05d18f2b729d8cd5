"""Brackets, strings and comments of a first line."""

from __future__ import annotations

import ast

import pytest

from nbdist.errors import CellError
from nbdist.notebook.text import HIDDEN, Source, logical_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b", "a b"),
        ("a (b) c", "a ... c"),
        ("a [b\nc] d\ne", "a ..... d"),
        ("a '(' b", "a ... b"),
        ('a "\\"(" b', "a ..... b"),
        ('a """x\n"y" """ b\nc', "a ............ b"),
        ("a # (", "a    "),
        ("{'a': [(1)]} b", "............ b"),
        ("(a # )\n) b", "........ b"),
        ("", ""),
    ],
)
def test_what_is_nested_is_hidden(text: str, shown: str) -> None:
    line = logical_line(Source(text), 0)
    assert line.masked[: line.end].replace(HIDDEN, ".") == shown


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [("(a", "never closed", 1), ("[\n(]", "closes nothing", 2), (")", "closes", 1), ("'a\n'", "string", 1)],
)
def test_unbalanced(text: str, what: str, line: int) -> None:
    with pytest.raises(CellError, match=what) as caught:
        logical_line(Source(text), 0)
    assert str(caught.value).startswith(f"line {line}:")


def test_an_expression_keeps_its_true_position() -> None:
    source = Source("%%distribute für,\n wort + 1")
    tree = source.parse(source.text.index("wort"), len(source.text))
    assert (tree.lineno, tree.col_offset) == (2, 1)
    name = source.parse(13, 16)
    assert isinstance(name, ast.Name)
    assert (name.lineno, name.col_offset, name.id) == (1, 13, "für")


def test_a_syntax_error_is_shown_in_its_line() -> None:
    source = Source("%%distribute x +")
    with pytest.raises(CellError) as caught:
        source.parse(13, len(source.text))
    assert "%%distribute x +" in str(caught.value)


def test_a_position_may_be_any_of_three() -> None:
    source = Source("äöü\nxyz")
    node = ast.parse("'äöü'; y").body[1]
    assert "line 2" in str(source.refuse(4, "a", "b"))
    assert "line 2" in str(source.refuse((2, 1), "a", "b"))
    assert "line 1" in str(source.refuse(node, "a", "b"))
