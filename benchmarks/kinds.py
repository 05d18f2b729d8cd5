"""Jobs of every kind with known answers, which are compared item by item: for the soak test and the tests of chaos."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

import nbdist

ITEMS = 100_000
MOST_STEPS = 4_000
"""An item costs up to some hundredths of a millisecond."""
ANSWER = [(x, (x % MOST_STEPS) * (x % MOST_STEPS - 1) // 2) for x in range(ITEMS)]


def _work() -> Callable[[int], tuple[int, int]]:
    """A function that travels by value."""
    steps = MOST_STEPS

    def work(x: int) -> tuple[int, int]:
        return x, sum(range(x % steps))

    return work


def many_numbers(pool: nbdist.Pool, limit_seconds: float) -> None:
    """Items that travel as numbers."""
    assert list(pool.map(_work(), range(ITEMS)).result(limit_seconds)) == ANSWER


def many_streamed(pool: nbdist.Pool, limit_seconds: float) -> None:
    """Values that are taken as they come."""
    assert list(pool.map(_work(), range(ITEMS))) == ANSWER


def a_generator(pool: nbdist.Pool, limit_seconds: float) -> None:
    """Items that travel in blocks, and whose number is not known."""
    assert list(pool.map(_work(), (x for x in range(ITEMS))).result(limit_seconds)) == ANSWER


def a_fold(pool: nbdist.Pool, limit_seconds: float) -> None:
    """Values that never travel one by one."""
    steps = MOST_STEPS

    def work(x: int) -> int:
        return sum(range(x % steps))

    assert pool.map(work, range(ITEMS), reduce=sum).result(limit_seconds) == sum(value for _, value in ANSWER)


def large_items(pool: nbdist.Pool, limit_seconds: float) -> None:
    """Items whose bytes travel beside the blocks."""
    count, length = 40, 150_000

    def total(array: Any) -> float:
        import time

        time.sleep(0.02)
        return float(array.sum())

    arrays = (np.full(length, float(i)) for i in range(count))
    assert list(pool.map(total, arrays).result(limit_seconds)) == [float(length * i) for i in range(count)]


def large_results(pool: nbdist.Pool, limit_seconds: float) -> None:
    """Results that travel as blobs."""
    count, length = 40, 150_000

    def make(i: int) -> Any:
        import time

        time.sleep(0.02)
        return np.full(length, i)

    values = pool.map(make, range(count)).result(limit_seconds)
    assert len(values) == count
    assert all((value == i).all() and len(value) == length for i, value in enumerate(values))


def a_captured_array(pool: nbdist.Pool, limit_seconds: float) -> None:
    """A job that waits for a blob."""
    array = np.arange(300_000) + random.randrange(1000)

    def pick(i: int) -> int:
        return int(array[i * 10])

    assert list(pool.map(pick, range(20_000)).result(limit_seconds)) == [int(array[i * 10]) for i in range(20_000)]


def calls(pool: nbdist.Pool, limit_seconds: float) -> None:
    """Many small calls."""

    def square(x: int) -> int:
        import time

        time.sleep(0.002)
        return x * x

    futures = [pool.submit(square, x) for x in range(500)]
    assert [future.result(limit_seconds) for future in futures] == [x * x for x in range(500)]


def failures_kept(pool: nbdist.Pool, limit_seconds: float) -> None:
    """Items that raise keep their places."""

    def work(x: int) -> int:
        if x % 7 == 0:
            raise ValueError(x)
        return sum(range(x % 2_000)) * 0 + x

    values = pool.map(work, range(20_000), on_error="keep").result(limit_seconds)
    assert [None if isinstance(v, nbdist.ItemFailure) else v for v in values] == [
        None if x % 7 == 0 else x for x in range(20_000)
    ]


ALL: tuple[Callable[[nbdist.Pool, float], None], ...] = (
    many_numbers,
    many_streamed,
    a_generator,
    a_fold,
    large_items,
    large_results,
    a_captured_array,
    calls,
    failures_kept,
)
WEIGHTS = (4, 2, 3, 2, 2, 2, 1, 1, 1)
