"""Setup cells as people write them: what they bind, what they mean, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from nbdist.errors import CellError
from nbdist.notebook.setupcell import SetupCell, parse_setup


def parse(text: str, line: str = "--setup") -> SetupCell:
    found = parse_setup(line, text, str)
    assert found is not None
    return found


def run(text: str, **names: Any) -> dict[str, Any]:
    """The names that it leaves, of those that it defines."""
    cell = parse(text)
    namespace = {"__name__": "__main__", **names}
    cell.function(namespace, "<test cell>")()
    return {name: namespace[name] for name in cell.defines if name in namespace}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a = 1", {"a": 1}),
        ("import os.path as p, math", ["math", "p"]),
        ("import os.path", ["os"]),
        ("from math import pi as tau, e", ["e", "tau"]),
        ("def f(): return g()\ndef g(): return 7\nx = f()", ["f", "g", "x"]),
        ("class A:\n    n = 1\n    def m(self): return A\nx = A().m().n", ["A", "x"]),
        ("x: int = 3\ny: int", {"x": 3}),
        ("if True:\n    z: list[int] = []", {"z": []}),
        ("for i in range(3):\n    total = i", {"i": 2, "total": 2}),
        ("xs = [y := n for n in range(3)]", {"xs": [0, 1, 2], "y": 2}),
        ("with open('/dev/null') as file: pass\nname = file.name", ["file", "name"]),
        ("try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    text = str(error)", {"text": "division by zero"}),
        ("match [1, 2]:\n    case [first, *rest]: pass", {"first": 1, "rest": [2]}),
        ("def init():\n    global state\n    state = 5\ninit()", ["init", "state"]),
        ("a, (b, *c) = 1, (2, 3)\nd = e = a", {"a": 1, "b": 2, "c": [3], "d": 1, "e": 1}),
        ("x = 1\ndel x", {}),
        ("global x\nx = 2", {"x": 2}),
        ("n += 1", {"n": 42}),
        ("print", {}),
        ("lambda x: x\n[a for a in range(3)]", {}),
    ],
)
def test_it_leaves_the_names_that_the_notebook_would_have(text: str, left: Any) -> None:
    found = run(text, n=41)
    assert (sorted(found) if isinstance(left, list) else found) == left


def test_functions_and_classes_look_as_in_the_notebook() -> None:
    found = run("def f(): pass\nclass A:\n    def m(self): pass")
    assert (found["f"].__qualname__, found["A"].__qualname__, found["A"].m.__qualname__) == ("f", "A", "A.m")
    assert found["A"].__module__ == "__main__"


def test_names_that_are_read_first_are_those_of_the_notebook() -> None:
    assert parse("n += 1\nm = n\nk = k + m\nz = 1\nz += 1").reads_first == {"n", "k"}


def test_comments_and_layout_make_no_difference() -> None:
    assert parse("a = 1").code == parse("# the model\na  =  1").code != parse("a = 2").code


def test_lines_are_those_of_the_cell() -> None:
    cell = parse("a = 1\n\n1 / 0")
    with pytest.raises(ZeroDivisionError) as caught:
        cell.function({}, "<test cell>")()
    trace = caught.value.__traceback__
    assert trace is not None
    assert trace.tb_next is not None
    assert trace.tb_next.tb_lineno == 4


@pytest.mark.parametrize("line", ["", "n in range(3)", "n in range(3) --name setup", "x in '--setup'"])
def test_other_cells_are_none(line: str) -> None:
    assert parse_setup(line, "a = '--setup'", str) is None


@pytest.mark.parametrize(
    ("line", "text", "told"),
    [
        ("--setup", "return 3", "line 2: .*'return' outside function"),
        ("--setup", "a = 1\nawait a", "line 3: .*'await' outside function"),
        ("--setup", "yield 3", "'yield' outside function"),
        ("--setup", "a = (", "does not parse"),
        ("--setup", "from math import *", "import \\*"),
        ("--setup", "get_ipython()", "workers have no IPython"),
        ("--setup", "# nothing", "has no body"),
        ("--setup n in range(3)", "a = 1", "has no items"),
        ("n in range(3) --setup", "a = 1", "has no items"),
        ("--setup -> x", "a = 1", "no value for `-> x`"),
        ("--setup --plot", "a = 1", "--plot and --setup do not go together"),
        ("--setup --setups", "a = 1", "setups"),
    ],
)
def test_what_makes_no_sense_is_refused(line: str, text: str, told: str) -> None:
    with pytest.raises(CellError, match=told):
        parse_setup(line, text, str)
