"""Items without end, results that nobody takes: the memory of every process stays bounded."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

import nbdist

pytestmark = [pytest.mark.real, pytest.mark.slow]
LIMIT_SECONDS = 60.0
ITEMS = 10_000_000
MAX_GROWTH_BYTES = 150 * 1024 * 1024
"""Of any process. Ten million integers in a list need 360 MB, and their blocks about 30 MB more."""
WATCH_SECONDS = 0.05


class Watch:
    """The most memory that each process of a pool has held, on top of what it held at first."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        self.growth: dict[str, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._measure()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self._measure()

    def _look(self) -> None:
        while not self._over.wait(WATCH_SECONDS):
            self._measure()

    def _measure(self) -> None:
        me = psutil.Process()
        for process in (me, *me.children(recursive=True)):
            try:
                used = process.memory_info().rss
                words = process.cmdline()
            except psutil.Error:
                continue
            role = "notebook" if process == me else next((w for w in ("hub", "worker") if w in words), "slot")
            grown = used - self._first.setdefault(process.pid, used)
            self.growth[role] = max(self.growth.get(role, 0), grown)


@pytest.fixture
def pool() -> Iterator[nbdist.Pool]:
    with nbdist.connect(workers=2) as pool:
        pool.wait(slots=2, timeout=LIMIT_SECONDS)
        pool.map(abs, range(1000)).result(LIMIT_SECONDS)  # everything is imported
        yield pool


def assert_bounded(watch: Watch, bound_bytes: int = MAX_GROWTH_BYTES) -> None:
    assert {"notebook", "hub", "worker"} <= watch.growth.keys()
    assert max(watch.growth.values()) < bound_bytes, watch.growth


def test_ten_million_items_of_a_generator_are_folded(pool: nbdist.Pool) -> None:
    with Watch() as watch:
        total = pool.map(lambda x: 2 * x, (i for i in range(ITEMS)), reduce=sum).result(LIMIT_SECONDS)
    assert total == ITEMS * (ITEMS - 1)
    assert_bounded(watch)


def test_an_endless_generator_is_searched(pool: nbdist.Pool) -> None:
    taken = itertools.count()
    with Watch() as watch:
        job = pool.map(lambda x: x, taken, stop_when=lambda v: v == 2_000_000)
        assert job.result(LIMIT_SECONDS) == [2_000_000]
    assert job.stopped_by is not None
    assert tuple(job.stopped_by) == (2_000_000, 2_000_000, 2_000_000)
    assert_bounded(watch)
    assert next(taken) < 12_000_000  # it was not run far ahead of the pool


def test_a_range_needs_no_memory_at_all(pool: nbdist.Pool) -> None:
    with Watch() as watch:
        assert pool.map(lambda x: x & 1, range(20_000_000), reduce=sum).result(LIMIT_SECONDS) == 10_000_000
    assert_bounded(watch, 60 * 1024 * 1024)


def test_results_that_nobody_takes_wait_on_disk_and_others_go_on(pool: nbdist.Pool) -> None:
    size, count = 100_000, 4_000  # 400 MB of results, each of which rides in a frame
    with Watch() as watch:
        lazy = pool.map(lambda x: bytes([x % 256]) * size, range(count))
        values = iter(lazy)
        assert next(values) == bytes(size)
        for _ in range(5):  # another job of the same notebook is not held up
            assert pool.map(abs, range(1_000)).result(LIMIT_SECONDS) == list(range(1_000))
        wait_for_all(pool, lazy)
        held = dict(watch.growth)
    assert held["hub"] < MAX_GROWTH_BYTES, held
    assert held["worker"] < MAX_GROWTH_BYTES, held
    assert held["notebook"] < MAX_GROWTH_BYTES, held
    for index, value in enumerate(values, 1):
        assert value[0] == index % 256
        assert len(value) == size
    assert index == count - 1


def wait_for_all(pool: nbdist.Pool, job: Any) -> None:
    """Returns once the hub has all results of the job; the job itself is not touched, so nothing of it is taken."""
    while True:
        row = next(row for row in pool.describe()["jobs"] if row["id"] == job.id)
        if row["state"] == "done":
            return
        pool.run(int)
