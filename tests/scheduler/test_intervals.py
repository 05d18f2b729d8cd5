"""Intervals behave like sets of integers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.scheduler.intervals import Intervals

RANGES = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda pair: (min(pair), max(pair)))
STEPS = st.lists(st.tuples(st.sampled_from(["add", "remove"]), RANGES), max_size=40)


def build(steps: list[tuple[str, tuple[int, int]]]) -> tuple[Intervals, set[int]]:
    intervals, truth = Intervals(), set()
    for action, (start, stop) in steps:
        getattr(intervals, action)(start, stop)
        (truth.update if action == "add" else truth.difference_update)(range(start, stop))
    return intervals, truth


@given(STEPS, RANGES)
def test_they_agree_with_a_set(steps: list[tuple[str, tuple[int, int]]], probe: tuple[int, int]) -> None:
    intervals, truth = build(steps)
    start, stop = probe
    inside = set(range(start, stop))
    assert {i for a, b in intervals for i in range(a, b)} == truth
    assert intervals.count == len(truth)
    assert bool(intervals) == bool(truth)
    assert intervals.overlaps(start, stop) == bool(inside & truth)
    assert intervals.covers(start, stop) == (inside <= truth)
    assert [i for a, b in intervals.gaps(start, stop) for i in range(a, b)] == sorted(inside - truth)
    assert all((i in intervals) == (i in truth) for i in range(41))


@given(STEPS)
def test_they_are_sorted_disjoint_and_as_few_as_possible(steps: list[tuple[str, tuple[int, int]]]) -> None:
    intervals, _ = build(steps)
    runs = list(intervals)
    assert all(a < b for a, b in runs)
    assert all(b < c for (_, b), (c, _) in itertools.pairwise(runs))
    assert intervals.runs == len(runs)
    assert intervals == Intervals(runs)
    if runs:
        assert intervals.first() == runs[0]


def test_an_empty_set_has_no_first() -> None:
    with pytest.raises(IndexError):
        Intervals().first()


def test_clear() -> None:
    intervals = Intervals([(1, 5), (7, 9)])
    intervals.clear()
    assert not intervals
    assert intervals.count == 0
