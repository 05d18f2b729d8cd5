"""Names that nobody has defined: told before anything runs where they are read in any case, and only there."""

from __future__ import annotations

from typing import Any

import pytest

from nbdist.errors import CellError
from nbdist.notebook.cell import parse, parse_expression


def build(body: str, head: str = "n in range(3)", set_up: frozenset[str] = frozenset(), **namespace: Any) -> Any:
    return parse(head, body).build({"__name__": "__main__", **namespace}, "<cell>", set_up)


@pytest.mark.parametrize(
    "body",
    [
        "later(n)",
        "x = n + later\nx",
        "y = [later for later in later]\ny",
        "if later:\n    n = 2\nn",
        "2 if later else n",
        "n or 3\nf'{later}'",
        "with later as x:\n    pass\nn",
        "def f(x):\n    return x\nf(later)",
        "for x in later:\n    pass\nn",
        "later.value[n]",
        "later < n < 3",
    ],
)
def test_a_name_that_must_be_read_is_told_with_its_line(body: str) -> None:
    with pytest.raises(CellError, match=r"`later` is not defined in this notebook, or not yet\n(.|\n)*Run the cell"):
        build(body)
    build(body, set_up=frozenset({"later"}))


def test_the_line_is_the_one_that_reads_it() -> None:
    with pytest.raises(CellError, match=r"line 3: `later`(.|\n)*\n *n \+ later\n"):
        build("m = n\nn + later")


@pytest.mark.parametrize(
    "body",
    [
        "try:\n    x = later\nexcept NameError:\n    x = 1\nx",
        "from contextlib import suppress\nwith suppress(NameError):\n    later\nn",
        "if n > 5:\n    later(n)\nn",
        "n > 5 and later",
        "3 if n < 5 else later",
        "0 < n < 1 < later",
        "for x in []:\n    later\nn",
        "while n > 5:\n    later\nn",
        "f = lambda: later\nn",
        "def f():\n    return later\nn",
        "[later for x in []]\nn",
        "if n < 5:\n    continue\nlater",
        "assert n < 5, later\nn",
        "x: later = n\nx",
        "later = n\nlater",
        "import math as later\nlater.pi",
        "print(len(str(n)), __name__, __debug__)\nn",
    ],
)
def test_what_may_never_be_read_is_left_alone(body: str) -> None:
    build(body)


def test_what_a_function_of_the_notebook_makes_is_defined() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("def prepare():\n    global later\n    later = 3", namespace)
    parse("n in range(3)", "prepare()\nlater + n").build(namespace, "<cell>")


def test_expressions_are_looked_at_too() -> None:
    with pytest.raises(CellError, match="`later` is not defined"):
        parse_expression("[later(x) for x in range(3)]").build({}, "<cell>")
