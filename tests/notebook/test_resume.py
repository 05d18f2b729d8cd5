"""`--resume` under a real shell: only the items that are missing run, and the rest is there as if they had."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nbdist
from nbdist.client.pool import RECENT_JOBS
from nbdist.errors import CellError, NbdistError
from nbdist.notebook.resumable import newest, with_id
from notebooks import Notebook, open_notebook

LIMIT_SECONDS = 60.0
NOTED = "with open(log, 'a') as file: file.write(f'{n}\\n')\n"
"""The first line of a body that leaves word of each item that it runs."""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "ran"
    path.touch()
    return path


@pytest.fixture
def notebook(capsys: pytest.CaptureFixture[str], log: Path) -> Iterator[Notebook]:
    with open_notebook(capsys) as opened, nbdist.connect(workers=2):
        opened.run(f"log = {str(log)!r}")
        yield opened


def ran(log: Path) -> list[int]:
    """The items that have run since the last look, sorted; on a busy machine one may have had a copy."""
    items = sorted(set(map(int, log.read_text().split())))
    log.write_text("")
    return items


def test_a_cell_that_failed_runs_what_is_missing_with_its_new_code(notebook: Notebook, log: Path) -> None:
    failed = notebook.fail(f"%%distribute n in range(400) -> xs --task-size 10 --seed 5\n{NOTED}1 // (n - 333)\nn * n")
    assert isinstance(failed, ZeroDivisionError)
    shown = "\n".join(failed._render_traceback_())  # type: ignore[attr-defined]
    assert shown.count("`--resume` runs only the items that are missing") == 1
    job = nbdist.last_job
    assert job is not None
    before = set(ran(log))
    done = {index for segment in job.segments for index in segment.indices}
    notebook.run(f"%%distribute n in range(400) -> xs --resume\n{NOTED}-1 if n == 333 else n * n")
    assert ran(log) == sorted(set(range(400)) - done)
    assert 333 in before
    assert notebook["xs"] == [-1 if n == 333 else n * n for n in range(400)]
    assert f"Resuming job {job.id} (xs)." in notebook.printed
    told = f"{400 - len(done):,} of 400 values are new; {len(done):,} came from job {job.id} and the older code"
    assert notebook.printed.count(told) == 1
    new = nbdist.last_job
    assert new is not None
    assert (new.seed, new.outcome, new.progress.done, new.progress.failed) == (5, "done", 400, 0)
    assert new.resumed is not None
    assert (new.resumed.job, new.resumed.items, new.resumed.is_older_code) == (job.id, len(done), True)
    assert notebook["xs"].dict()[20] == 400
    assert list(notebook["xs"].frame()["n"]) == list(range(400))
    assert sorted(new.as_completed()) == list(enumerate(notebook["xs"]))


def test_an_interrupted_cell_goes_on_with_the_same_code(notebook: Notebook, log: Path) -> None:
    cell = f"import time\n{NOTED}time.sleep(0.01)\nn + 1"

    def press() -> None:
        while len(log.read_text().split()) < 60:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    stopped = notebook.fail(f"%%distribute n in range(300)\n{cell}")
    assert isinstance(stopped, KeyboardInterrupt)
    assert "`--resume` runs only" in "\n".join(stopped._render_traceback_())  # type: ignore[attr-defined]
    job = nbdist.last_job
    assert job is not None
    kept = job.progress.done
    assert 0 < kept < 300
    ran(log)
    values = notebook.run(f"%%distribute n in range(300) --resume\n{cell}")
    assert values == list(range(1, 301))
    assert f"{300 - kept:,} of 300 values are new; {kept:,} came from job {job.id}\n" in notebook.printed
    assert len(ran(log)) == 300 - kept


def test_again_and_again_by_its_id_and_with_kept_failures(notebook: Notebook, log: Path) -> None:
    notebook.run("bad = {3, 50, 99}")
    cell = f"{NOTED}assert n not in bad\nn"
    notebook.run(f"%%distribute n in range(100) --on-error keep -> a\n{cell}")
    first = nbdist.last_job
    assert first is not None
    ran(log)
    notebook.run("bad = {50}", f"%%distribute n in range(100) --on-error keep -> b --resume {first.id[:8]}\n{cell}")
    assert ran(log) == [3, 50, 99]
    second = nbdist.last_job
    assert second is not None
    assert [failure.index for failure in second.failures] == [50]
    notebook.run("bad = {}", f"%%distribute n in range(100) -> b --resume\n{cell}")
    assert ran(log) == [50]
    assert notebook["b"] == list(range(100))
    assert f"1 of 100 values is new; 99 came from job {second.id}" in notebook.printed
    nothing = notebook.fail(f"%%distribute n in range(100) -> b --resume {nbdist.last_job.id}\n{cell}")  # type: ignore[union-attr]
    assert "is finished, it has nothing left to do: `%distribute attach" in str(nothing)


@pytest.mark.parametrize("items", ["range(200)", "list(range(200))", "(i for i in range(200))", "range(200) if n % 3"])
@pytest.mark.parametrize("options", ["", "--reduce sum", "--keep-if '_ % 2'", "--plot", "--background"])
def test_all_kinds_of_items_and_results(notebook: Notebook, log: Path, items: str, options: str) -> None:
    notebook.fail(
        f"%%distribute n in {items} -> xs --task-size 7 {options.replace('--background', '')}\n1 // (n - 100)\nn"
    )
    job = nbdist.last_job
    assert job is not None
    notebook.run("xs = None", f"%%distribute n in {items} -> xs --task-size 7 {options} --resume\n{NOTED}n")
    new = nbdist.last_job
    assert new is not None
    result: Any = new.result(LIMIT_SECONDS)
    expected = [n for n in range(200) if n % 3 or "if" not in items]
    if "keep" in options:
        expected = [n for n in expected if n % 2]
    assert result == (sum(expected) if "sum" in options else expected)
    assert new.resumed is not None
    assert new.resumed.items > 0
    assert len(set(ran(log))) <= 200 - new.resumed.items
    assert (new.progress.done, new.progress.taken) == (200, new.resumed.items)
    if not isinstance(result, int):
        assert len(result) == len(list(result.indices()))


def test_what_cannot_be_resumed_says_why(notebook: Notebook) -> None:
    assert "--resume finds no job of 'xs' with 9 items" in str(
        notebook.fail("%%distribute n in range(9) -> xs --resume\nn")
    )
    notebook.run("%%distribute n in range(50) -> s --stop-when '_ == 7'\nn")
    stopped = nbdist.last_job
    notebook.fail("%%distribute n in range(9) -> xs --task-size 1\n1 // (n - 8)")
    failed = nbdist.last_job
    assert stopped is not None
    assert failed is not None
    pool = nbdist.client.pool.current()  # type: ignore[attr-defined]
    assert pool is not None
    for name, arguments, said in [
        (stopped.id, {"stop_when": bool}, "has found the value that met its stop_when"),
        (failed.id, {"reduce": sum}, "this one has reduce and job .* has not"),
        (failed.id, {}, r"ran over range\(0, 9\), this one runs over range\(0, 50\)"),
        ("0123", {}, "no job '0123' is known here"),
    ]:
        with pytest.raises(NbdistError, match=said):
            pool.map(abs, range(50), resume=name, **arguments)
    release = pool.map(lambda n: __import__("time").sleep(60), range(3))
    with pytest.raises(NbdistError, match="still runs: `%distribute attach"):
        pool.map(abs, range(3), resume=release)
    release.cancel()
    with pytest.raises(TypeError, match="resume is a job or the id of one"):
        pool.map(abs, range(3), resume=3)
    for cell, said in [
        ("%%distribute --resume\n1", "--resume needs items"),
        ("%%distribute n in range(9) --try --resume\n1", "--resume and --try do not go together"),
        ("%%distribute n in range(9) --resume 99999\n1", "no job has an id that begins with '99999'"),
    ]:
        assert said in str(notebook.fail(cell))


def test_a_job_that_is_being_cancelled_is_waited_for(log: Path) -> None:
    with nbdist.connect(workers=2) as pool:
        job = pool.map(lambda n: __import__("time").sleep(0.01) or n, range(1000), task_size=5)
        next(iter(job.as_completed()))
        job.cancel()
        again = pool.map(lambda n: n, range(1000), resume=job)
        assert again.result(LIMIT_SECONDS) == list(range(1000))
        assert again.resumed is not None
        assert 0 < again.resumed.items < 1000


def test_large_values_and_large_items() -> None:
    numpy = pytest.importorskip("numpy")
    arrays = [numpy.full(200_000, n) for n in range(12)]
    with nbdist.connect(workers=2) as pool:
        job = pool.map(lambda a: a * 2 if a[0] != 7 else 1 // 0, arrays, on_error="keep")
        job.result(LIMIT_SECONDS)
        again = pool.map(lambda a: a * 2, arrays, resume=job)
        values = again.result(LIMIT_SECONDS)
        assert [value[-1] for value in values] == [2 * n for n in range(12)]
        assert all(value.shape == (200_000,) for value in values)
        assert again.resumed is not None
        assert again.resumed.items == 11


def test_a_partial_job_outlives_its_pools_interest_and_a_whole_one_does_not() -> None:
    with nbdist.connect(workers=2) as pool:
        failed = pool.map(lambda n: 1 // (n - 5), range(6), task_size=1)
        assert failed.wait(LIMIT_SECONDS)
        whole = pool.map(abs, range(6))
        whole.result(LIMIT_SECONDS)
        for _ in range(RECENT_JOBS + 1):
            pool.map(abs, range(2)).result(LIMIT_SECONDS)
        again = pool.map(lambda n: n, range(6), resume=failed.id)
        done = {index for segment in failed.segments for index in segment.indices}
        assert again.result(LIMIT_SECONDS) == [-1 if n in done else n for n in range(6)]
        with pytest.raises(NbdistError, match=r"no job .* is known here"):
            pool.map(abs, range(6), resume=whole.id)
        pool.clear()
        with pytest.raises(NbdistError, match=r"no job .* is known here"):
            pool.map(abs, range(6), resume=failed.id)


def test_an_inline_pool_keeps_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with nbdist.connect("inline") as pool:
        job = pool.map(lambda n: 1 // n, range(3))
        with pytest.raises(NbdistError, match="an inline pool keeps no results"):
            pool.map(abs, range(3), resume=job)


def row(job: str, **fields: Any) -> dict[str, Any]:
    values = {"name": "xs", "state": "failed", "done": 5, "failed": 1, "total": 9, "left": 5, "owner": "old"}
    return {"id": job, "is_open": False, **values, **fields}


@pytest.mark.parametrize(
    ("rows", "name", "total", "last", "found"),
    [
        ([row("a"), row("b")], "xs", 9, None, "a"),
        ([row("a"), row("b")], "xs", 9, "b", "b"),
        ([row("a", state="done", failed=0, done=9, left=0), row("b")], "xs", 9, "a", "b"),
        ([row("a", state="done", done=9, left=1)], "xs", 9, None, "a"),
        ([row("a", state="running"), row("b", total=8), row("c", done=1), row("d")], "xs", 9, None, "d"),
        ([row("a", is_open=True), row("b")], "xs", 9, None, "b"),
        ([row("a", is_open=True, owner="me"), row("b", is_open=True, owner="me", total=1)], "xs", 9, "b", "a"),
        ([row("a", name="ys"), row("b", name="cell 7")], "cell 8", 9, None, "b"),
        ([row("a", name="cell 7", total=None, left=None)], "cell 8", None, "a", "a"),
        ([row("a", name="cell 7", total=None, left=None), row("b")], "xs", None, None, "b"),
    ],
)
def test_which_job_a_cell_resumes_that_names_none(
    rows: list[dict[str, Any]], name: str, total: int | None, last: str | None, found: str
) -> None:
    assert newest(rows, name, total, last)["id"] == found


@pytest.mark.parametrize("rows", [[], [row("a", name="cell 7", total=None, left=None)], [row("a", state="stopped")]])
def test_or_none(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(CellError, match=r"--resume finds no job.*--resume ID; `%distribute jobs`"):
        newest(rows, "cell 8", None, None)


def test_the_beginning_of_an_id() -> None:
    rows = [row("ab12"), row("ab"), row("cd")]
    assert (with_id(rows, "ab"), with_id(rows, "c")) == ("ab", "cd")
    for beginning, said in (("a", "several jobs have"), ("x", "no job has")):
        with pytest.raises(CellError, match=said):
            with_id(rows, beginning)
