"""Cells as people write them, from text to items and values; the job itself is played by a plain loop."""

from __future__ import annotations

import contextlib
import traceback
from typing import Any

import pytest

from nbdist.errors import CellError
from nbdist.execution.task import SKIP, StopHere
from nbdist.notebook.cell import Cell, parse, parse_expression


def run(cell: Cell, /, **names: Any) -> list[Any]:
    """The values of a cell by a plain loop over its items; ends at the first `StopHere`."""
    job = cell.build(names, "<test cell>")
    values = []
    for item in items(job):
        value = job.task.function(item)
        if isinstance(value, StopHere):
            return [("stopped", value.value)]
        if value is not SKIP:
            values.append(value)
    return values


def items(job: Any) -> Any:
    if job.iterable is not None:
        return job.iterable
    if len(job.ranges) == 1:
        return job.ranges[0]
    import itertools

    return itertools.product(*job.ranges)


HEADS = [
    ("n in range(4)", "n", [0, 1, 2, 3]),
    ("for n in range(4)", "n", [0, 1, 2, 3]),
    ("for n in range(4):", "n", [0, 1, 2, 3]),
    ("  n   in range(4)  # the first four", "n", [0, 1, 2, 3]),
    ("n in range(10, 0, -4)", "n", [10, 6, 2]),
    ("n in range(6) if n % 2", "n", [1, 3, 5]),
    ("n in range(9) if n % 2 if n > 3", "n", [5, 7]),
    ("a, b in pairs", "a + b", [3, 7]),
    ("(a, b) in pairs", "a + b", [3, 7]),
    ("[a, b] in pairs", "a + b", [3, 7]),
    ("a, *rest in ['xyz', 'pq']", "a, rest", [("x", ["y", "z"]), ("p", ["q"])]),
    ("k, (a, b) in enumerate(pairs)", "k, a, b", [(0, 1, 2), (1, 3, 4)]),
    ("x in range(2) for y in range(3)", "(x, y)", [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]),
    ("x in 'ab' for y in (1, 2)", "(x, y)", [("a", 1), ("a", 2), ("b", 1), ("b", 2)]),
    ("x in range(3) for y in range(x)", "(x, y)", [(1, 0), (2, 0), (2, 1)]),
    ("x in range(4) if x for y in range(12 // x) if y > 3", "x, y", [(1, y) for y in range(4, 12)] + [(2, 4), (2, 5)]),
    ("a, b in pairs for c in range(b) if c", "a, b, c", [(1, 2, 1), (3, 4, 1), (3, 4, 2), (3, 4, 3)]),
    ("a, *rest in ['xy'] for c in rest", "a, rest, c", [("x", ["y"], "y")]),
    ("n in [1,\n    2,  # two\n    3]", "n", [1, 2, 3]),
    ("n in range(3) if n in (\n 1, 2)", "n", [1, 2]),
    ("line in ['a --plot b', 'for x in y -> z']", "line", ["a --plot b", "for x in y -> z"]),
    ('s in ["it\'s"]', "s", ["it's"]),
    ("n in (x for x in range(3))", "n", [0, 1, 2]),
    ("n in {5: 'five'}", "n", [5]),
    ("n in range(3) if (lambda q: q > 1)(n)", "n", [2]),
    ("forest in ['oak']", "forest", ["oak"]),
    ("ü in ['ä']", "ü", ["ä"]),
]


@pytest.mark.parametrize(("head", "body", "values"), HEADS)
def test_head(head: str, body: str, values: list[Any]) -> None:
    line, _, more = head.partition("\n")
    cell = parse(line, f"{more}\n{body}" if more else body)
    assert run(cell, pairs=[(1, 2), (3, 4)]) == values


TOTALS = [
    ("n in range(7)", (range(7),), 7),
    ("n in range(10**12)", (range(10**12),), 10**12),
    ("n in evens", (range(0, 10, 2),), 5),
    ("x in range(3) for y in range(4)", (range(3), range(4)), 12),
    ("x in evens for y in range(k)", (range(0, 10, 2), range(3)), 15),
    ("n in [1, 2, 3]", (), 3),
    ("n in {1: 2}.items()", (), 1),
    ("n in range(10**30, 10**30 + 4)", (), 4),
    ("n in frame", (), None),  # its len is not what a loop over it has
    ("n in (n for n in [1, 2])", (), None),
    ("x in [1, 2] for y in 'abc'", (), 6),
    ("x in [1, 2] for y in iter('abc')", (), None),
    ("x in range(3) for y in range(x)", (), None),
    ("x in range(3) for y in [1, 2]", (), 6),
]


class _Frame:
    def __len__(self) -> int:
        return 1000

    def __iter__(self) -> Any:
        return iter("ab")


@pytest.mark.parametrize(("head", "ranges", "total"), TOTALS)
def test_ranges_travel_as_numbers(head: str, ranges: tuple[range, ...], total: int | None) -> None:
    job = parse(head, "1").build({"evens": range(0, 10, 2), "k": 3, "frame": _Frame()}, "<test cell>")
    assert (job.ranges, job.total) == (ranges, total)
    assert (job.iterable is None) == bool(ranges)


def test_an_inner_iterable_with_an_effect_is_evaluated_as_python_does() -> None:
    calls: list[int] = []

    def letters() -> str:
        calls.append(1)
        return "ab"

    assert run(parse("n in range(2) for c in letters()", "c"), letters=letters) == ["a", "b", "a", "b"]
    assert len(calls) == 2


BODIES = [
    ("n * n", [0, 1, 4, 9]),
    ("n * n;", [0, 1, 4, 9]),
    ("m = n + 1\nm * 10", [10, 20, 30, 40]),
    ("if n % 2:\n    continue\nn", [0, 2]),
    ("for k in range(5):\n    if k == n: break\n    if k > 9: continue\nk", [0, 1, 2, 3]),
    ("for k in range(1):\n    pass\nelse:\n    continue\nk", []),
    ("while True:\n    if n: break\n    else:\n        n = 5\nn", [5, 1, 2, 3]),
    ("def f(x):\n    return x + 1\nf(n)", [1, 2, 3, 4]),
    ("def f():\n    yield n\n    for x in 'a': break\nlist(f())", [[0], [1], [2], [3]]),
    ("class P:\n    def v(self): return n\nP().v()", [0, 1, 2, 3]),
    ("import math\nmath.sqrt(n * n)", [0.0, 1.0, 2.0, 3.0]),
    ("total = 0\nfor k in range(n):\n    total += k\ntotal", [0, 0, 1, 3]),
    ("try:\n    1 / n\nexcept ZeroDivisionError as e:\n    continue\nn", [1, 2, 3]),
    ("n = n + 1\nn", [1, 2, 3, 4]),
    ("n += 1\nn", [1, 2, 3, 4]),
    ("_ = 1\n[_ for _ in range(n)]", [[], [0], [0, 1], [0, 1, 2]]),
    ("with open_() as f:\n    pass\nf", ["f"] * 4),
    ("(m := n + 1)\nm", [1, 2, 3, 4]),
    ("match n:\n    case 0: v = 'zero'\n    case other: v = other\nv", ["zero", 1, 2, 3]),
    ("x = 1", [None] * 4),
    ("    n + 1", [1, 2, 3, 4]),
    ("\n\n# comment\nn", [0, 1, 2, 3]),
    ("'''a\nb'''", ["a\nb"] * 4),
    ("{'n': n}['n']", [0, 1, 2, 3]),
    ("offset + n", [100, 101, 102, 103]),
    ("offset + sum(offset for offset in [1])", [101] * 4),
    ("try:\n    1 / 0\nexcept Exception as e:\n    s = str(e)\ns[:8]", ["division"] * 4),
    ("f = lambda n=n: later\nlater = n\nf()", [0, 1, 2, 3]),
    ("if n > 9:\n    big = n\nelse:\n    big = 0\nbig", [0] * 4),
]


class _Opened:
    def __enter__(self) -> str:
        return "f"

    def __exit__(self, *error: object) -> None:
        pass


@pytest.mark.parametrize(("body", "values"), BODIES)
def test_body(body: str, values: list[Any]) -> None:
    import textwrap

    assert run(parse("n in range(4)", body, textwrap.dedent), offset=100, open_=_Opened) == values


OPTIONS = [
    ("n in range(9) --keep-if _ > 40", "n * n", [49, 64]),
    ("n in range(9) --keep-if n % 2 and m < 7", "m = n\nm", [1, 3, 5]),
    ("n in range(9) --stop-when _ > 20 and n % 2 == 0", "n * n", [("stopped", 36)]),
    ("n in range(9) --keep-if _ % 2 --stop-when _ > 4", "n", [("stopped", 5)]),
    ("n in range(9) --stop-when 'x --plot' in [_]", "n", list(range(9))),
    ("n in range(3) --keep-if any(_ for _ in [0, 1])", "n", [0, 1, 2]),
    ('n in range(3) --keep-if "n > 0"', "n", [1, 2]),
    ("--keep-if _ > 1 for n in range(4)", "n", [2, 3]),
    ("--seed 3 n in range(2)", "n", [0, 1]),
    ("--plot n in range(2)", "n", [0, 1]),
    ("--plot line n in range(2)", "n", [0, 1]),
    ("--try n in range(2)", "n", [0, 1]),
    ("--background n in range(2) --task-size 4", "n", [0, 1]),
    ("n in range(-2, 2) if n --one", "n", [-2, 0, 1]),  # Python's n - (-one)
    ("n in range(3) -> xs --keep-if _ < 2", "n", [0, 1]),
    ("n in range(3) --keep-if _ < 2 -> xs", "n", [0, 1]),
]


@pytest.mark.parametrize(("line", "body", "values"), OPTIONS)
def test_options(line: str, body: str, values: list[Any]) -> None:
    assert run(parse(line, body, known_names={"one"}), one=1) == values


def test_option_values() -> None:
    line = "n in range(3) --task-size 2*k --retries 1 --on-error keep --seed 7 --name 'my job' --reduce max -> best"
    line = line.replace("--seed", "--time-limit k/4 --needs 'memory>=1GB, linux' --seed")
    cell = parse(line, "n")
    job = cell.build({"k": 5}, "<test cell>")
    assert cell.target == "best"
    assert job.task.reduce is max
    assert job.options == {
        "task_size": 10,
        "retries": 1,
        "time_limit": 1.25,
        "needs": "memory>=1GB, linux",
        "on_error": "keep",
        "seed": 7,
        "name": "my job",
        "filters": False,
        "stop_when": False,
    }


@pytest.mark.parametrize(
    ("line", "plot", "rehearsed"),
    [
        ("n in x", None, 0),
        ("n in x --plot", "auto", 0),
        ("n in x --plot hist --try", "hist", 3),
        ("n in x --try 12", None, 12),
    ],
)
def test_optional_arguments(line: str, plot: str | None, rehearsed: int) -> None:
    cell = parse(line, "n")
    assert (cell.plot, cell.rehearsed_items) == (plot, rehearsed)


@pytest.mark.parametrize(
    ("line", "filters", "stops"),
    [
        ("n in range(2)", False, False),
        ("n in range(2) if n", True, False),
        ("n in range(2) --keep-if _", True, False),
        ("n in range(2) --stop-when _", False, True),
    ],
)
def test_what_the_scheduler_must_know(line: str, filters: bool, stops: bool) -> None:
    options = parse(line, "n").build({}, "<test cell>").options
    assert (options["filters"], options["stop_when"]) == (filters, stops)


REFUSED = [
    ("n in range(3)", "break", "break", "--stop-when"),
    ("n in range(3)", "for k in 'a':\n    pass\nelse:\n    break", "break", "--stop-when"),
    ("n in range(3)", "return n", "return", "last line"),
    ("n in range(3)", "if n:\n    return", "return", "continue"),
    ("n in range(3)", "yield n", "yield", "last line"),
    ("n in range(3)", "x = yield from n", "yield", "last line"),
    ("n in range(3)", "await f(n)", "await", "asyncio.run"),
    ("n in range(3)", "async for x in n:\n    pass", "async for", "asyncio.run"),
    ("n in range(3)", "async with n:\n    pass", "async with", "asyncio.run"),
    ("n in range(3)", "total += n", "`total` cannot grow", "--reduce sum -> total"),
    ("n in range(3)", "product *= n", "cannot grow", "--reduce operator.mul -> product"),
    ("n in range(3)", "for k in range(n):\n    total += k", "cannot grow", "--reduce sum"),
    ("n in range(3)", "if n:\n    total = total + n", "`total` is read before", "--reduce"),
    ("n in range(3)", "del total", "`total` is read before", "--reduce"),
    ("n in range(3)", "global total\ntotal = n", "cannot assign the notebook's `total`", "-> NAME"),
    ("n in range(3)", "from math import *", "import *", "Import the names"),
    ("n in range(3)", "get_ipython().system('ls')", "no IPython", "cell of its own"),
    ("n in range(3) -> xs", "x = n", "no value for `-> xs`", "last line"),
    ("n in range(3) --reduce sum", "x = n", "no expression", "value"),
    ("n in range(3) -> 3", "n", "one name", "-> values"),
    ("n in range(3) -> a.b", "n", "one name", "-> values"),
    ("n in range(3) -> for", "n", "one name", "-> values"),
    ("n in range(3) -> a -> b", "n", "second `->`", "one name"),
    ("n in range(3)", "", "no body", "below"),
    ("n in range(3)", "# only a comment", "no body", "below"),
    ("n in range(3)", "n +", "does not parse", "Python"),
    ("n in range(3", "n", "never closed", "Close"),
    ("n in range(3))", "n", "closes nothing", "leave it out"),
    ("n in 'abc", "n", "string is never closed", "End it"),
    ("n in range(3) if", "n", "does not parse", "Python"),
    ("range(3)", "n", "no head", "n in range(100)"),
    ("n of range(3)", "n", "no head", "n in range(100)"),
    ("n in", "n", "does not parse", "Python"),
    ("a[0] in range(3)", "n", "plain name", "body"),
    ("f(n) in range(3)", "n", "does not parse", "Python"),
    ("n in await f()", "n", "await", "before this one"),
    ("n in range(3) --polt", "n", "no option --polt", "--plot"),
    ("n in range(3) --keepif n", "n", "no option --keepif", "--keep-if"),
    ("n in range(3) --gadgets 3", "n", "no option --gadgets", "--"),
    ("n in range(3) --zzz", "n", "no option --zzz", "The options are"),
    ("n in range(3) --seed", "n", "--seed needs N", "random"),
    ("n in range(3) --keep-if", "n", "--keep-if needs EXPR", "value"),
    ("n in range(3) --seed 1 --seed 2", "n", "twice", "Leave one"),
    ("n in range(3) --seed 1 2", "n", "nothing may stand here", "--seed N"),
    ("n in range(3) --on-error carry-on", "n", "stop|keep", "first item"),
    ("n in range(3) --plot hits", "n", "does not know hits", "hist"),
    ("n in range(3) --each machine", "n", "--each", "Leave out the head"),
    ("--keep-if _ > 1", "1", "needs items", "head"),
    ("n in range(3) --reduce sum --stop-when _ > 3", "n", "do not go together", "--stop-when"),
    ("n in range(3) --reduce sum --plot", "n", "do not go together", "one value"),
    ("n in range(3) --keep-if await x", "n", "await", "before this one"),
    ("n in range(3) --keep-if _ >", "n", "does not parse", "Python"),
]


@pytest.mark.parametrize(("line", "body", "what", "todo"), REFUSED)
def test_refused(line: str, body: str, what: str, todo: str) -> None:
    with pytest.raises(CellError) as caught:
        parse(line, body).build({}, "<test cell>")
    message = str(caught.value)
    assert what in message
    assert todo in message
    assert message.startswith("line ")


REFUSED_WHEN_BUILT = [
    ("n in 5", "is a number", "range(5)"),
    ("n in k", "is a number", "range(k)"),
    ("n in None", "NoneType", "list"),
    ("n in ticker", "async for", "list"),
    ("n in range(10**10) for m in range(10**10)", "more than can be numbered", "item"),
    ("n in range(3) --task-size 0", "from 1 on, not 0", "--help"),
    ("n in range(3) --seed 1.5", "whole number", "--help"),
    ("n in range(3) --retries True", "whole number", "--help"),
    ("n in range(3) --time-limit 0", "a number of seconds above 0, not 0", "--help"),
    ("n in range(3) --needs 'a big one'", "--needs cannot be read: 'a big one' is no need", "--help"),
    ("n in range(3) --time-limit 'long'", "a number of seconds above 0", "--help"),
    ("n in range(3) --reduce 7", "a function of two values, not int", "--help"),
]


@pytest.mark.parametrize(("line", "what", "todo"), REFUSED_WHEN_BUILT)
def test_refused_when_built(line: str, what: str, todo: str) -> None:
    class Ticker:
        def __aiter__(self) -> Any: ...

    cell = parse(line, "n")
    with pytest.raises(CellError) as caught:
        cell.build({"k": 5, "ticker": Ticker()}, "<test cell>")
    assert what in str(caught.value)
    assert todo in str(caught.value)


def test_an_error_shows_the_line_and_the_place() -> None:
    with pytest.raises(CellError) as caught:
        parse("n in range(3)", "m = n\nif m:\n    break")
    assert str(caught.value).splitlines()[:3] == [
        "line 4: `break` cannot end a loop whose turns run on many machines",
        "        break",
        "        ^",
    ]


def test_magic_lines_are_refused_with_their_own_text() -> None:
    from IPython.core.inputtransformer2 import TransformerManager

    transform = TransformerManager().transform_cell
    for body, what in [
        ("!ls {n}", "subprocess.run"),
        ("files = !ls", "subprocess.run"),
        ("%time n", "cell of its own"),
        ("n?", "cell of its own"),
        ("m = n\n%matplotlib inline", "cell of its own"),
    ]:
        with pytest.raises(CellError) as caught:
            parse("n in range(3)", body, transform)
        assert what in str(caught.value)
        assert body.splitlines()[-1] in str(caught.value)


CAPTURES = [
    ("results.append(n)", True),
    ("results[0] = n", True),
    ("del results[0]", True),
    ("results[0].append(n)", True),
    ("table.x = n", True),
    ("mine = []\nmine.append(n)\nmine", False),
    ("results.index(n)", False),
    ("def f(results):\n    results.append(1)\nf([])", False),
    ("text.add(n)", False),
    ("math.x = 1", False),
]


@pytest.mark.parametrize(("body", "warned"), CAPTURES)
def test_changing_a_captured_container_warns(body: str, warned: bool) -> None:
    import math

    class Table:
        add = print

    names = {"results": [[1]], "table": Table(), "text": Table(), "math": math}
    job = parse("n in range(3)", body).build(names, "<test cell>")
    assert bool(job.warnings) == warned


def test_the_traceback_shows_the_cells_own_lines() -> None:
    cell = parse("n in range(3)", "m = n\n1 / m")
    job = cell.build({}, "<test cell>")
    with pytest.raises(ZeroDivisionError) as caught:
        job.task.function(0)
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.lineno, frame.name) == ("<test cell>", 3, "cell")
    assert job.task.sources["<test cell>"].splitlines()[2] == "1 / m"


@pytest.mark.parametrize(
    "line", ["n in range(3) if 1 / n", "n in range(3) --keep-if 1 / n > 0", "n in [0,\n 1] if 1 / n"]
)
def test_the_traceback_shows_the_heads_place(line: str) -> None:
    first, _, more = line.partition("\n")
    cell = parse(first, f"{more}\nn" if more else "n")
    with pytest.raises(ZeroDivisionError) as caught:
        cell.build({}, "<test cell>").task.function(0)
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert frame.lineno is not None
    assert frame.colno is not None
    shown = cell.source.line(frame.lineno)
    assert shown[frame.colno :].startswith("1 / n")


def test_the_notebooks_names_are_read_and_never_written() -> None:
    names: dict[str, Any] = {"scale": 3, "cell": 4, "_": 5}
    assert run(parse("n in range(2)", "m = n * scale\nm + cell + _"), **names) == [9, 12]
    job = parse("n in range(2)", "m = n * scale\nm").build(names, "<test cell>")
    job.task.function(1)
    assert names.keys() - {"__builtins__"} == {"scale", "cell", "_"}
    names["scale"] = 10
    assert job.task.function(1) == 10


def test_a_function_of_a_cell_can_be_packed() -> None:
    import cloudpickle

    job = parse("n in range(9) if n --stop-when _ > 3", "n * k").build({"k": 2, "unused": open}, "<test cell>")
    function = cloudpickle.loads(cloudpickle.dumps(job.task.function))
    assert function(0) is SKIP
    assert function(1) == 2
    assert isinstance(function(2), StopHere)


@pytest.mark.parametrize(
    ("line", "body", "shows"),
    [
        ("n in x", "n", True),
        ("n in x", "n;", False),
        ("n in x", "n; # quiet", False),
        ("n in x -> y", "n", False),
        ("n in x", "y = n", False),
        ("n in x", "n  # loud;", True),
    ],
)
def test_what_is_displayed(line: str, body: str, shows: bool) -> None:
    assert parse(line, body).shows_result is shows


def test_a_cell_without_a_head_runs_without_an_item() -> None:
    cell = parse("--each machine -> hosts", "k + 1")
    job = cell.build({"k": 1}, "<test cell>")
    assert (cell.each, cell.target, job.task.function()) == ("machine", "hosts", 2)
    assert job.ranges == ()
    assert job.iterable is None


EXPRESSIONS = [
    ("[n * k for n in range(3)]", "list", [0, 2, 4]),
    ("[n for n in range(3) if n] --seed 4", "list", [1, 2]),
    ("--task-size 2 [n for n in range(3)]", "list", [0, 1, 2]),
    ("{n % 2 for n in range(3)}", "set", [0, 1, 0]),
    ("{n: n * k for n in range(3)}", "dict", [(0, 0), (1, 2), (2, 4)]),
    ("(n for n in range(3))", "generator", [0, 1, 2]),
    ("[(a, b) for a in 'xy' for b in range(2) if b]", "list", [("x", 1), ("y", 1)]),
    ("[x for x in range(3)] --keep-if _ > 1", "list", [2]),
]


@pytest.mark.parametrize(("line", "container", "values"), EXPRESSIONS)
def test_expression(line: str, container: str, values: list[Any]) -> None:
    cell = parse_expression(line)
    assert cell.container == container
    assert run(cell, k=2) == values


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("f(x)", "no comprehension"),
        ("[1, 2]", "no comprehension"),
        ("[n for n in range(3)", "never closed"),
        ("[n for n in x] -> y", "no place"),
        ("[await n for n in x]", "await"),
        ("[n async for n in x]", "async for"),
        ("--seed 3", "no comprehension"),
        ("", "no comprehension"),
    ],
)
def test_refused_expression(line: str, what: str) -> None:
    with pytest.raises(CellError, match=what):
        parse_expression(line)


@pytest.mark.parametrize("deep", [300, 600, 1_500, 20_000])
@pytest.mark.parametrize("text", ["-", "not ", "lambda: ", "(", "f("])
def test_what_is_nested_too_deeply_is_a_mistake_in_the_cell(text: str, deep: int) -> None:
    for line, body in (("n in range(3)", text * deep + "1"), (f"n in {text * deep}x", "n")):
        with contextlib.suppress(CellError, TypeError):  # it may be shallow enough, and cannot be run then
            parse(line, body).build({"f": 1, "x": 1}, "<cell>")


def test_half_a_character_is_a_mistake_in_the_cell() -> None:
    with pytest.raises(CellError, match="does not parse"):
        parse("n in range(3)", "'\udc80'")
    with pytest.raises(CellError, match="does not parse"):
        parse("n in ['\udc80']", "n")
