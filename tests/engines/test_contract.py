"""What a job means, on every engine. Nothing here knows which one it talks to."""

from __future__ import annotations

import asyncio
import functools
import itertools
import operator
import pickle
import random
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import nbdist
from nbdist.errors import (
    ItemError,
    ItemExitError,
    ItemTimeoutError,
    JobCancelledError,
    NbdistError,
    PackingError,
    RemoteTraceback,
    ResultError,
)
from nbdist.execution.task import SKIP, StopHere, Task

LIMIT_SECONDS = 60


class Odd(Exception):
    """An exception whose arguments are not those of its `__init__`."""

    def __init__(self, number: int, *, where: str) -> None:
        super().__init__(f"{number} is odd")
        self.number, self.where = number, where


@dataclass
class Point:
    x: int
    y: int


# Functions of a test module are pickled by reference, and slots do not have the module: by value, as in a notebook.
@pytest.fixture(scope="module", autouse=True)
def _by_value() -> Any:
    import sys

    import cloudpickle

    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


def square(x: int) -> int:
    return x * x


def fail_at_seven(x: int) -> int:
    if x == 7:
        raise ValueError("seven")
    return x


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 1_000, 50_000])
def test_values_come_in_order(pool: nbdist.Pool, count: int) -> None:
    assert pool.map(square, range(count)).result(LIMIT_SECONDS) == [i * i for i in range(count)]


@pytest.mark.parametrize("items", [range(10, 0, -3), [3, 1, 2], ("a", "b"), "text", {"k": 1}, {5}, np.arange(4), b"xy"])
def test_any_iterable(pool: nbdist.Pool, items: Any) -> None:
    assert pool.map(lambda x: (x, x), items).result(LIMIT_SECONDS) == [(x, x) for x in items]


def test_rows_of_an_array(pool: nbdist.Pool) -> None:
    rows = np.arange(12.0).reshape(4, 3)
    assert pool.map(lambda row: row.sum(), rows).result(LIMIT_SECONDS) == [3.0, 12.0, 21.0, 30.0]


def test_a_generator_of_unknown_length(pool: nbdist.Pool) -> None:
    job = pool.map(square, (i for i in range(5_000)))
    assert job.total is None
    assert job.result(LIMIT_SECONDS) == [i * i for i in range(5_000)]
    assert job.total == 5_000


def test_several_iterables_and_starmap(pool: nbdist.Pool) -> None:
    assert pool.map(pow, [2, 3, 4], itertools.count(1)).result(LIMIT_SECONDS) == [2, 9, 64]
    assert pool.map(operator.add, [1, 2], [10, 20, 30]).result(LIMIT_SECONDS) == [11, 22]
    assert pool.starmap(pow, [(2, 5), (3, 2)]).result(LIMIT_SECONDS) == [32, 9]


def test_product_of_ranges(pool: nbdist.Pool) -> None:
    ranges = [range(3), range(10, 0, -5), range(2)]
    job = pool.run_task(Task(lambda item: item), ranges=ranges)
    assert job.result(LIMIT_SECONDS) == list(itertools.product(*ranges))
    assert job.item(5) == list(itertools.product(*ranges))[5]


def test_numbers_too_large_for_the_wire(pool: nbdist.Pool) -> None:
    assert pool.map(lambda x: x + 1, range(2**70, 2**70 + 3)).result(LIMIT_SECONDS) == [2**70 + i for i in (1, 2, 3)]


def test_as_completed_gives_each_item_once(pool: nbdist.Pool) -> None:
    assert sorted(pool.map(square, range(500)).as_completed()) == [(i, i * i) for i in range(500)]


def test_iteration_gives_values_while_others_run(pool: nbdist.Pool) -> None:
    assert list(itertools.islice(pool.map(square, range(100_000)), 5)) == [0, 1, 4, 9, 16]


def test_big_values_are_writable_arrays(pool: nbdist.Pool) -> None:
    values = pool.map(lambda n: np.full(n, 7.0), [10, 50_000, 400_000]).result(LIMIT_SECONDS)
    for value, size in zip(values, [10, 50_000, 400_000], strict=True):
        assert value.sum() == 7.0 * size
        value[0] = 1.0


def test_large_items_of_a_sequence(pool: nbdist.Pool) -> None:
    arrays = [np.full(size, 2.0) for size in (3, 200_000, 300_000)]
    job = pool.map(lambda array: float(array.sum()), arrays)
    assert job.result(LIMIT_SECONDS) == [6.0, 400_000.0, 600_000.0]
    assert job.item(1) is arrays[1]
    rows = np.ones((3, 100_000))
    assert pool.map(lambda row, k: row.sum() * k, rows, [1, 2, 3]).result(LIMIT_SECONDS) == [1e5, 2e5, 3e5]
    assert pool.starmap(lambda a, b: len(a) + b, [(bytes(300_000), 1), (b"", 2)]).result(LIMIT_SECONDS) == [300_001, 2]


def test_many_captured_arrays(pool: nbdist.Pool) -> None:
    arrays = [np.full(33_000, float(i)) for i in range(300)]
    assert pool.map(lambda i: float(arrays[i][5]), [0, 7, 299]).result(LIMIT_SECONDS) == [0.0, 7.0, 299.0]


def test_captured_values_travel(pool: nbdist.Pool) -> None:
    table, offset = np.arange(200_000.0), [5]
    assert pool.map(lambda i: float(table[i]) + offset[0], range(0, 200_000, 50_000)).result(LIMIT_SECONDS) == [
        5.0,
        50_005.0,
        100_005.0,
        150_005.0,
    ]


def test_instances_of_local_classes_come_back_as_such(pool: nbdist.Pool) -> None:
    values = pool.map(lambda x: Point(x, -x), range(3)).result(LIMIT_SECONDS)
    assert values == [Point(0, 0), Point(1, -1), Point(2, -2)]
    assert type(values[0]) is Point
    assert pool.map(lambda point: point.x, values).result(LIMIT_SECONDS) == [0, 1, 2]


# --- rules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [
        (sum, sum(range(10_000))),
        (min, 0),
        (max, 9_999),
        (any, True),
        (all, False),
        (operator.add, sum(range(10_000))),
        (lambda a, b: a if a > b else b, 9_999),
    ],
)
def test_reduce(pool: nbdist.Pool, reduce: Any, expected: Any) -> None:
    found = pool.map(lambda x: x, range(10_000), reduce=reduce).result(LIMIT_SECONDS)
    assert found == expected
    assert type(found) is type(expected)


def test_reduce_keeps_the_order_of_items(pool: nbdist.Pool) -> None:
    words = [str(i) for i in range(3_000)]
    assert pool.map(str, words, reduce=operator.add).result(LIMIT_SECONDS) == "".join(words)


def test_reduce_of_floats_is_repeatable_with_a_task_size(pool: nbdist.Pool) -> None:
    found = {pool.map(lambda i: 0.1 * i, range(5_000), reduce=operator.add, task_size=64).result() for _ in range(3)}
    slices = [
        functools.reduce(operator.add, [0.1 * i for i in range(a, min(a + 64, 5000))]) for a in range(0, 5000, 64)
    ]
    assert found == {functools.reduce(operator.add, slices)}


def test_reduce_of_nothing(pool: nbdist.Pool) -> None:
    assert pool.map(square, [], reduce=sum).result(LIMIT_SECONDS) == 0
    assert pool.map(square, [], reduce=any).result(LIMIT_SECONDS) is False
    assert pool.map(square, [], reduce=all).result(LIMIT_SECONDS) is True
    with pytest.raises(ValueError, match="max"):
        pool.map(square, [], reduce=max).result(LIMIT_SECONDS)
    with pytest.raises(ValueError, match="no values"):
        pool.map(square, range(9), reduce=operator.add, keep_if=lambda v: v < 0).result(LIMIT_SECONDS)


def test_keep_if(pool: nbdist.Pool) -> None:
    job = pool.map(square, range(1_000), keep_if=lambda v: v % 3 == 0)
    kept = [i for i in range(1_000) if i % 3 == 0]
    assert job.result(LIMIT_SECONDS) == [i * i for i in kept]
    assert list(job.result().indices()) == kept
    assert pool.map(square, range(100), keep_if=lambda v: v % 2, reduce=sum).result(LIMIT_SECONDS) == sum(
        i * i for i in range(1, 100, 2)
    )


def test_stop_when(pool: nbdist.Pool) -> None:
    job = pool.map(square, range(10**9), stop_when=lambda v: v == 1_600)
    assert job.result(LIMIT_SECONDS) == [1_600]
    assert job.outcome == "stopped"
    assert tuple(job.stopped_by or ()) == (40, 40, 1_600)


def test_stop_when_nothing_meets_it(pool: nbdist.Pool) -> None:
    job = pool.map(square, range(1_000), stop_when=lambda v: v < 0)
    assert job.result(LIMIT_SECONDS) == []
    assert job.stopped_by is None
    assert job.outcome == "done"


def test_functions_that_skip_and_stop_by_themselves(pool: nbdist.Pool) -> None:
    def body(x: int) -> Any:
        return SKIP if x % 2 else StopHere(x) if x == 500 else x

    values = pool.run_task(Task(body), ranges=[range(100)], filters=True).result(LIMIT_SECONDS)
    assert values == list(range(0, 100, 2))
    job = pool.run_task(Task(body), ranges=[range(10_000)], filters=True, stop_when=True)
    assert job.result(LIMIT_SECONDS) == [500]


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_failure_is_the_original_exception(pool: nbdist.Pool) -> None:
    job = pool.map(fail_at_seven, range(20))
    with pytest.raises(ValueError, match="seven") as caught:
        job.result(LIMIT_SECONDS)
    assert job.outcome == "failed"
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert 'raise ValueError("seven")' in cause.text
    assert "nbdist/execution" not in cause.text
    assert any("item 7" in note for note in caught.value.__notes__)
    assert job.failures[0].index == 7
    assert job.failures[0].item == 7


def test_a_failure_in_an_endless_job_ends_it(pool: nbdist.Pool) -> None:
    with pytest.raises(ValueError, match="seven"):
        pool.map(fail_at_seven, itertools.count()).result(LIMIT_SECONDS)


def test_exceptions_keep_their_class_and_attributes(pool: nbdist.Pool) -> None:
    def fail(x: int) -> None:
        raise Odd(x, where="here")

    with pytest.raises(Odd, match="5 is odd") as caught:
        pool.map(fail, [5]).result(LIMIT_SECONDS)
    assert (caught.value.number, caught.value.where) == (5, "here")


def test_exceptions_that_cannot_travel_are_described(pool: nbdist.Pool) -> None:
    def fail(x: int) -> None:
        error = RuntimeError("holds a lock")
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error

    with pytest.raises(ItemError, match="RuntimeError: holds a lock"):
        pool.map(fail, [1]).result(LIMIT_SECONDS)


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, BaseException, asyncio.CancelledError])
def test_what_would_end_the_process_ends_its_item(pool: nbdist.Pool, kind: type[BaseException]) -> None:
    def fail(x: int) -> None:
        raise kind("no")

    job = pool.map(fail, range(3), on_error="keep")
    errors = [failure.error for failure in job.result(LIMIT_SECONDS)]
    assert [type(error) for error in errors] == [ItemExitError] * 3
    assert [type(error.raised) for error in errors if isinstance(error, ItemExitError)] == [kind] * 3
    with pytest.raises(
        ItemExitError, match=rf"item 0 = 5 on .* raised .*{kind.__name__}: no. That ends the item alone"
    ):
        pool.map(fail, [5]).result(LIMIT_SECONDS)
    with pytest.raises(ItemExitError, match=rf"a call of fail on .* raised .*{kind.__name__}: no"):
        pool.submit(fail, 5).result(LIMIT_SECONDS)


def test_a_keyboard_interrupt_of_an_items_own_ends_its_item(parallel_pool: nbdist.Pool) -> None:
    def fail(x: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(ItemExitError, match=r"item 0 = 5 on .* raised KeyboardInterrupt\. "):
        parallel_pool.map(fail, [5]).result(LIMIT_SECONDS)


def test_a_stop_iteration_is_an_items_failure(pool: nbdist.Pool) -> None:
    def fail(x: int) -> None:
        raise StopIteration("no")

    job = pool.map(fail, range(3), on_error="keep")
    assert [type(failure.error) for failure in job.result(LIMIT_SECONDS)] == [StopIteration] * 3


def test_failures_are_kept_in_their_places(pool: nbdist.Pool) -> None:
    job = pool.map(fail_at_seven, range(20), on_error="keep")
    values = job.result(LIMIT_SECONDS)
    assert [value for value in values if not isinstance(value, nbdist.ItemFailure)] == [*range(7), *range(8, 20)]
    assert isinstance(values[7], nbdist.ItemFailure)
    assert values[7].index == 7
    assert str(values[7].error) == "seven"
    assert job.outcome == "done"


def test_retries(pool: nbdist.Pool, tmp_path: Any) -> None:
    def flaky(x: int) -> int:
        tried = tmp_path / str(x)
        tries = int(tried.read_text()) + 1 if tried.exists() else 1
        tried.write_text(str(tries))
        if tries < 3 and x == 2:
            raise OSError("again")
        return tries

    assert pool.map(flaky, range(4), retries=2).result(LIMIT_SECONDS) == [1, 1, 3, 1]
    (tmp_path / "2").unlink()
    with pytest.raises(OSError, match="again"):
        pool.map(flaky, [2], retries=1).result(LIMIT_SECONDS)


def test_a_result_that_cannot_be_packed_names_its_item(pool: nbdist.Pool) -> None:
    with pytest.raises(ResultError, match=r"item 3 .*lock"):
        pool.map(lambda x: threading.Lock() if x == 3 else x, range(6)).result(LIMIT_SECONDS)
    values = pool.map(lambda x: threading.Lock() if x == 3 else x, range(6), on_error="keep").result(LIMIT_SECONDS)
    assert [value for value in values if isinstance(value, int)] == [0, 1, 2, 4, 5]


def test_an_iterable_that_raises_ends_the_job(pool: nbdist.Pool) -> None:
    def items() -> Any:
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        pool.map(square, items()).result(LIMIT_SECONDS)


# --- time limits ------------------------------------------------------------------------------------------------------


def spin_at_seven(x: int) -> int:
    while x == 7:
        pass
    return x


def test_an_item_that_takes_too_long_fails_and_the_next_ones_run(pool: nbdist.Pool) -> None:
    job = pool.map(spin_at_seven, range(20), time_limit=1, on_error="keep")
    values = job.result(LIMIT_SECONDS)
    assert [value for value in values if not isinstance(value, nbdist.ItemFailure)] == [*range(7), *range(8, 20)]
    (failure,) = job.failures
    assert (failure.index, failure.item, type(failure.error)) == (7, 7, ItemTimeoutError)
    said = str(failure.error)
    assert said.startswith("item 7 = 7 took longer than its time limit of 1 s on ")
    assert failure.machine in said
    assert "larger time_limit, or retries=" in said
    assert "while x == 7" in failure.traceback
    assert "Overtime" not in failure.traceback


@pytest.mark.parametrize("seconds", [1_000.0, 0.05])
def test_sleep_is_interrupted_and_ends_the_job(pool: nbdist.Pool, seconds: float) -> None:
    job = pool.map(time.sleep, [seconds], time_limit=0.02)
    with pytest.raises(ItemTimeoutError, match=r"item 0 = .* time limit of 0.02 s"):
        job.result(LIMIT_SECONDS)
    assert job.outcome == "failed"


def test_what_ends_in_time_is_untouched(pool: nbdist.Pool) -> None:
    found = pool.map(square, range(5_000), time_limit=LIMIT_SECONDS).result(LIMIT_SECONDS)
    assert found == [i * i for i in range(5_000)]


@pytest.mark.parametrize("way", ["return", "raise"])
def test_an_interrupt_that_is_caught_is_a_failure_all_the_same(pool: nbdist.Pool, way: str) -> None:
    def stubborn(x: int) -> str:
        try:
            time.sleep(LIMIT_SECONDS)
        except KeyboardInterrupt:
            if way == "raise":
                raise ValueError("cleaning up failed") from None
        return "never mind"

    job = pool.map(stubborn, [1], time_limit=0.4, on_error="keep")
    assert isinstance(job.result(LIMIT_SECONDS)[0].error, ItemTimeoutError)
    assert ("cleaning up failed" in job.failures[0].traceback) == (way == "raise")


def test_an_item_that_took_too_long_is_retried(pool: nbdist.Pool, tmp_path: Any) -> None:
    def slow_at_first(x: int) -> int:
        tried = tmp_path / str(x)
        is_first = not tried.exists()
        tried.touch()
        if is_first and x == 3:
            time.sleep(LIMIT_SECONDS)
        return x

    assert pool.map(slow_at_first, range(6), time_limit=1, retries=1).result(LIMIT_SECONDS) == list(range(6))
    with pytest.raises(ItemTimeoutError):
        pool.map(lambda x: time.sleep(LIMIT_SECONDS), [1], time_limit=0.05, retries=1).result(LIMIT_SECONDS)


def test_a_time_limit_and_the_other_rules(pool: nbdist.Pool) -> None:
    def limited(**rules: Any) -> nbdist.Job:
        return pool.map(spin_at_seven, range(50), time_limit=0.6, on_error="keep", **rules)

    assert limited(reduce=sum).result(LIMIT_SECONDS) == sum(range(50)) - 7
    assert limited(reduce=operator.add, task_size=9).result(LIMIT_SECONDS) == sum(range(50)) - 7
    kept = limited(keep_if=lambda v: v % 2 == 0).result(LIMIT_SECONDS)
    assert [value for value in kept if isinstance(value, int)] == list(range(0, 50, 2))
    assert limited(stop_when=lambda v: v == 40, task_size=50).result(LIMIT_SECONDS) == [40]
    judged = pool.map(square, range(3), keep_if=spin_at_seven, time_limit=LIMIT_SECONDS).result(LIMIT_SECONDS)
    assert judged == [1, 4]
    slow = pool.map(lambda x: 7, [0], keep_if=spin_at_seven, time_limit=0.05, on_error="keep").result(LIMIT_SECONDS)
    assert isinstance(slow[0], nbdist.ItemFailure)


def test_seeded_values_are_the_same_with_a_time_limit(pool: nbdist.Pool) -> None:
    def draw(x: int) -> float:
        if x == 5:
            time.sleep(LIMIT_SECONDS)
        return float(nbdist.rng().random())

    late = pool.map(draw, range(10), seed=3, time_limit=3, on_error="keep").result(LIMIT_SECONDS)
    whole = pool.map(lambda x: float(nbdist.rng().random()), range(10), seed=3).result(LIMIT_SECONDS)
    assert [a for a in late if isinstance(a, float)] == [b for i, b in enumerate(whole) if i != 5]


# --- jobs -------------------------------------------------------------------------------------------------------------


def test_cancel(pool: nbdist.Pool) -> None:
    job = pool.map(lambda x: x, itertools.count())
    assert next(iter(job)) == 0
    job.cancel("enough")
    with pytest.raises(JobCancelledError, match="enough"):
        job.result(LIMIT_SECONDS)
    assert job.outcome == "cancelled"
    assert job.values[:1] == [0]


def test_a_job_can_be_asked_while_it_runs(pool: nbdist.Pool) -> None:
    job = pool.map(square, range(10))
    assert job.wait(LIMIT_SECONDS)
    assert job.progress.done == job.progress.total == 10
    assert job.progress.outcome == "done"
    assert job.stats["items"] == 10
    assert sum(row["items"] for row in job.stats["machines"].values()) == 10
    assert job.result(0) is job.result()


def test_result_has_a_time_limit(pool: nbdist.Pool) -> None:
    job = pool.map(lambda x: time.sleep(0.001), itertools.count())
    with pytest.raises(TimeoutError, match="not done"):
        job.result(0.01)
    job.cancel()
    assert job.wait(LIMIT_SECONDS)


def test_await(pool: nbdist.Pool) -> None:
    async def together() -> list[Any]:
        return await asyncio.gather(pool.map(square, range(3)), pool.map(square, range(4)))  # type: ignore[arg-type]

    async def one() -> Any:
        return await pool.map(square, range(5))

    assert asyncio.run(one()) == [0, 1, 4, 9, 16]


def test_many_jobs_at_once(pool: nbdist.Pool) -> None:
    jobs = [pool.map(square, range(i, i + 20)) for i in range(8)]
    for i, job in enumerate(jobs):
        assert job.result(LIMIT_SECONDS) == [x * x for x in range(i, i + 20)]


def test_one_job_feeds_the_next(pool: nbdist.Pool) -> None:
    first = pool.map(square, range(200))
    assert pool.map(lambda x: x + 1, first).result(LIMIT_SECONDS) == [i * i + 1 for i in range(200)]


# --- calls ------------------------------------------------------------------------------------------------------------


def test_submit(pool: nbdist.Pool) -> None:
    futures = [pool.submit(square, i) for i in range(500)]
    assert [future.result(LIMIT_SECONDS) for future in futures] == [i * i for i in range(500)]


def test_submit_with_keywords_and_large_arguments(pool: nbdist.Pool) -> None:
    assert pool.submit(lambda a, b=1: a - b, 5, b=3).result(LIMIT_SECONDS) == 2
    assert pool.submit(np.sum, np.ones(500_000)).result(LIMIT_SECONDS) == 500_000


def test_submit_raises_what_the_call_raises(pool: nbdist.Pool) -> None:
    good, bad, more = pool.submit(fail_at_seven, 6), pool.submit(fail_at_seven, 7), pool.submit(fail_at_seven, 8)
    assert (good.result(LIMIT_SECONDS), more.result(LIMIT_SECONDS)) == (6, 8)
    with pytest.raises(ValueError, match="seven"):
        bad.result(LIMIT_SECONDS)
    with pytest.raises(PackingError, match="lock"):
        pool.submit(square, threading.Lock()).result(LIMIT_SECONDS)
    assert pool.submit(square, 3).result(LIMIT_SECONDS) == 9


def test_submit_takes_the_function_as_it_is_then(pool: nbdist.Pool) -> None:
    futures = []
    for number in range(5):
        futures.append(pool.submit(lambda x: x, number))
    number = 0

    def add(x: int) -> int:
        return x + number

    for number in range(1, 6):  # noqa: B007 - add() reads it
        futures.append(pool.submit(add, 10))
    assert [future.result(LIMIT_SECONDS) for future in futures] == [0, 1, 2, 3, 4, 11, 12, 13, 14, 15]


def test_run(pool: nbdist.Pool) -> None:
    assert pool.run(pow, 2, 5) == 32
    assert pool.run(pow, 2, exp=5, mod=7) == 4
    assert pool.run(dict, a=1) == {"a": 1}
    assert pool.run(lambda: None) is None
    machines = pool.run(lambda a: a * 2, 21, each="machine")
    assert set(machines) == {worker.name for worker in pool.workers}
    assert set(machines.values()) == {42}
    assert len(pool.run(lambda: 1, each="slot")) == sum(worker.slots for worker in pool.workers)


# --- chance -----------------------------------------------------------------------------------------------------------


def test_seeded_values_do_not_depend_on_the_cut(pool: nbdist.Pool) -> None:
    def draw(i: int) -> tuple[float, float, float]:
        return float(nbdist.rng().random()), random.random(), float(np.random.random())

    found = [pool.map(draw, range(200), seed=7, task_size=size).result(LIMIT_SECONDS) for size in (None, 1, 64)]
    assert found[0] == found[1] == found[2]
    assert len({value for values in found[0] for value in values}) == 600
    assert pool.map(draw, range(200), seed=8).result(LIMIT_SECONDS) != found[0]


def test_the_seed_is_recorded(pool: nbdist.Pool) -> None:
    def draw(i: int) -> float:
        return float(nbdist.rng().random())

    job = pool.map(draw, range(10))
    assert pool.map(draw, range(10), seed=job.seed).result(LIMIT_SECONDS) == job.result(LIMIT_SECONDS)
    assert pool.map(draw, range(10)).seed != job.seed


# --- values and pools -------------------------------------------------------------------------------------------------


def test_values_know_where_they_come_from(pool: nbdist.Pool) -> None:
    values = pool.map(square, [3, 1, 2]).result(LIMIT_SECONDS)
    assert values.dict() == {3: 9, 1: 1, 2: 4}
    assert values.array().tolist() == [9, 1, 4]
    frame = values.frame()
    assert list(frame.columns) == ["index", "item", "value", "seconds", "machine"]
    assert set(frame["machine"]) <= {worker.name for worker in pool.workers}
    assert type(pickle.loads(pickle.dumps(values))) is list


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((square, 5), {}, TypeError, r"no iterable.*range\(5\)"),
        ((square,), {}, TypeError, "needs an iterable"),
        ((3, [1]), {}, TypeError, "cannot be called"),
        ((square, [1]), {"task_size": 0}, ValueError, "task_size"),
        ((square, [1]), {"task_size": 1.5}, TypeError, "task_size"),
        ((square, [1]), {"time_limit": 0}, ValueError, "time_limit"),
        ((square, [1]), {"time_limit": float("nan")}, ValueError, "time_limit"),
        ((square, [1]), {"time_limit": "1"}, TypeError, "time_limit is a number of seconds"),
        ((square, [1]), {"time_limit": True}, TypeError, "time_limit"),
        ((square, [1]), {"retries": -1}, ValueError, "retries"),
        ((square, [1]), {"on_error": "ignore"}, ValueError, "'stop' or 'keep'"),
        ((square, [1]), {"seed": -1}, ValueError, "seed"),
        ((square, [1]), {"reduce": 3}, TypeError, "reduce"),
        ((square, [1]), {"keep_if": 3}, TypeError, "keep_if"),
        ((square, [1]), {"reduce": sum, "stop_when": bool}, ValueError, "exclude each other"),
    ],
)
def test_wrong_arguments(pool: nbdist.Pool, arguments: Any, options: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        pool.map(*arguments, **options)


def test_wait_for_machines(pool: nbdist.Pool) -> None:
    pool.wait(workers=1, timeout=LIMIT_SECONDS)
    with pytest.raises(TimeoutError, match="invite"):
        pool.wait(workers=1_000, timeout=0.01)


def test_a_dropped_job_leaves_nothing(pool: nbdist.Pool) -> None:
    for _ in range(8):
        pool.map(lambda x: bytes(100_000), range(20))
    assert pool.map(square, range(10)).result(LIMIT_SECONDS) == [i * i for i in range(10)]


def test_clear(pool: nbdist.Pool) -> None:
    job = pool.map(lambda x: x, itertools.count())
    pool.clear()
    assert job.wait(LIMIT_SECONDS)
    assert pool.map(square, range(3)).result(LIMIT_SECONDS) == [0, 1, 4]


def test_a_closed_pool_says_so() -> None:
    pool = nbdist.connect("inline")
    pool.close()
    pool.close()
    with pytest.raises(NbdistError, match="closed"):
        pool.map(square, [1])
    with pytest.raises(NbdistError, match="closed"):
        pool.submit(square, 1)


# --- the timeline -----------------------------------------------------------------------------------------------------


def test_the_timeline_has_all_the_work(pool: nbdist.Pool) -> None:
    job = pool.map(fail_at_seven, range(300), on_error="keep", name="a $name$")
    job.result(LIMIT_SECONDS)
    figure = job.timeline()
    (axes,) = figure.axes
    assert axes.get_title().startswith("a \\$name\\$: ")
    assert {text.get_text() for text in axes.get_legend().get_texts()} >= {"failed"}
    (timeline,) = job.inbox.run.timelines(around=False)  # type: ignore[union-attr]
    bars = timeline["bars"]
    assert max(bar[2] for bar in bars) == 300
    assert all(0 <= bar[3] <= bar[4] <= timeline["seconds"] + 0.01 for bar in bars)
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    assert job.timeline("job").axes
    with pytest.raises(NbdistError, match="'outcome' or by 'job', not by 'colour'"):
        job.timeline("colour")  # type: ignore[arg-type]
