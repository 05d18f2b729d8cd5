"""The functions of distributed cells, which are no text of any file, as source in other versions of Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pythons import HERE, Peer, Pythons, find, others

from nbdist.errors import PackingError
from nbdist.notebook.cell import parse, parse_expression
from nbdist.packing import encode, pack_chunk, pack_portable, unpack_part
from notebooks import Notebook

THERE = [HERE, *(version for version in others() if find(version))]
FILE = "<cell 7>"

CELLS = [
    ("n in range(6)", "n * 2"),
    ("n in range(6) if n % 2 if n > 1", "n"),
    ("a, *rest in ['xyz', 'pq']", "a, rest"),
    ("x in range(3) for y in range(x)", "k = x * y\n(x, y, k)"),
    ("n in range(9)", "if n % 3:\n    continue\nfor i in range(5):\n    if i > n:\n        break\n    continue\ni"),
    ("n in range(6) --keep-if _ > 2", "n"),
    ("n in range(6) --stop-when _ > 2", "n"),
    ("n in range(5) --reduce 'lambda a, b: a + b'", "n"),
    ("n in range(5) --reduce lambda a, b: a + b * scale", "n"),
    ("n in range(3)", "def inner(k):\n    return k * n + scale\n[inner(i) for i in range(3)], (lambda: n)()"),
    ("n in range(3)", "total = 0\nfor i in range(n):\n    total += helper(i)\ntotal"),
    ("n in range(3)", "class Local:\n    z = scale\n    def get(self):\n        return self.z + n\nLocal().get()"),
    (
        "n in range(3)",
        "class Local:\n    def get(self):\n        return self\nLocal.__qualname__, Local.get.__qualname__",
    ),
    ("n in range(3)", "match n:\n    case 0:\n        r = 'zero'\n    case _:\n        r = f'{n!r:>3}'\nr"),
    ("n in range(2)", "try:\n    1 / n\nexcept ZeroDivisionError as e:\n    r = str(e)\nelse:\n    r = (y := n)\nr"),
    ("g in [lambda: 1, lambda: 2, helper2]", "g()"),
    ("p in points", "p.moved(1)"),
    ("_ in range(2)", "_ + 1"),
    ("n in range(2)", "import math\nmath.floor(n + 0.5), cell"),
]


NAMES = """scale = 10
cell = "the notebook's name, not the function's"

def helper(x):
    return x + 1

helper2 = lambda: 5

class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return isinstance(other, Point) and self.x == other.x

    def moved(self, by):
        return Point(self.x + by)

points = [Point(1), Point(2)]
"""


@pytest.fixture(scope="module")
def pythons() -> Iterator[Pythons]:
    found = Pythons()
    yield found
    found.close()


def names() -> dict[str, Any]:
    peer = Peer()
    peer.define("<cell 6>", NAMES)
    return peer.names("<cell 6>")


def packed(job: Any, items: list[Any]) -> tuple[bytes, bytes]:
    pieces, _ = pack_portable(job.task, lambda view: "")
    chunk = pack_chunk(items, portable=True)
    data = b"".join(pieces)
    assert chunk is not None
    assert b"CodeType" not in data + chunk
    return data, chunk


@pytest.mark.parametrize("there", THERE)
@pytest.mark.parametrize(("head", "body"), CELLS)
def test_a_cell_gives_there_what_it_gives_here(head: str, body: str, there: str, pythons: Pythons) -> None:
    job = parse(head, body + "\n").build(names(), FILE)
    items = list(job.iterable if job.iterable is not None else job.ranges[0])
    data, chunk = packed(job, items)
    here = pythons[HERE].plain(job.task, items)
    (run,) = unpack_part(pythons[there].run_items(data, chunk))
    assert run.values == here


@pytest.mark.parametrize("there", THERE)
def test_a_comprehension_gives_there_what_it_gives_here(there: str, pythons: Pythons) -> None:
    job = parse_expression("{k: [v for v in range(k)] for k in range(4) if k % 2}").build(names(), FILE)
    data, chunk = packed(job, list(range(4)))
    (run,) = unpack_part(pythons[there].run_items(data, chunk))
    assert run.values == [(1, [0]), (3, [0, 1, 2])]


@pytest.mark.parametrize("there", THERE)
def test_a_traceback_shows_the_cell_and_its_lines(there: str, pythons: Pythons) -> None:
    body = "# a comment\ndef inverse(k):\n    return 1 / k\n\nvalue = (\n    inverse(n)\n)\nvalue\n"
    job = parse("n in range(3)", body).build(names(), FILE)
    data, _ = packed(job, [0])
    result, _ = pythons[there].run(data, b"".join(encode((0,))))
    (failure,) = unpack_part(result)[0].failures
    frames = re.findall(r'File "<cell 7>", line (\d+), in (\w+)\n +(.*)', failure.traceback)
    assert frames == [("7", "cell", "inverse(n)"), ("4", "inverse", "return 1 / k")]


def test_what_a_cell_captures_and_cannot_go_is_named() -> None:
    job = parse("n in range(3)", "g(n)\n").build(names() | {"g": eval("lambda x: x")}, FILE)
    with pytest.raises(PackingError, match=r"the captured name 'g' of the function: .*its text is not known"):
        pack_portable(job.task, lambda view: "")


SHELL_CELLS = [
    "from __future__ import annotations\nimport math, functools\nfrom dataclasses import dataclass",
    "%env NBDIST_TEST=1\nimport os\ndef root(x: Unknown) -> float:\n    return math.sqrt(x), os.path.join('a', 'b')",
    "@dataclass(order=True)\nclass P:\n    x: int\n    y: int = 0\n    def far(self):\n        return root(self.x)[0]",
    "add, sub = (lambda a: a + 1), (lambda a: a - 1)\nops = {'mul': lambda a: a * 3}",
    "@functools.lru_cache\ndef slow(x):\n    return x ** 2",
    "def root(x):\n    return math.sqrt(x + 1), 'again'",
    "def f(x):\n    return root(x), P(x).far(), add(x), sub(x), ops['mul'](x), slow(x), P(3), P.__match_args__",
]


@pytest.mark.parametrize("there", THERE)
def test_what_cells_of_a_notebook_define_goes_there(
    there: str, notebook: Notebook, pythons: Pythons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBDIST_TEST", "0")  # the cells set it
    notebook.run(*SHELL_CELLS)
    job = parse("n in range(3)", "f(n)\n").build(notebook.shell.user_ns, FILE)
    data, chunk = packed(job, [0, 1, 2])
    (run,) = unpack_part(pythons[there].run_items(data, chunk))
    assert run.values == [notebook["f"](n) for n in range(3)]
    assert type(run.values[0][6]) is notebook["P"]


def test_what_was_defined_below_a_timed_cell_is_named(notebook: Notebook) -> None:
    notebook.run("%%time\ndef timed(x):\n    return x", "def f(x):\n    return timed(x)")
    job = parse("n in range(3)", "f(n)\n").build(notebook.shell.user_ns, FILE)
    with pytest.raises(PackingError, match=r"'timed' of the captured name 'f' .*%%time"):
        pack_portable(job.task, lambda view: "")
