"""What clumsy users write: each gets one clear message that says what to do, and nothing is lost."""

from __future__ import annotations

import ctypes
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nbdist
from nbdist.errors import CellError, JobError, PackingError, ResultError, WorkerCrashedError

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0


@pytest.fixture(scope="module")
def pool() -> Iterator[nbdist.Pool]:
    with nbdist.connect(workers=2) as pool:
        yield pool


@pytest.fixture(autouse=True)
def nothing_is_lost(pool: nbdist.Pool) -> Iterator[None]:
    """After each of these tests the pool does its work, with both of its slots."""
    yield
    assert pool.map(abs, range(-5, 5)).result(LIMIT_SECONDS) == [5, 4, 3, 2, 1, 0, 1, 2, 3, 4]
    pool.wait(slots=2, timeout=LIMIT_SECONDS)


def one_line(error: BaseException) -> str:
    """The message of an error that is one short line."""
    text = str(error)
    assert "\n" not in text.strip()
    assert len(text) < 400
    return text


# --- cells ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%%distribute n in range(3) --tasksize 2\nn", r"--tasksize.*\n(.|\n)*--task-size"),
        ("%%distribute n in range(3) --retries -1\nn", "--retries takes a whole number"),
        ("%%distribute n in range(3) --on-error ignore\nn", "stop(.|\n)*keep"),
        ("%%distribute n in range(3\nn", r"\("),
        ("%%distribute n of range(3)\nn", " in "),
        ("%%distribute n in range(3)\nn +", "."),
        ("%%distribute n in range(3)\nif n > 1:\n    break\nn", "--stop-when"),
        ("%%distribute n in range(3)\nreturn n", "last"),
        ("%%distribute n in range(3)\nyield n", "last|value"),
        ("%%distribute n in range(3)\n!ls", "!|%"),
        ("%%distribute n in range(3)\ntotal += n", "--reduce"),
        ("%%distribute n in range(3) -> values\nx = n", "no expression"),
        ("%distribute nonsense", "does not know 'nonsense'"),
    ],
)
def test_a_cell_that_breaks_a_rule_is_refused_before_anything_runs(
    pool: nbdist.Pool, notebook: Any, cell: str, says: str
) -> None:
    notebook.run("total = 0")
    before = len(pool.jobs)
    error = notebook.fail(cell)
    assert isinstance(error, CellError), repr(error)
    assert_says(says, str(error))
    assert "Traceback" not in notebook.printed
    assert len(pool.jobs) == before


def assert_says(pattern: str, text: str) -> None:
    assert re.search(pattern, text), f"{pattern!r} is not in: {text}"


def test_a_head_over_what_is_no_iterable(pool: nbdist.Pool, notebook: Any) -> None:
    error = notebook.fail("%%distribute n in 5\nn")
    assert isinstance(error, (CellError, TypeError))
    assert_says(r"range\(5\)", one_line(error) if isinstance(error, TypeError) else str(error))


def test_a_captured_name_that_cannot_travel_in_a_cell(pool: nbdist.Pool, notebook: Any) -> None:
    notebook.run("import threading\nguard = threading.Lock()")
    error = notebook.fail("%%distribute n in range(3)\nwith guard:\n    x = n\nx")
    assert isinstance(error, PackingError)
    assert_says("'guard'.*lock", one_line(error))


def test_a_cell_that_fails_binds_nothing_and_keeps_what_it_had(pool: nbdist.Pool, notebook: Any) -> None:
    notebook.run("values = 'as before'")
    error = notebook.fail("%%distribute n in range(100) -> values --task-size 1\n1 / (n - 60)")
    assert isinstance(error, ZeroDivisionError)
    assert notebook.run("values") == "as before"
    assert nbdist.last_job is not None
    kept = nbdist.last_job.values
    assert set(kept) <= {1 / (n - 60) for n in range(100) if n != 60}


# --- values -----------------------------------------------------------------------------------------------------------


def test_what_is_no_iterable(pool: nbdist.Pool) -> None:
    with pytest.raises(TypeError, match=r"no iterable.*'int'.*range\(5\)") as caught:
        pool.map(abs, 5)  # type: ignore[arg-type]
    one_line(caught.value)


def test_a_captured_name_that_cannot_travel(pool: nbdist.Pool) -> None:
    lock = threading.Lock()
    with pytest.raises(PackingError, match=r"captured name 'lock' of the function .*type _thread.lock") as caught:
        pool.map(lambda x: lock.locked(), range(3)).result(LIMIT_SECONDS)
    one_line(caught.value)


def test_a_rule_that_cannot_travel(pool: nbdist.Pool) -> None:
    lock = threading.Lock()
    with pytest.raises(PackingError, match="captured name 'lock' of keep_if"):
        pool.map(abs, range(3), keep_if=lambda x: lock.locked()).result(LIMIT_SECONDS)


def test_an_item_that_cannot_travel(pool: nbdist.Pool) -> None:
    with pytest.raises(PackingError, match=r"item 2\b.*lock"):
        pool.map(str, [0, 1, threading.Lock(), 3]).result(LIMIT_SECONDS)


def test_a_result_that_cannot_travel(pool: nbdist.Pool) -> None:
    values = pool.map(lambda x: threading.Lock() if x == 7 else x, range(20), on_error="keep").result(LIMIT_SECONDS)
    assert isinstance(values[7], nbdist.ItemFailure)
    assert isinstance(values[7].error, ResultError)
    assert_says("item 7 .*lock", one_line(values[7].error))
    assert [*values[:7], *values[8:]] == [*range(7), *range(8, 20)]


def test_an_item_that_asks_the_keyboard(pool: nbdist.Pool) -> None:
    with pytest.raises(EOFError, match=r"input\(\) cannot be used in an item.*Ask before the cell"):
        pool.map(lambda x: input("name? "), range(3)).result(LIMIT_SECONDS)


def test_an_item_that_asks_the_keyboard_in_a_cell(pool: nbdist.Pool, notebook: Any) -> None:
    assert isinstance(notebook.fail("%%distribute n in range(3)\ninput('?')"), (EOFError, CellError))


# --- crashes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("crash", "how"),
    [
        (lambda: os._exit(7), "exit code 7"),
        (lambda: ctypes.string_at(0), "SIGSEGV|signal 11|egmentation"),
        (lambda: os.kill(os.getpid(), 9), "SIGKILL|signal 9|[Kk]illed"),
    ],
    ids=["os._exit", "segfault", "kill"],
)
def test_an_item_that_ends_its_process(pool: nbdist.Pool, tmp_path: Path, crash: Callable[[], None], how: str) -> None:
    def work(x: int) -> int:
        if x == 137:
            with open(tmp_path / "attempts", "a") as file:
                file.write("x")
            crash()
        return x * x

    job = pool.map(work, range(500), on_error="keep", speculate=False)
    values = job.result(LIMIT_SECONDS)
    failure = values[137]
    assert isinstance(failure, nbdist.ItemFailure)
    assert isinstance(failure.error, WorkerCrashedError)
    assert_says(f"item 137 .*({how}).*3 attempts", str(failure.error).splitlines()[0])
    assert (tmp_path / "attempts").read_text() == "xxx"
    assert [v for v in values if v is not failure] == [x * x for x in range(500) if x != 137]
    assert [f.index for f in job.failures] == [137]


def test_a_crash_shows_what_the_process_wrote_last(pool: nbdist.Pool) -> None:
    def work(x: int) -> None:
        import sys

        print("the last words", file=sys.stderr, flush=True)
        os._exit(3)

    with pytest.raises(WorkerCrashedError, match="item 0") as caught:
        pool.map(work, range(1)).result(LIMIT_SECONDS)
    assert "the last words" in str(caught.value) + "".join(getattr(caught.value, "__notes__", ()))


def test_an_item_that_needs_more_memory_than_there_is(pool: nbdist.Pool) -> None:
    values = pool.map(lambda x: bytearray(1 << 60) if x == 3 else x, range(6), on_error="keep").result(LIMIT_SECONDS)
    assert isinstance(values[3], nbdist.ItemFailure)
    assert isinstance(values[3].error, MemoryError)


def test_an_item_that_never_stops_recursing(pool: nbdist.Pool) -> None:
    def dive(x: int) -> int:
        return dive(x + 1)

    with pytest.raises(RecursionError):
        pool.map(dive, range(3)).result(LIMIT_SECONDS)


def test_an_item_whose_exception_is_broken(pool: nbdist.Pool) -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    def work(x: int) -> None:
        raise Broken

    job = pool.map(work, range(3))
    with pytest.raises(Exception):  # noqa: B017 - any: what counts is that it ends, as a failure
        job.result(LIMIT_SECONDS)
    assert job.outcome == "failed"


def test_an_item_that_prints_without_end_is_cut(pool: nbdist.Pool) -> None:
    def chatter(x: int) -> int:
        for _ in range(40):
            print("word " * 20_000)
        return x

    job = pool.map(chatter, range(20))
    assert job.result(LIMIT_SECONDS) == list(range(20))
    assert sum(len(text.text) for text in job.output) < 32 * 1024 * 1024


def test_an_item_that_closes_its_files(pool: nbdist.Pool) -> None:
    def close_all(x: int) -> int:
        os.closerange(0, 64)
        return x

    job = pool.map(close_all, range(2), on_error="keep")
    assert job.wait(LIMIT_SECONDS)
    assert all(isinstance(failure.error, WorkerCrashedError) for failure in job.failures)


def test_an_iterable_that_fails_late_keeps_what_was_done(pool: nbdist.Pool) -> None:
    def items() -> Iterator[int]:
        yield from range(100)
        raise OSError("the disk is gone")

    job = pool.map(abs, items())
    with pytest.raises(OSError, match="the disk is gone"):
        job.result(LIMIT_SECONDS)
    assert job.values == list(range(len(job.values)))


def test_a_module_that_is_nowhere(pool: nbdist.Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "nowhere_else.py").write_text("def f(x): return x")
    monkeypatch.syspath_prepend(str(folder))

    def work(x: int) -> int:
        import nowhere_else

        return nowhere_else.f(x)  # type: ignore[no-any-return]

    job = pool.map(work, range(3))
    rows = []
    for _ in range(int(LIMIT_SECONDS / 0.05)):
        assert not job.wait(0.05)
        rows = [row for row in job.progress.machines if row.state == "refused"]
        if rows:
            break
    assert_says("no module named 'nowhere_else'.*pip install nowhere_else", rows[0].reason)
    job.cancel()
    with pytest.raises(JobError):
        job.result(LIMIT_SECONDS)
