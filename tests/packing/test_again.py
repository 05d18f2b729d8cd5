"""The form for other versions of Python, made later: of the task as it was packed, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from portable_rows import Row, rows
from pythons import HERE, Peer, Pythons, find, others

from nbdist.errors import PackingError
from nbdist.execution.task import Task
from nbdist.packing import load_task, pack_task, remember_tree, repack
from nbdist.wire.blobs import blob_name

THERE = next((version for version in others() if find(version)), HERE)
HERE_NUMBER = tuple(map(int, HERE.split(".")))
TEXT = """
import functools
factor = 3
def scaled(n):
    return n * factor
class Point:
    y = 1
    def get(self):
        return self.y
@functools.lru_cache
def cached(n):
    return n * factor
f = lambda n: scaled(n)
g = lambda n: Point().get() + n
h = lambda n: cached(n)
"""


class Cell:
    """A cell's functions, and one of them as it was packed."""

    def __init__(self, name: str = "f", text: str = TEXT) -> None:
        self.peer = Peer()
        self.peer.define(f"<cell again {name}>", text)
        self.names = self.peer.names(f"<cell again {name}>")
        self.task = Task(self.names[name], sources={f"<cell again {name}>": text})
        pieces, blobs = pack_task(self.task, name_blob)
        self.data, self.blobs = b"".join(pieces), dict(blobs)

    def again(self) -> tuple[bytes, dict[str, memoryview]]:
        pieces, blobs = repack(self.task, self.data, self.blobs, name_blob)
        packed = b"".join(pieces)
        assert b"CodeType" not in packed
        return packed, dict(blobs)

    def value(self, argument: int = 2) -> Any:
        return load_task(self.again()[0], {}).function(argument)


def name_blob(view: memoryview) -> str:
    return blob_name([view])


@pytest.fixture(scope="module")
def there() -> Iterator[Any]:
    pythons = Pythons()
    yield pythons[THERE]
    pythons.close()


@pytest.mark.parametrize("row", [row for row in rows() if row.since <= HERE_NUMBER], ids=lambda row: row.name)
def test_what_has_not_changed_goes_whatever_kind_it_is(row: Row, there: Any) -> None:
    peer, filename = Peer(), f"<cell again {row.name}>"
    peer.define(filename, row.text)
    names = peer.names(filename)
    task = Task(names["f"], sources=names.get("sources", {}))
    data = b"".join(pack_task(task, name_blob)[0])
    pack_task(Task(lambda: names), name_blob)  # what pickling notes in classes is no change
    result, _ = there.run(b"".join(repack(task, data, {}, name_blob)[0]), peer.arguments(filename))
    found, expected, is_equal, trace = peer.judge(filename, result)
    assert (found, is_equal) == (expected, True), trace


@pytest.mark.parametrize(
    "change", ["factor = 100", "def scaled(n): return -n", "del scaled", "factor = open('/dev/null')"]
)
def test_what_has_other_values_now_goes_as_it_was(change: str) -> None:
    cell = Cell()
    exec(change, cell.names)
    assert cell.value() == 6


def test_code_whose_tree_was_remembered_goes_as_it_was() -> None:
    import ast

    tree = ast.parse("def made(n):\n    return n + factor\n")
    code = compile(tree, "<no text>", "exec").co_consts[0]
    remember_tree(code, tree)
    cell = Cell()
    function = type(cell.task.function)(code, cell.names)
    cell.task = Task(function)
    cell.data = b"".join(pack_task(cell.task, name_blob)[0])
    cell.names["factor"] = 100
    assert cell.value() == 5


@pytest.mark.parametrize(("name", "change"), [("g", "Point.y = 7"), ("g", "del Point.get")])
def test_a_class_that_has_changed_is_named(name: str, change: str) -> None:
    cell = Cell(name)
    assert cell.value() == 3
    exec(change, cell.names)
    with pytest.raises(
        PackingError, match=r"the class 'Point'.* has changed in the notebook since the job was submitted"
    ):
        cell.again()


def test_what_went_as_source_at_once_goes_again() -> None:
    assert Cell("h").value() == 6


def test_what_cannot_go_is_named() -> None:
    cell = Cell("f", "g = eval('lambda n: n')\nf = lambda n: g(n)\n")
    with pytest.raises(PackingError, match=r"the captured name 'g' of the function.*its text is not known"):
        cell.again()


ARRAY = "import numpy as np\nbig = np.arange(100_000.0)\nf = lambda n: big[n]\n"


def test_a_large_array_keeps_its_name_and_is_not_sent_again() -> None:
    cell = Cell("f", ARRAY)
    packed, blobs = cell.again()
    assert blobs.keys() == cell.blobs.keys()
    assert len(packed) < 10_000
    cell.names["big"] = np.zeros(3)  # another one under its name: the one of then is still there
    packed, blobs = cell.again()
    assert blobs.keys() == cell.blobs.keys()


def test_a_large_array_that_was_changed_is_never_taken_for_what_it_was() -> None:
    cell = Cell("f", ARRAY)
    cell.names["big"][5] = -1
    with pytest.raises(PackingError, match="a captured value of 800,000 bytes has changed in the notebook"):
        cell.again()
