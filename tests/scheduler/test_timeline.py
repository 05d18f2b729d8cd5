"""Timelines: nothing overlaps, nothing is lost, and they stay small whatever happens."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.scheduler.timeline import FINEST_SECONDS, MAX_BARS, MAX_SLOTS, Bar, Timeline

OUTCOMES = ["done", "failed", "cancelled", "crashed", "lost"]


def bar(start: int, began: float, seconds: float, outcome: str = "done") -> Bar:
    return Bar(start, start + 1, began, began + seconds, seconds, 1, outcome)  # type: ignore[arg-type]


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.floats(0, 1e-2), st.floats(1e-6, 1e-2), st.sampled_from(OUTCOMES)),
        max_size=300,
    ),
    st.integers(1, 12),
)
def test_bars_follow_each_other_and_count_every_slice(
    slices: list[tuple[int, float, float, str]], repeats: int
) -> None:
    timeline = Timeline()
    clocks = [0.0] * 6
    busy = 0.0
    for number, (slot, pause, seconds, outcome) in enumerate(slices * repeats):
        began = clocks[slot] + pause
        clocks[slot] = began + seconds
        busy += seconds
        timeline.add(("w", slot), bar(number, began, seconds, outcome))
    bars = [each for _, each in timeline.bars()]
    assert len(bars) == timeline.count <= MAX_BARS
    assert sum(each.slices for each in bars) + timeline.left_out == len(slices) * repeats
    if not timeline.left_out:
        assert sum(each.busy for each in bars) == pytest.approx(busy)
    for line in timeline.lines.values():
        assert all(one.ended <= other.began for one, other in pairwise(line))
        assert all(each.began <= each.ended and each.busy <= each.ended - each.began + 1e-9 for each in line)


def test_a_long_pause_stays_visible_among_millions_of_slices() -> None:
    timeline = Timeline()
    for slot in range(4):
        now = 0.0
        for number in range(20_000):
            now += 30.0 if number == 10_000 else 0.004
            timeline.add(("w", slot), bar(number, now, 0.001))
            now += 0.001
    assert timeline.count <= MAX_BARS
    for line in timeline.lines.values():
        assert max(other.began - one.ended for one, other in pairwise(line)) == pytest.approx(30.0, abs=0.01)
        assert line[0].start == 0
        assert line[-1].stop == 20_000


def test_slices_that_follow_at_once_are_one_bar() -> None:
    timeline = Timeline()
    for number in range(100):
        timeline.add(("w", 0), bar(number, number * 0.1, 0.1 - FINEST_SECONDS / 2))
    timeline.add(("w", 0), bar(100, 10.0, 0.1, "failed"))
    timeline.add(("w", 0), bar(101, 10.1, 0.1))
    (first, failed, last) = timeline.lines["w", 0]
    assert (first.start, first.stop, first.slices, first.ended) == (0, 100, 100, pytest.approx(10.0, abs=1e-2))
    assert (failed.outcome, last.slices) == ("failed", 1)


def test_more_slots_than_a_chart_has_lines_are_counted() -> None:
    timeline = Timeline()
    for slot in range(MAX_SLOTS + 5):
        timeline.add(("w", slot), bar(slot, 0.0, 1.0))
    assert (len(timeline.lines), timeline.left_out) == (MAX_SLOTS, 5)


def test_outcomes_that_change_all_the_time_do_not_grow_it() -> None:
    timeline = Timeline()
    for number in range(4 * MAX_BARS):
        timeline.add(("w", number % 2), bar(number, number, 0.5, OUTCOMES[(number // 2) % 2]))
    assert timeline.count == sum(map(len, timeline.lines.values())) <= MAX_BARS
    assert timeline.left_out > 0
    assert [line[-1].stop for line in timeline.lines.values()] == [4 * MAX_BARS - 1, 4 * MAX_BARS]
