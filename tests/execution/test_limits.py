"""Time limits: which item an interrupt strikes, and what becomes of it."""

from __future__ import annotations

import gc
import itertools
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.errors import ItemTimeoutError
from nbdist.execution.limits import NANOSECONDS, Overtime, Watch
from nbdist.execution.run import Run
from nbdist.execution.runs import Freely, execute
from nbdist.execution.task import Task
from nbdist.wire.messages import JobOptions

LIMIT = 1.0


class Clock:
    """A clock that stands still unless it is told; `at` calls somebody back at one of its readings."""

    def __init__(self) -> None:
        self.now_ns = 5 * NANOSECONDS
        self.reads = 0
        self.at: dict[int, Any] = {}

    def __call__(self) -> int:
        self.reads += 1
        self.at.pop(self.reads, lambda: None)()
        return self.now_ns

    def pass_time(self, seconds: float) -> None:
        self.now_ns += int(seconds * NANOSECONDS)


def run(function: Any, count: int, watch: Watch, **options: Any) -> list[Run]:
    rules = JobOptions(on_error="keep", **options)
    return list(execute(Task(function), rules, range, 0, count, Freely(), lambda: 0.0, watch=watch))


def failed(runs: Iterable[Run]) -> dict[int, BaseException]:
    return {index: error for one in runs for index, error in one.failures}


def values(runs: Iterable[Run]) -> list[Any]:
    return [value for one in runs for value in one.values]


def test_a_strike_fails_the_item_that_is_over_its_time_and_no_other() -> None:
    clock = Clock()
    watch = Watch(LIMIT, clock)

    def function(item: int) -> int:
        watch.strike()  # meant for the one before
        clock.pass_time(LIMIT if item == 3 else LIMIT * 0.9)
        watch.strike()
        return item

    runs = run(function, 6, watch)
    assert list(failed(runs)) == [3]
    assert isinstance(failed(runs)[3], ItemTimeoutError)
    assert values(runs) == [0, 1, 2, 4, 5]


def test_a_strike_between_two_items_does_nothing() -> None:
    clock = Clock()
    watch = Watch(LIMIT, clock)

    def items(start: int, stop: int) -> Iterator[int]:
        for item in range(start, stop):
            clock.pass_time(10 * LIMIT)
            watch.strike()
            yield item

    runs = list(execute(Task(abs), JobOptions(), items, 0, 20, Freely(), lambda: 0.0, watch=watch))
    assert values(runs) == list(range(20))
    watch.strike()


def test_an_item_is_struck_once() -> None:
    clock = Clock()
    watch = Watch(LIMIT, clock)
    caught = []

    def function(item: int) -> None:
        clock.pass_time(2 * LIMIT)
        for _ in range(3):
            assert watch.left_seconds() == (None if caught else 0)
            try:
                watch.strike()
            except Overtime as error:
                caught.append(error)

    assert list(failed(run(function, 1, watch))) == [0]
    assert len(caught) == 1


def test_an_item_that_nobody_interrupted_fails_too() -> None:
    clock = Clock()
    runs = run(lambda item: clock.pass_time(LIMIT * item), 2, Watch(LIMIT, clock))
    assert str(failed(runs)[1]) == "took longer than its time limit of 1 s"
    assert list(failed(runs)) == [1]


@given(at=st.integers(1, 40), late=st.booleans())
def test_wherever_a_strike_comes_the_next_item_begins_anew(at: int, late: bool) -> None:
    """Strikes at the clock's readings: inside `begin` and `end` too, where an item is just beginning or over."""
    clock = Clock()
    began = [0]
    watch = Watch(LIMIT, clock, began)
    struck: list[int] = []
    current: list[int] = []

    def strike() -> None:
        if late:
            clock.pass_time(2 * LIMIT)
        try:
            watch.strike()
        except Overtime:
            struck.append(current[-1])
            raise

    clock.at[at] = strike

    def function(item: int) -> int:
        current.append(item)
        return item

    runs = run(function, 15, watch)
    assert sorted([*values(runs), *failed(runs)]) == list(range(15))
    assert set(failed(runs)) >= set(struck)
    assert len(failed(runs)) <= 1
    assert began == [0]
    assert watch.left_seconds() is None


def test_another_interrupt_passes_through_and_leaves_no_item_on_the_watch() -> None:
    clock = Clock()
    began = [0]

    def function(item: int) -> None:
        clock.pass_time(2 * LIMIT)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(function, 1, Watch(LIMIT, clock, began))
    assert began == [0]


def test_what_an_item_raises_in_time_is_its_own() -> None:
    runs = run(lambda item: 1 / item, 1, Watch(LIMIT, Clock()))
    assert isinstance(failed(runs)[0], ZeroDivisionError)


def test_the_timer_is_set_for_each_item_and_stopped_behind_it() -> None:
    told: list[float] = []
    run(lambda item: told.append(-1.0), 2, Watch(LIMIT, Clock(), set_timer=told.append))
    assert told == [LIMIT, -1.0, 0.0] * 2


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this operating system sends no signals to threads")
def test_stress_no_interrupt_hits_an_item_that_is_within_its_time() -> None:
    """10,000 items of about their limit, under a hail of signals: each that was struck had really used its time."""
    limit_seconds, main, is_over = 0.0002, threading.main_thread().ident or 0, threading.Event()
    watch = Watch(limit_seconds, time.monotonic_ns)
    previous = signal.signal(signal.SIGUSR1, lambda number, frame: watch.strike())
    begun_ns = 0
    wrong: list[int] = []
    struck = 0

    def items(start: int, stop: int) -> Iterator[int]:
        nonlocal begun_ns
        for item in range(start, stop):
            begun_ns = time.monotonic_ns()  # before the watch begins
            yield item

    def function(item: int) -> int:
        nonlocal struck
        try:
            until = time.monotonic_ns() + item % 7 * 50_000
            while time.monotonic_ns() < until:
                pass
        except Overtime:
            struck += 1
            if time.monotonic_ns() - begun_ns < limit_seconds * NANOSECONDS:
                wrong.append(item)
            raise
        return item

    def hail() -> None:
        while not is_over.wait(0.00005):
            signal.pthread_kill(main, signal.SIGUSR1)

    thread = threading.Thread(target=hail)
    thread.start()
    gc.disable()  # Python drops what is raised in a collector's callbacks, and the test's own tools have some
    try:
        rules = JobOptions(on_error="keep")
        runs = list(execute(Task(function), rules, items, 0, 10_000, Freely(), time.perf_counter, watch=watch))
    finally:
        gc.enable()
        is_over.set()
        thread.join()
        signal.signal(signal.SIGUSR1, previous)
    assert not wrong
    assert struck
    assert sorted(itertools.chain(values(runs), failed(runs))) == list(range(10_000))
    assert all(type(error) is ItemTimeoutError for error in failed(runs).values())
