"""Cells that are run again, in a real shell on a real pool: what was computed is shown, and not computed again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import nbdist
from nbdist.errors import NbdistError
from nbdist.notebook.again import ago, keys_of
from nbdist.notebook.cell import parse
from nbdist.wire.messages import ClearPool
from notebooks import Notebook, open_notebook

pytestmark = pytest.mark.real
OFFERED = "its results, not computed again; --fresh computes them"
LIMIT_SECONDS = 60.0


@pytest.fixture(scope="module")
def pool() -> Iterator[nbdist.Pool]:
    with nbdist.connect(workers=1) as opened:
        yield opened


class Counted(Notebook):
    """A notebook whose items leave a mark when they run."""

    def __init__(self, shell: Any, capture: Any, marks: Path) -> None:
        super().__init__(shell, capture)
        self.marks = marks
        marks.touch()
        self.run(f"def mark(x):\n    with open({str(marks)!r}, 'a') as file:\n        file.write('.')\n    return x")

    def count(self) -> int:
        """How many items have run since the last call."""
        found = self.marks.stat().st_size
        self.marks.write_text("")
        return found


@pytest.fixture
def notebook(pool: nbdist.Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Counted]:
    pool.clear()
    nbdist.client.pool._current = nbdist.client.pool.weakref.ref(pool)
    with open_notebook(capsys) as opened:
        yield Counted(opened.shell, capsys, tmp_path / "marks")


@pytest.mark.parametrize(
    ("cell", "result", "items"),
    [
        ("%%distribute n in range(5)\nmark(n) * 10", [0, 10, 20, 30, 40], 5),
        ("%%distribute n in range(5) --reduce sum\nmark(n)", 10, 5),
        ("%%distribute n in [3, 1] --seed 7 --name again\nmark(n) + nbdist.rng().integers(0, 1)", [3, 1], 2),
        ("%%distribute a, b in zip([1, 2], 'xy') if a\nmark(a), b", [(1, "x"), (2, "y")], None),
        ("%%distribute a in [1, 2] for b in range(a)\nmark(a), b", [(1, 0), (2, 0), (2, 1)], 3),
        ("%%distribute a in data\nmark(float(a))", [0.0, 1.0], 2),
        ("%%distribute n in range(5) if n % 2 --keep-if _ > 1\nmark(n)", [3], 2),
        ("%distribute [mark(n) for n in range(3)]", [0, 1, 2], 3),
        ("%distribute {mark(n): -n for n in range(3)}", {0: 0, 1: -1, 2: -2}, 3),
        ("%distribute {mark(n) for n in range(3)}", {0, 1, 2}, 3),
        ("%distribute [mark(n) for n in range(3)] --reduce max", 2, 3),
    ],
)
def test_the_same_cell_shows_what_it_has_computed(notebook: Counted, cell: str, result: Any, items: int | None) -> None:
    notebook.run("import nbdist\nimport numpy as np\ndata = np.arange(2.0)")
    assert notebook.run(cell) == result
    assert OFFERED not in notebook.printed
    computed = notebook.count()
    if items is None:  # a one-shot iterator: it is another one each time
        assert notebook.run(cell) == result
        assert (notebook.count(), OFFERED in notebook.printed) == (computed, False)
        return
    assert computed == items
    for _ in range(2):
        assert notebook.run(cell) == result
        assert notebook.count() == 0
        assert f"same cell as job {nbdist.last_job.id[:4]}… (just now): {OFFERED}" in notebook.printed.splitlines()
    first, line, rest = cell.partition("\n")
    assert notebook.run(f"{first} --fresh{line}{rest}") == result
    assert notebook.count() == items
    assert OFFERED not in notebook.printed


def test_the_view_shows_the_jobs_final_state(notebook: Counted) -> None:
    cell = "%%distribute n in range(3) -> values --plot\nimport time\ntime.sleep(0.3)\nmark(n)"
    for _ in range(2):
        notebook.run(cell)
        view = next(line for line in notebook.printed.splitlines() if line.startswith("values:"))
        seconds = re.fullmatch(r"values: 3 items in ([\d.]+) s, .*1 slot", view)
        assert seconds is not None, view
        assert float(seconds[1]) >= 0.9  # what it took when it was computed
    assert OFFERED in notebook.printed
    assert "Plots are drawn in notebooks" in notebook.printed


def test_values_are_new_ones_with_their_items_and_names(notebook: Counted) -> None:
    cell = "%%distribute a in [1, 2] for b in 'xy' -> values\n[mark(a), b]"
    notebook.run(cell)
    first = notebook["values"]
    first.reverse()
    first[0].append("changed")
    old = nbdist.last_job
    notebook.run(cell)
    assert notebook["values"] == [[1, "x"], [1, "y"], [2, "x"], [2, "y"]]
    assert notebook.count() == 4
    assert nbdist.last_job.loop_names == ("a", "b")
    assert nbdist.last_job.id == old.id
    assert len(old.values) == 4
    notebook.run("%%distribute n in [5, 6] -> values\nmark(n)")
    notebook.run("%%distribute n in [5, 6] -> values\nmark(n)")
    assert notebook["values"].dict() == {5: 5, 6: 6}
    assert list(notebook["values"].frame().columns) == ["index", "n", "value", "seconds", "machine"]
    assert notebook.count() == 2


def test_in_the_background_and_as_a_stream(notebook: Counted) -> None:
    for expected in (3, 0):
        notebook.run("%%distribute n in range(3) -> job --background\nmark(n)")
        assert notebook["job"].result(LIMIT_SECONDS) == [0, 1, 2]
        notebook.run("stream = %distribute (mark(-n) for n in range(3))")
        assert list(notebook["stream"]) == [0, -1, -2]
        assert notebook.count() == 2 * expected


def test_a_change_of_what_the_cell_uses_is_computed(notebook: Counted) -> None:
    cell = "%%distribute n in range(3)\nscaled(mark(n))"
    notebook.run("k = 2\ndef scaled(x): return x * k", cell)
    for change, result in [("k = 3", [0, 3, 6]), ("def scaled(x): return x - k", [-3, -2, -1])]:
        notebook.count()
        assert notebook.run(change, cell) == result
        assert notebook.count() == 3
    pairs = "%%distribute a in [1, 2] for b in letters\nmark(a), b"
    for letters in ("xy", "xz"):
        assert notebook.run(f"letters = {letters!r}", pairs) == [(a, b) for a in (1, 2) for b in letters]
        assert notebook.count() == 4
    assert notebook.run("k = 2\ndef scaled(x):\n    # as before\n    return x * k", cell) == [0, 2, 4]
    assert notebook.count() == 0


@pytest.mark.parametrize(
    "cell",
    [
        "%%distribute -> once\nmark(1)",
        "%%distribute --each machine\nmark(1)",
        "%%distribute n in range(1)\nm = mark(n)",
        "%%distribute n in range(1)\nprint(mark(n))",
        "%%distribute n in (n for n in range(1))\nmark(n)",
        "%%distribute n in range(1) --on-error keep\n1 / mark(n)",
        "%%distribute n in range(2) --try 1\nmark(n)",
    ],
)
def test_what_runs_for_its_effect_or_has_no_key_or_failed_is_always_computed(notebook: Counted, cell: str) -> None:
    for _ in range(2):
        notebook.run(cell)
        assert notebook.count() == 1
        assert OFFERED not in notebook.printed


@pytest.mark.parametrize(
    ("line", "body", "has_key"),
    [("n in range(3)", "n", True), ("n in range(3)", "m = n", False), ("", "1", False), ("--each slot", "1", False)],
)
def test_a_cell_that_runs_for_its_effect_has_no_key(line: str, body: str, has_key: bool) -> None:
    cell = parse(line, body)
    keys = keys_of(cell, cell.build({"__name__": "__main__"}, "<cell>"))
    assert (bool(keys.key), bool(keys.items_key)) == (has_key, has_key)


def test_a_job_that_failed_is_computed_and_an_older_one_that_did_not_is_offered(
    notebook: Counted, tmp_path: Path
) -> None:
    cell = f"%%distribute n in range(2)\nif open({str(tmp_path / 'bad')!r}).read(): 1 / 0\nmark(n)"
    (tmp_path / "bad").write_text("yes")
    for _ in range(2):
        assert isinstance(notebook.fail(cell), ZeroDivisionError)
    (tmp_path / "bad").write_text("")
    assert notebook.run(cell) == [0, 1]
    (tmp_path / "bad").write_text("yes")
    assert isinstance(notebook.fail(cell.replace("range(2)", "range(2) --fresh")), ZeroDivisionError)
    notebook.count()
    assert notebook.run(cell) == [0, 1]
    assert notebook.count() == 0


def test_it_is_offered_although_many_other_cells_have_run_since(notebook: Counted) -> None:
    cell = "%%distribute n in range(2)\nmark(n)"
    notebook.run(cell, *(f"%%distribute n in range(2)\nn + {other}" for other in range(7)))
    notebook.count()
    assert notebook.run(cell) == [0, 1]
    assert notebook.count() == 0
    notebook.shell.user_ns["pool"] = nbdist.client.pool.current()
    notebook.run("pool.clear()", cell)
    assert notebook.count() == 2


def test_results_that_go_while_they_are_attached_to_are_computed_again(
    notebook: Counted, pool: nbdist.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = "%%distribute n in range(2)\nmark(n)"
    notebook.run(cell)
    engine: Any = pool._engine
    attach = engine.attach

    def attach_too_late(job: str) -> Any:
        attached = attach(job)

        def take_over(deliver: Any, files: Any = None, after: int = 0) -> Any:
            engine._ask(ClearPool)
            return attached.take_over(deliver, files, after)

        return replace(attached, take_over=take_over)

    monkeypatch.setattr(engine, "attach", attach_too_late)
    notebook.count()
    assert notebook.run(cell) == [0, 1]
    assert notebook.count() == 2
    assert OFFERED not in notebook.printed
    monkeypatch.setattr(engine, "find", lambda key: "unknown")
    assert notebook.run(cell) == [0, 1]
    assert notebook.count() == 2

    def raising(key: str) -> str:
        raise NbdistError("the hub does not answer")

    monkeypatch.setattr(engine, "find", raising)
    assert notebook.run(cell) == [0, 1]
    assert notebook.count() == 2


def test_results_that_cannot_be_unpacked_any_more_are_computed_again(notebook: Counted) -> None:
    cell = "%%distribute n in range(2)\nmark(n)\nOdd()"
    notebook.run(
        "import sys\nsys.nbdist_broken = False\n"
        "class Odd:\n    def __reduce__(self): return (restore, ())\n"
        "def restore():\n    import sys\n    return 1 / (not getattr(sys, 'nbdist_broken', False))"
    )
    assert notebook.run(cell, cell) == [1, 1]
    assert notebook.count() == 2
    notebook.run("sys.nbdist_broken = True")
    assert isinstance(notebook.fail(cell), NbdistError)
    assert notebook.count() >= 1  # the first result ends the job: it is not usable either
    notebook.run("del sys.nbdist_broken")


def test_a_running_job_of_this_notebook_is_not_shared(notebook: Counted, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    wait = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)"
    cell = f"%%distribute n in range(3) --background\n{wait}\nmark(n)"
    first, second = notebook.run(cell), notebook.run(cell)
    gate.touch()
    assert first.id != second.id
    assert first.result(LIMIT_SECONDS) == second.result(LIMIT_SECONDS) == [0, 1, 2]
    assert notebook.run(cell).id == second.id


def test_an_old_job_of_which_nothing_was_asked_does_not_disturb_the_new_one(notebook: Counted) -> None:
    cell = "%%distribute n in range(12) -> job --background\nbytes([n]) * 1_000_000"
    notebook.run(cell)
    old = notebook["job"]
    while not old.inbox.run.is_complete:
        old.inbox.run.wait(LIMIT_SECONDS)
    notebook.run(cell)
    assert OFFERED in notebook.printed
    new = notebook["job"]
    old.cancel()
    assert [value[0] for value in old.result(LIMIT_SECONDS)] == list(range(12))
    old.inbox.release()
    assert [value[0] for value in new.result(LIMIT_SECONDS)] == list(range(12))
    notebook.run(cell)
    assert notebook["job"].id == old.id


def test_the_python_api_computes(pool: nbdist.Pool, notebook: Counted) -> None:
    assert notebook.run("%%distribute n in range(2)\nmark(n)") == [0, 1]
    first = pool.map(abs, range(3))
    assert first.result(LIMIT_SECONDS) == [0, 1, 2]
    assert pool.map(abs, range(3)).id != first.id


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "just now"), (1, "1 second ago"), (59, "59 seconds ago"), (12 * 60 + 5, "12 minutes ago"),
     (3600, "1 hour ago"), (86000, "23 hours ago")],
)  # fmt: skip
def test_how_long_ago(seconds: float, text: str) -> None:
    assert ago(seconds) == text
