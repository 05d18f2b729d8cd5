"""Functions and values from each version of Python to each other one, as source."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from portable_rows import Row, rows
from pythons import HERE, Peer, Pythons, RemoteTrouble, find, missing, others

from nbdist.errors import PackingError, ResultError
from nbdist.execution.run import Run
from nbdist.execution.task import Task
from nbdist.packing import (
    load_task,
    pack_chunk,
    pack_item,
    pack_part,
    pack_portable,
    pack_run,
    pack_runs,
    unpack_chunk,
    unpack_part,
)

THERE = [version for version in others() if find(version)]
PAIRS = [(HERE, HERE), *((HERE, other) for other in THERE), *((other, HERE) for other in THERE)]
"""From where to where."""
FORBIDDEN = (b"CodeType", b"_make_function")
"""What a pickle with bytecode refers to."""
CASES = [(row, *pair) for row in rows() for pair in PAIRS]


@pytest.fixture(scope="module")
def pythons() -> Iterator[Pythons]:
    found = Pythons()
    yield found
    found.close()


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def sent(sender: Any, filename: str) -> bytes:
    packed = sender.pack(filename)
    assert isinstance(packed, bytes), packed
    assert not [name for name in FORBIDDEN if name in packed]
    return packed


def there_and_back(pythons: Pythons, text: str, there: str, home: str = HERE, filename: str = "") -> tuple[Any, ...]:
    """The representations of what a cell's `f` gives there and here, whether they are equal, and the traceback."""
    sender, receiver = pythons[home], pythons[there]
    filename = filename or f"<cell {abs(hash(text))} of {home}>"
    sender.define(filename, text)
    result, _ = receiver.run(sent(sender, filename), sender.arguments(filename))
    assert not [name for name in FORBIDDEN if name in result]
    found: tuple[Any, ...] = sender.judge(filename, result)
    return found


@pytest.mark.parametrize(
    ("row", "home", "there"),
    [case for case in CASES if number(case[1]) >= case[0].since],
    ids=lambda value: value.name if isinstance(value, Row) else value,
)
def test_it_does_there_what_it_does_here(row: Row, home: str, there: str, pythons: Pythons) -> None:
    found, expected, is_equal, trace = there_and_back(pythons, row.text, there, home)
    assert (found, is_equal) == (expected, True), trace


@pytest.mark.parametrize("version", others())
def test_this_version_takes_part(version: str) -> None:
    if version not in THERE:
        pytest.skip(missing(version))


def test_there_are_many_kinds() -> None:
    assert len(rows()) >= 90


# --- what cannot go is named ------------------------------------------------------------------------------------------

NAMED = [
    (
        "g = eval('lambda x: x')\nf = lambda x: g(x)",
        ["the captured name 'g' of the function", "lambda in line 1", "eval"],
    ),
    ("exec('def g(x): return x')\ndef f(x): return g(x)", ["'g'", "line 1 of <string>", "text is not known", "file"]),
    (
        "class C:\n    go = eval('lambda self: 1')\nf = lambda x: C()",
        ["attribute 'go' of the captured name 'C'", "eval"],
    ),
    (
        "import threading\nlock = threading.Lock()\nf = lambda x: lock",
        ["the captured name 'lock'", "inside the function"],
    ),
    ("g = (x for x in 'ab')\nf = lambda x: next(g)", ["the captured name 'g'", "generator", "list"]),
]


@pytest.mark.parametrize(("text", "pieces"), NAMED)
def test_what_cannot_go_as_source_is_named(text: str, pieces: list[str]) -> None:
    peer = Peer()
    peer.define("<cell named>", text)
    message = peer.pack("<cell named>")
    assert isinstance(message, str)
    assert not [piece for piece in pieces if piece not in message], message


def test_text_that_was_edited_since_is_refused() -> None:
    peer = Peer()
    peer.define("<cell edited>", "def g(x):\n    return x + 1\nf = lambda x: g(x)\n")
    peer.edit("<cell edited>", "def g(x):\n    return x + 2\nf = lambda x: g(x)\n")
    message = peer.pack("<cell edited>")
    assert "'g' in line 1 of <cell edited>" in message
    assert "not what it was made of" in message


@pytest.mark.parametrize(("home", "there"), [(a, b) for a, b in PAIRS if number(b) < (3, 12) <= number(a)])
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("def f(x):\n    def g[T](y: T) -> T:\n        return y\n    return g(x)\n", "'f' of <cell new>"),
        ("def f(x):\n    type Pair = tuple[int, int]\n    return x\n", "'f' of <cell new>"),
        ("type Pair = tuple[int, int]\ndef f(x: Pair):\n    return x\n", "the type 'Pair'"),
    ],
)
def test_newer_syntax_is_refused_when_it_is_loaded(
    text: str, what: str, home: str, there: str, pythons: Pythons
) -> None:
    sender = pythons[home]
    sender.define("<cell new>", text)
    with pytest.raises((PackingError, RemoteTrouble)) as caught:
        pythons[there].run(sent(sender, "<cell new>"), sender.arguments("<cell new>"))
    assert f"{what} needs Python 3.12 or later" in str(caught.value)


# --- tracebacks -------------------------------------------------------------------------------------------------------

TRACED = '''import functools

def logged(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)
    return wrapper

class Machine:
    """A machine."""

    @logged
    def turn(self, x):
        y = x - 3
        return (
            1 /
            y
        )

@logged
def f(x):
    machine = Machine()
    return [
        machine.turn(x)
        for _ in range(2)
    ]
'''
FRAMES = [
    (6, "return function(*args)"),
    (24, "machine.turn(x)"),
    (6, "return function(*args)"),
    (16, "1 /"),
]


@pytest.mark.parametrize("brings_its_text", [True, False])
@pytest.mark.parametrize(("home", "there"), PAIRS)
def test_tracebacks_show_the_lines_of_the_cell(home: str, there: str, brings_its_text: bool, pythons: Pythons) -> None:
    filename = f"<cell traced {brings_its_text}>"
    text = TRACED + (f"sources = {{{filename!r}: {TRACED!r}}}\n" if brings_its_text else "")
    found, expected, is_same, trace = there_and_back(pythons, text, there, home, filename)
    assert (found, is_same) == (expected, True)
    frames = re.findall(rf'File "{re.escape(filename)}", line (\d+), in .*\n +(.*)', trace)
    around_a_comprehension = (23, "return [")  # it is a function of its own up to Python 3.11
    assert [frame for line, text in frames if (frame := (int(line), text)) != around_a_comprehension] == FRAMES, trace


# --- results ----------------------------------------------------------------------------------------------------------

HOME = """
calls = []
class Point:
    shared = []
    def __init__(self, x):
        self.x = x
    def note(self):
        calls.append(self.x)
        return len(calls)
    def __eq__(self, other):
        return self.x == other.x
def f(x):
    return Point(x)
"""


@pytest.mark.parametrize("there", [HERE, *THERE])
def test_an_instance_that_comes_home_is_of_the_class_there_is(there: str, pythons: Pythons) -> None:
    peer = pythons[HERE]
    peer.define("<cell home>", HOME)
    names = peer.names("<cell home>")
    point, methods = names["Point"], dict(vars(names["Point"]))
    point.shared.append(1)
    result, _ = pythons[there].run(sent(peer, "<cell home>"), peer.arguments("<cell home>"))
    (value,) = unpack_part(result)[0].values
    assert type(value) is point
    assert {name: vars(point)[name] for name in methods} == methods
    value.note()
    assert names["calls"] == [3]
    assert point.shared == [1]


def test_a_class_that_changed_is_changed_where_it_was_before(pythons: Pythons) -> None:
    for there in THERE:
        peer = pythons[HERE]
        text = """from dataclasses import dataclass
@dataclass(order=True)
class D:
    x: int
    k = 1
f = lambda x: D(x).k
"""
        peer.define("<cell change>", text)
        seen = []
        for value in (5, 6):
            peer.names("<cell change>")["D"].k = value
            result, _ = pythons[there].run(sent(peer, "<cell change>"), peer.arguments("<cell change>"))
            seen += unpack_part(result)[0].values
        assert seen == [5, 6]


def test_a_result_that_cannot_go_as_source_fails_alone() -> None:
    run = Run(0, 3, 0.0, [1, eval("lambda x: x"), 3])
    for packed in ([pack_run(run, portable=True)], pack_runs(run, portable=True)):
        found = unpack_part(b"".join(pack_part(packed)))
        assert [value for each in found for value in each.values] == [1, 3]
        (error,) = [failure.exception() for each in found for failure in each.failures]
        assert isinstance(error, ResultError)
        assert "item 1" in str(error)
        assert "its text is not known" in str(error)


def test_items_go_as_source_too(pythons: Pythons) -> None:
    peer = pythons[HERE]
    peer.define(
        "<cell items>",
        "class Item:\n    def get(self):\n        return 7\nkey = lambda x: x\nf = lambda item: item[0].get()",
    )
    names = peer.names("<cell items>")
    item = (names["Item"](), names["key"])
    chunk = pack_chunk([item, item], portable=True)
    assert chunk is not None
    entries = pack_item(item, portable=True)
    assert not [name for name in FORBIDDEN if name in chunk or name in b"".join(entries)]
    for there in THERE:
        result = pythons[there].run_items(sent(peer, "<cell items>"), chunk)
        assert unpack_part(result)[0].values == [7, 7]
    with pytest.raises(PackingError, match=r"element 1 of item 5.*its text is not known"):
        pack_chunk([(1, eval("lambda x: x"))], 5, portable=True)


# --- large values, NumPy, modules -------------------------------------------------------------------------------------


def test_large_captured_arrays_are_blobs() -> None:
    peer = Peer()
    peer.define("<cell blobs>", "import numpy as np\nbig = np.arange(100_000.0)\nf = lambda x: big.sum() + x\n")
    pieces, blobs = pack_portable(Task(peer.names("<cell blobs>")["f"]), lambda view: "ab" * 32)
    assert [len(view) for _, view in blobs] == [800_000]
    assert sum(map(len, pieces)) < 10_000


NUMPY = """
import numpy as np
A = np.arange(6.0).reshape(2, 3)
R = np.array([(1, "a")], dtype=[("n", int), ("s", "U1")])
VALUES = [A, A.T, R, np.float32(1.5), np.datetime64("2024-01-01"), np.dtype("int16"), np.array(["x", None], object)]
def f(x):
    return [repr(v) for v in VALUES], float((A @ A.T).sum()), np.sin(0.0), VALUES
compare = False
"""


def test_numpy_values(pythons: Pythons) -> None:
    having = [pair for pair in PAIRS if all(pythons[version].has("numpy") for version in pair)]
    assert having
    for home, there in having:
        found, expected, _, trace = there_and_back(pythons, NUMPY, there, home)
        assert found == expected, trace


def test_a_local_module_by_value(pythons: Pythons, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import cloudpickle

    text = "import math\n\nFACTOR = 3\n\n\ndef scaled(x):\n    return math.floor(x * FACTOR)\n"
    (tmp_path / "portable_neighbour.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("portable_neighbour")
    cloudpickle.register_pickle_by_value(module)
    try:
        text = "import portable_neighbour\nfrom portable_neighbour import scaled\nf = lambda x: scaled(x)\n"
        for there in THERE:
            assert there_and_back(pythons, text, there)[:3] == ("9", "9", True)
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def test_the_task_of_this_version_is_loaded_by_the_same_loader() -> None:
    peer = Peer()
    peer.define("<cell same>", "def f(x):\n    return x + 1\n")
    task = load_task(sent(peer, "<cell same>"), {})
    assert task.function(1) == 2
    assert isinstance(task.function, types.FunctionType)
    assert unpack_chunk(pack_chunk([np.float64(2)], portable=True) or b"") == [2.0]
