"""What an execution yields: order, filters, failures, stops, claims, interrupts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, MutableSequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.execution.run import Run
from nbdist.execution.runs import MAX_RUN_ITEMS, RUN_SECONDS, Freely, execute
from nbdist.execution.task import SKIP, StopHere, Task
from nbdist.wire.messages import JobOptions


def run(task: Task, count: int, items: Any = range, claim: Any = None, clock: Any = None, **options: Any) -> list[Run]:
    ticks = itertools.count()
    return list(
        execute(task, JobOptions(**options), items, 0, count, claim or Freely(), clock or (lambda: next(ticks) * 1e-3))
    )


def by_item(runs: Iterable[Run]) -> dict[int, Any]:
    """Each value under its item; checks that the runs have neither gaps nor overlaps."""
    found: dict[int, Any] = {}
    at = 0
    for one in runs:
        assert one.start == at < one.stop
        at = one.stop
        indices = one.kept if one.kept is not None else range(one.start, one.stop)
        found.update(zip(indices, one.values, strict=True))
    return found


class Costs:
    """A clock by which item i takes `costs[i]` seconds."""

    def __init__(self, costs: list[float]) -> None:
        self.now = 0.0
        self._costs = costs

    def __call__(self) -> float:
        return self.now

    def work(self, item: int) -> int:
        self.now += self._costs[item]
        return item


def test_values_are_in_order_and_complete() -> None:
    assert by_item(run(Task(lambda x: x * x), 1000)) == {i: i * i for i in range(1000)}


def test_starred_items_are_arguments() -> None:
    runs = run(Task(lambda a, b: a - b, star=True), 3, lambda a, b: [(i, 1) for i in range(a, b)])
    assert by_item(runs) == {0: -1, 1: 0, 2: 1}


def test_skipped_items_have_no_value() -> None:
    runs = run(Task(lambda x: SKIP if x % 3 else x), 20, filters=True)
    assert by_item(runs) == {i: i for i in range(0, 20, 3)}


def test_keep_if_comes_before_stop_when() -> None:
    runs = run(
        Task(lambda x: x, keep_if=lambda v: v % 2 == 1, stop_when=lambda v: v in (4, 7)),
        20,
        filters=True,
        stop_when=True,
    )
    assert by_item(runs) == {1: 1, 3: 3, 5: 5, 7: 7}
    assert [one.stopped_at for one in runs][-1] == 7
    assert runs[-1].stop == 8


def test_stop_here_ends_with_its_value() -> None:
    runs = run(Task(lambda x: StopHere("found") if x == 5 else x), 20, stop_when=True)
    assert by_item(runs)[5] == "found"
    assert (runs[-1].stop, runs[-1].stopped_at) == (6, 5)


def test_no_item_behind_the_one_that_stopped_is_run() -> None:
    seen: list[int] = []
    run(Task(lambda x: seen.append(x) or x, stop_when=lambda v: v == 5), 1000, stop_when=True)
    assert seen == list(range(6))


@pytest.mark.parametrize("options", [{"on_error": "stop"}, {"on_error": "keep", "retries": 2}])
def test_a_failed_item_is_a_run_of_its_own_where_it_matters(options: dict[str, Any]) -> None:
    runs = run(Task(lambda x: 1 / (x - 7)), 20, **options)
    failed = [one for one in runs if one.failures]
    assert [(one.start, one.stop, one.values) for one in failed] == [(7, 8, [])]
    assert isinstance(failed[0].failures[0][1], ZeroDivisionError)
    assert sorted(by_item(runs)) == [i for i in range(20) if i != 7]


def test_failures_that_are_kept_ride_in_their_run() -> None:
    runs = run(Task(lambda x: 1 / (x % 5)), 30, on_error="keep")
    assert [index for one in runs for index, _ in one.failures] == [0, 5, 10, 15, 20, 25]
    assert sorted(by_item(runs)) == [i for i in range(30) if i % 5]


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), StopIteration(), KeyboardInterrupt()])
def test_whatever_an_item_raises_is_its_failure(error: BaseException) -> None:
    def function(item: int) -> int:
        raise error

    class Never(BaseException):
        pass

    runs = list(
        execute(
            Task(function),
            JobOptions(on_error="keep"),
            range,
            0,
            3,
            Freely(),
            lambda: 0.0,
            interrupts=Never,
        )
    )
    assert [failure for one in runs for failure in one.failures] == [(0, error), (1, error), (2, error)]


def test_items_that_cannot_be_unpacked_fail() -> None:
    def items(start: int, stop: int) -> Iterable[int]:
        raise ModuleNotFoundError("no such module")

    runs = run(Task(lambda x: x), 3, items, on_error="keep")
    assert [index for one in runs for index, _ in one.failures] == [0, 1, 2]


def test_items_that_end_early_are_named() -> None:
    runs = run(Task(lambda x: x), 3, lambda start, stop: range(start, min(stop, 2)), on_error="keep")
    ((index, error),) = [failure for one in runs for failure in one.failures]
    assert index == 2
    assert "item 2 is missing" in str(error)


def test_an_interrupt_keeps_what_was_done_and_goes_on() -> None:
    def function(item: int) -> int:
        if item == 12:
            raise KeyboardInterrupt
        return item

    done: list[Run] = []
    runs = execute(Task(function), JobOptions(), range, 0, 100, Freely(), lambda: 0.0)
    with pytest.raises(KeyboardInterrupt):
        done.extend(runs)
    assert sorted(by_item(done)) == list(range(12))


def test_a_claim_that_ends_ends_the_slice() -> None:
    class UpTo10:
        def __init__(self) -> None:
            self.position: MutableSequence[int] = [0]

        def take(self, start: int, count: int) -> int:
            return min(start + count, 10)

    assert sorted(by_item(run(Task(lambda x: x), 100, claim=UpTo10()))) == list(range(10))


def test_the_position_is_published_before_the_item_runs() -> None:
    claim = Freely()
    runs = run(Task(lambda x: claim.position[0]), 50, claim=claim)
    assert by_item(runs) == {i: i for i in range(50)}


def test_runs_grow_until_they_take_their_time() -> None:
    clock = Costs([RUN_SECONDS / 100] * 1000)
    sizes = [one.stop - one.start for one in run(Task(clock.work), 1000, clock=clock)]
    assert sizes[:3] == [1, 8, 64]
    assert all(99 <= size <= 101 for size in sizes[3:-1])


def test_long_items_are_runs_of_one() -> None:
    clock = Costs([RUN_SECONDS * 2] * 10)
    runs = run(Task(clock.work), 10, clock=clock)
    assert [one.stop - one.start for one in runs] == [1] * 10
    assert [one.seconds for one in runs] == pytest.approx([RUN_SECONDS * 2] * 10)


def test_runs_are_bounded() -> None:
    runs = run(Task(lambda x: x), 100_000, clock=lambda: 0.0)
    assert max(one.stop - one.start for one in runs) == MAX_RUN_ITEMS


@given(st.lists(st.sampled_from(["value", "skip", "raise"]), max_size=60), st.booleans(), st.data())
def test_every_item_is_accounted_for_once(kinds: list[str], keep: bool, data: st.DataObject) -> None:
    def function(item: int) -> Any:
        if kinds[item] == "raise":
            raise ValueError(item)
        return SKIP if kinds[item] == "skip" else item

    costs = Costs(data.draw(st.lists(st.floats(0, 0.02), min_size=len(kinds), max_size=len(kinds))))
    runs = run(
        Task(lambda x: function(costs.work(x))),
        len(kinds),
        filters=True,
        on_error="keep" if keep else "stop",
        clock=costs,
    )
    assert by_item(runs) == {i: i for i, kind in enumerate(kinds) if kind == "value"}
    assert [i for one in runs for i, _ in one.failures] == [i for i, kind in enumerate(kinds) if kind == "raise"]
    assert sum(one.seconds for one in runs) == pytest.approx(costs.now)


def test_lazy_items_are_read_as_they_are_needed() -> None:
    read: list[int] = []

    def items(start: int, stop: int) -> Iterator[int]:
        for item in range(start, stop):
            read.append(item)
            yield item

    run(Task(lambda x: x, stop_when=lambda v: v == 3), 100, items, stop_when=True)
    assert read == [0, 1, 2, 3]
