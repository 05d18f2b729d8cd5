"""What a job means on engines with processes of their own."""

from __future__ import annotations

import _thread
import itertools
import os
import queue
import threading
import time
from collections.abc import Iterator

import pytest

import nbdist
from nbdist.errors import JobCancelledError, PackingError, WorkerCrashedError

LIMIT_SECONDS = 60


def test_a_generator_that_needs_its_results(parallel_pool: nbdist.Pool) -> None:
    """Items are not held back for full blocks."""
    asked: queue.Queue[int | None] = queue.Queue()
    asked.put(1)
    found = []
    for value in parallel_pool.map(lambda x: x * 2, iter(asked.get, None)):
        found.append(value)
        asked.put(value if value < 100 else None)
    assert found == [2, 4, 8, 16, 32, 64, 128]


def test_a_captured_name_that_cannot_travel_is_named(parallel_pool: nbdist.Pool) -> None:
    guard = threading.Lock()
    with pytest.raises(PackingError, match=r"'guard'.*lock"):
        parallel_pool.map(lambda x: guard, range(3))


def test_an_item_that_cannot_travel_is_named(parallel_pool: nbdist.Pool) -> None:
    with pytest.raises(PackingError, match=r"item 2 .*lock"):
        parallel_pool.map(lambda x: x, [1, 2, threading.Lock(), 4]).result(LIMIT_SECONDS)


def test_items_too_large_for_a_frame_travel_too(parallel_pool: nbdist.Pool) -> None:
    values = [b"", bytes(2_000_000), b"x", bytes(300_000), bytes(1_000_000)]
    assert parallel_pool.map(len, iter(values)).result(LIMIT_SECONDS) == list(map(len, values))


def test_items_over_the_bound_are_named(parallel_pool: nbdist.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbdist.client.feed.MAX_ITEM_BYTES", 1_500_000)
    with pytest.raises(PackingError, match=r"item 1 has 2\.0 MB packed, more than 1\.5 MB"):
        parallel_pool.map(len, iter([b"", bytes(2_000_000)])).result(LIMIT_SECONDS)


def test_an_item_that_ends_its_process_is_named(parallel_pool: nbdist.Pool) -> None:
    def leave(x: int) -> int:
        if x == 5:
            os._exit(3)
        return x

    job = parallel_pool.map(leave, range(10), on_error="keep")
    values = job.result(LIMIT_SECONDS)
    assert [value for value in values if isinstance(value, int)] == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert isinstance(values[5].error, WorkerCrashedError)
    assert "item 5 = 5" in str(values[5].error)


def test_an_exception_from_another_process_has_the_lines_of_its_code(parallel_pool: nbdist.Pool) -> None:
    source = "def f(x):\n    return 1 // x\n"
    namespace: dict[str, object] = {"__name__": "__main__"}
    exec(compile(source, "<cell 7>", "exec"), namespace)
    import linecache

    linecache.cache["<cell 7>"] = (len(source), None, source.splitlines(keepends=True), "<cell 7>")
    with pytest.raises(ZeroDivisionError) as caught:
        parallel_pool.map(namespace["f"], [0]).result(LIMIT_SECONDS)  # type: ignore[arg-type]
    assert "return 1 // x" in str(caught.value.__cause__)


def test_what_items_write_comes_back(parallel_pool: nbdist.Pool) -> None:
    job = parallel_pool.map(lambda x: print("hello", x), range(3))
    job.result(LIMIT_SECONDS)
    texts = job.take_output()
    assert sorted((text.item, text.text) for text in texts) == [(i, f"hello {i}\n") for i in range(3)]
    assert job.take_output() == []


def test_an_interrupt_stops_the_pool(parallel_pool: nbdist.Pool) -> None:
    waiting = threading.Event()

    def items() -> Iterator[int]:
        yield from range(1_000)
        waiting.wait(LIMIT_SECONDS)
        _thread.interrupt_main()
        yield from itertools.count(1_000)

    job = parallel_pool.map(lambda x: x, items())
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - it may come as soon as the event is set
        waiting.set()
        job.result(LIMIT_SECONDS)
    assert job.wait(LIMIT_SECONDS)
    assert job.outcome == "cancelled"
    assert job.values == sorted(set(job.values))  # what was finished is kept, in order, over the gaps
    assert parallel_pool.map(str, range(3)).result(LIMIT_SECONDS) == ["0", "1", "2"]


def test_a_pool_that_is_closed_ends_its_jobs() -> None:
    pool = nbdist.connect(workers=1)
    job = pool.map(lambda x: x, itertools.count())
    next(iter(job))  # there is one slot, and the call may get it
    future = pool.submit(time.sleep, 600)  # ended by close()
    pool.close()
    with pytest.raises(JobCancelledError):
        job.result(LIMIT_SECONDS)
    with pytest.raises(JobCancelledError):
        future.result(LIMIT_SECONDS)


def test_changing_a_captured_array_after_the_call_does_not_change_the_job() -> None:
    numpy = pytest.importorskip("numpy")
    with nbdist.connect(workers=1) as pool:
        array = numpy.ones(1_000_000)
        job = pool.map(lambda i: float(array[i : i + 10].sum()), range(0, 100_000, 1_000))
        array[:] = 0.0
        assert set(job.result(timeout=60)) == {10.0}
        assert set(pool.map(lambda i: float(array[i]), range(3)).result(timeout=60)) == {0.0}
