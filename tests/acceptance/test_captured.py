"""What a cell takes along, in a real shell with a real pool: sent once, shared by the slots, named if it is large or
cannot travel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nbdist
from nbdist.errors import CellError, JobRefusedError, PackingError

pytestmark = pytest.mark.real
LIMIT_SECONDS = 20.0
LARGE = 13_000_000
"""Numbers of eight bytes, a little more than what is warned about."""


@pytest.fixture(scope="module")
def pool() -> Iterator[nbdist.Pool]:
    with nbdist.connect(workers=2) as pool:
        yield pool


@pytest.fixture
def shell(pool: nbdist.Pool, notebook: Any) -> Iterator[Any]:
    """A notebook on the pool, which works as before when the test is over."""
    notebook.run("import numpy as np", "kept = 'what was there'")
    yield notebook
    assert list(notebook.run("%%distribute n in range(4) -> values --fresh\nabs(-n)", "values")) == [0, 1, 2, 3]
    assert notebook["kept"] == "what was there"


def blobs(pool: nbdist.Pool) -> set[str]:
    """The names of what lies in the hub's folder."""
    folder = pool._engine._connection.folder  # type: ignore[attr-defined]
    return {path.name for path in Path(folder, "blobs").iterdir()}


def test_a_large_value_is_named_when_it_is_sent_and_not_again(shell: Any) -> None:
    shell.run(f"images = np.full({LARGE}, 1.0)", "%%distribute n in range(2)\nfloat(images[n])")
    warning = "this job takes 'images' along: 104 MB, sent once to each machine"
    assert shell.printed.count(warning) == 1
    shell.run("%%distribute n in range(3)\nfloat(images[n]) + 1")
    assert "along" not in shell.printed
    shell.run("images[0] = 5", "%%distribute n in range(2)\nfloat(images[n]) + 2")
    assert shell.printed.count(warning) == 1


def test_one_that_lies_in_something_else_is_named_by_what_was_captured(shell: Any) -> None:
    shell.run(
        f"class Box:\n    pass\nbox = Box()\nbox.deep = {{'list': [np.full({LARGE}, 2.0)]}}",
        "def helper(n):\n    return float(box.deep['list'][0][n])",
        "%%distribute n in range(2)\nhelper(n)",
    )
    assert "takes 'box' along: 104 MB" in shell.printed
    shell.run("%%distribute n in range(3)\nhelper(n) + 1")
    assert "along" not in shell.printed


def test_a_script_is_warned_too(pool: nbdist.Pool) -> None:
    text = "x" * 110_000_000
    with pytest.warns(RuntimeWarning, match="takes 'text' along: 110 MB"):
        assert pool.map(lambda n: len(text) + n, range(2)).result(LIMIT_SECONDS) == [110_000_000, 110_000_001]


def test_what_goes_over_the_network_is_shown_while_it_goes(pool: nbdist.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub on another machine, as far as this notebook can see."""
    monkeypatch.setattr("nbdist.engines.hub.sending.REPORT_SECONDS", 0.001)
    monkeypatch.setattr(pool._engine._connection, "folder", None)  # type: ignore[attr-defined]
    data = "y" * 60_000_000
    job = pool.map(lambda n: len(data) + n, range(2))
    seen = []
    while not job.wait(0.001):
        seen.append(job.progress.sending)
    assert job.result() == [60_000_000, 60_000_001]
    shown = [sending for sending in seen if sending is not None]
    assert shown
    assert all(0 < each.sent_bytes < each.total_bytes for each in shown)
    assert {round(each.total_bytes / 1e6) for each in shown} == {60}
    assert job.progress.sending is None


def test_what_has_not_changed_is_not_sent_again_and_what_has_is(pool: nbdist.Pool, shell: Any) -> None:
    shell.run("data = np.full(200_000, 3.0)", "%%distribute n in range(2)\nfloat(data[n])")
    first = blobs(pool)
    shell.run("%%distribute n in range(3)\nfloat(data[n]) + 1")
    assert blobs(pool) == first
    assert list(shell.run("data[1] = 9", "%%distribute n in range(2) -> values\nfloat(data[n])", "values")) == [
        3.0,
        9.0,
    ]
    assert len(blobs(pool) - first) == 1


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this operating system does not list what is mapped")
def test_the_slots_of_a_machine_share_one_copy(shell: Any, tmp_path: Path) -> None:
    """All of them map one file, and none has pages of its own."""
    shell.run(
        "shared = np.arange(4_000_000.0)",
        f"gate = {str(tmp_path)!r}",
        "def mapped():\n"
        "    import re\n"
        "    rows, found = open('/proc/self/smaps').read().splitlines(), {}\n"
        "    for at, row in enumerate(rows):\n"
        "        if '/blobs/' in row:\n"
        "            sizes = [each.split() for each in rows[at + 1:at + 20] if each.endswith(' kB')]\n"
        "            found[row.split()[4]] = {each[0].rstrip(':'): int(each[1]) for each in sizes}\n"
        "    return found",
        "%%distribute n in range(2) -> seen\n"
        "import os, time\n"
        "total = float(shared.sum())\n"
        "open(os.path.join(gate, str(os.getpid())), 'w').close()\n"
        "while len(os.listdir(gate)) < 2: time.sleep(0.01)\n"
        "(os.getpid(), total, mapped())",
    )
    (one, total, first), (two, _, second) = shell["seen"]
    assert one != two
    assert total == sum(range(4_000_000))
    large = {inode for inode, sizes in first.items() if sizes["Rss"] > 30_000}
    assert len(large) == 1
    for found in (first, second):
        (sizes,) = (found[inode] for inode in large)
        assert sizes["Rss"] > 30_000
        assert sizes["Private_Dirty"] == 0
        assert sizes.get("Anonymous", 0) == 0


@pytest.mark.parametrize("size", [3, 300_000])
def test_writing_to_it_says_that_it_is_shared_and_what_to_do(shell: Any, size: int) -> None:
    shell.run(f"grid = np.zeros({size})")
    error = shell.fail("%%distribute n in range(2)\ngrid[n] = 1\nn")
    assert isinstance(error, ValueError)
    assert "change a copy, as in `mine = array.copy()`" in shell.printed
    shell.run("%%distribute n in range(2) -> values\nmine = grid.copy()\nmine[n] = 1\nfloat(mine.sum())")
    assert list(shell["values"]) == [1.0, 1.0]


# --- what cannot travel -----------------------------------------------------------------------------------------------

PLACES = {
    "a global of the cell": ("", "bad", "'bad' of the function"),
    "in a dict": ("box = {'one': {'two': bad}}", "box", "'two' of the value at 'one' of the captured name 'box'"),
    "an attribute": (
        "class Box: pass\nbox = Box()\nbox.inner = bad",
        "box",
        "attribute 'inner' of the captured name 'box'",
    ),
    "in a closure": ("def make(held):\n    return lambda: held\nf = make(bad)", "f", "'held' of the captured name 'f'"),
    "a default": ("def f(held=bad): return held", "f", "the default of 'held' of the captured name 'f'"),
}


@pytest.mark.parametrize(("before", "used", "where"), PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(
    ("make", "says"),
    [
        ("import threading\nbad = threading.Lock()", "type _thread.lock; make it inside the function"),
        ("import threading\nbad = threading.Event()", "type threading.Event; make it inside the function"),
        ("import socket\nbad = socket.socket()", "type socket.socket; open the connection inside the function"),
        ("import sqlite3\nbad = sqlite3.connect(':memory:')", "sqlite3.Connection; connect to the database inside"),
        ("import os\nbad = open(os.devnull)", "TextIOWrapper; open the file inside the function"),
        ("bad = (i for i in range(3))", "generator; turn it into a list first"),
        ("import nbdist\nbad = nbdist.client.pool.current()", "nbdist.client.pool.Pool; use the pool where"),
        ("import nbdist\nbad = nbdist.last_job", "nbdist.client.job.Job; its values can travel"),
        ("import os\nbad = open(os.devnull, 'wb')", "BufferedWriter; open the file inside the function"),
        (
            "class Own:\n    def __getstate__(self):\n        raise RuntimeError('not me')\nbad = Own()",
            "RuntimeError: not me",
        ),
    ],
)
def test_what_cannot_travel_is_named_before_anything_runs(
    shell: Any, make: str, says: str, before: str, used: str, where: str
) -> None:
    shell.run("%%distribute n in range(1) --fresh\nn", make, before)
    job = nbdist.last_job
    error = shell.fail(f"%%distribute n in range(3) -> kept\nstr(type({used}))")
    text = str(error)
    assert isinstance(error, PackingError)
    assert where in text
    assert says in text
    assert len(text) < 300
    assert "\n" not in text
    assert shell.printed.count(text) == 1
    assert nbdist.last_job is job
    if hasattr(shell["bad"], "close") and used == "bad" and not isinstance(shell["bad"], nbdist.Pool):
        shell["bad"].close()


@pytest.mark.parametrize("used", ["bad", "{'in': bad}", "box"])
def test_a_list_of_a_hundred_thousand_links_is_named(shell: Any, used: str) -> None:
    shell.run(
        "class Link: pass\nclass Box: pass",
        "bad = None\nfor _ in range(100_000):\n    link = Link()\n    link.next = bad\n    bad = link",
        "box = Box()\nbox.inner = bad",
    )
    error = shell.fail(f"%%distribute n in range(3)\nstr(type({used}))")
    assert isinstance(error, PackingError)
    assert re.match(
        r"the captured name '(bad|box)' of the function cannot be packed: it is nested too deeply", str(error)
    )
    assert len(str(error)) < 200


@pytest.mark.parametrize("used", ["bad", "box['in']", "held()"])
def test_an_object_that_cannot_be_unpacked_ends_the_job_and_says_where(shell: Any, used: str) -> None:
    shell.run(
        "class Own:\n    def __init__(self):\n        self.x = 1\n    def __setstate__(self, state):\n"
        "        raise RuntimeError('not like this')\nbad = Own()",
        "box = {'in': bad}\ndef held(own=bad):\n    return own",
    )
    error = shell.fail(f"%%distribute n in range(3) -> kept\nstr(type({used}))")
    assert isinstance(error, JobRefusedError)
    assert "cannot be loaded: RuntimeError: not like this (in Own.__setstate__)" in str(error)


def test_values_that_refer_to_themselves_travel_as_they_are(shell: Any) -> None:
    shell.run(
        "class Node: pass\nnode = Node()\nnode.me = node",
        "loop = [1]\nloop.append(loop)\ntable = {}\ntable['me'] = table",
        "%%distribute n in range(2) -> same\n(node.me is node, loop[1] is loop, table['me'] is table)",
    )
    assert list(shell["same"]) == [(True, True, True)] * 2


def test_a_frame_travels_and_is_read_only_in_place(shell: Any) -> None:
    pytest.importorskip("pandas")
    shell.run("import pandas as pd\nframe = pd.DataFrame({'a': np.arange(300_000.0), 'b': ['x', 'y'] * 150_000})")
    shell.run("%%distribute n in range(2) -> sums\nfloat(frame['a'].sum()), frame['b'][n]")
    assert list(shell["sums"]) == [(sum(range(300_000)), "x"), (sum(range(300_000)), "y")]


def test_a_name_that_is_defined_only_after_the_cell_is_told_before_anything_runs(shell: Any) -> None:
    job = nbdist.last_job
    error = shell.fail("%%distribute n in range(3) -> kept\nlater(n)")
    assert isinstance(error, CellError)
    assert "line 2: `later` is not defined in this notebook, or not yet" in str(error)
    assert nbdist.last_job is job
    shell.run("def later(n):\n    return inner(n)")
    error = shell.fail("%%distribute n in range(3) -> kept\nlater(n)")  # a function may be read in vain, or not
    assert isinstance(error, NameError)
    assert "name 'inner' is not defined" in shell.printed
    shell.run("def inner(n):\n    return n", "%%distribute n in range(3) -> values\nlater(n)")
    assert list(shell["values"]) == [0, 1, 2]
