"""Parts in any order, twice and overlapping: every item once, in its place."""

from __future__ import annotations

import itertools
import math
import operator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nbdist.client.assembly import FoldAssembly, ListAssembly, Ordering, Piece, place


@st.composite
def shuffled(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    """A number of items and ranges that cover them, in any order, some twice, and some that overlap others."""
    count = draw(st.integers(1, 40))
    cuts = sorted({0, count, *draw(st.lists(st.integers(1, count), max_size=8))})
    ranges = list(itertools.pairwise(cuts))
    more = draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(1, 5)), max_size=4))
    extra = [(start, min(count, start + size)) for start, size in more]
    return count, draw(st.permutations(ranges)) + draw(st.permutations(ranges + extra))


@given(shuffled(), st.integers(1, 4))
def test_values_come_in_order_each_once(world: tuple[int, list[tuple[int, int]]], step: int) -> None:
    count, ranges = world
    assembly = ListAssembly()
    for start, stop in ranges:
        kept = [i for i in range(start, stop) if i % step == 0]
        whole = step == 1
        assembly.add(Piece(start, stop, [str(i) for i in kept], None if whole else kept, "m", 1.0))
        assert assembly.values == [str(i) for i in range(assembly.reached) if i % step == 0]
    assert assembly.reached == count
    arrived = [pair for number in range(len(assembly.arrivals)) for pair in assembly.arrived(number)]
    assert sorted(arrived) == [(i, str(i)) for i in range(count) if i % step == 0]
    assert [index for segment in assembly.segments for index in segment.indices] == list(range(0, count, step))


@given(shuffled(), st.booleans())
def test_a_fold_goes_from_left_to_right(world: tuple[int, list[tuple[int, int]]], is_strict: bool) -> None:
    count, ranges = world
    assembly = FoldAssembly(operator.add, is_strict=is_strict)
    taken = []
    for start, stop in ranges:
        taken += [start, stop] * assembly.add(Piece(start, stop, ["".join(f"{i}," for i in range(start, stop))]))
        waiting = assembly._order.rest()
        if not is_strict:
            gaps = sum(taken.count(at) == 1 for at in set(taken)) // 2
            assert len(waiting) + bool(assembly.segments) == gaps
    assert assembly.value == ["".join(f"{i}," for i in range(count))]
    assert [(segment.start, segment.stop) for segment in assembly.segments] == [(0, count)]


def test_a_strict_fold_combines_from_left_to_right_only() -> None:
    for is_strict, text in ((True, "(((ab)c)d)"), (False, "((ab)(cd))")):
        assembly = FoldAssembly(lambda left, right: f"({left}{right})", is_strict=is_strict)
        for start in (3, 2, 0, 1):
            assembly.add(Piece(start, start + 1, ["abcd"[start]], None, "mn"[start % 2], 0.25))
        assert assembly.value == [text]
        (segment,) = assembly.segments
        assert (segment.worker, segment.seconds) == ("", 1.0)


def test_a_fold_that_ends_with_gaps_says_so_in_its_segments() -> None:
    assembly = FoldAssembly(operator.add)
    for start in (8, 1, 0, 5, 6):
        assembly.add(Piece(start, start + 1, [str(start)], None, "m", 1.0))
    assembly.close()
    assert assembly.value == ["01568"]
    found = [(segment.start, segment.stop, segment.worker) for segment in assembly.segments]
    assert found == [(0, 2, "m"), (5, 7, "m"), (8, 9, "m")]


@given(shuffled(), st.integers(0, 40))
def test_values_up_to_an_item_are_counted(world: tuple[int, list[tuple[int, int]]], item: int) -> None:
    _, ranges = world
    assembly = ListAssembly()
    for start, stop in ranges[: len(ranges) // 2]:
        assembly.add(Piece(start, stop, list(range(start, stop))))
    reached = assembly.reached
    assembly.close()
    assert assembly.count_before(item) == min(item, reached)
    assert assembly.count_before(math.inf) == reached


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(-1, 6))))
def test_no_item_is_given_out_twice(ranges: list[tuple[int, int]]) -> None:
    ordering: Ordering[tuple[int, int]] = Ordering()
    taken: set[int] = set()
    given_out: list[int] = []
    for start, size in ranges:
        items = set(range(start, start + size))
        takes = ordering.takes(start, start + size)
        assert takes == (bool(items) and not items & taken)
        if takes:
            taken |= items
            for a, b in ordering.add(start, start + size, (start, start + size)):
                given_out += range(a, b)
    assert given_out == list(range(ordering.reached))
    assert [i for a, b in ordering.rest() for i in range(a, b)] == sorted(taken - set(given_out))


def test_what_waits_behind_a_gap_is_joined_at_the_end() -> None:
    assembly = ListAssembly()
    assembly.add(Piece(5, 7, ["5", "6"]))
    assembly.add(Piece(0, 2, ["0", "1"]))
    assert assembly.values == ["0", "1"]
    assembly.close()
    assert assembly.values == ["0", "1", "5", "6"]
    assert [assembly.arrived(number) for number in range(2)] == [[(5, "5"), (6, "6")], [(0, "0"), (1, "1")]]


def test_an_empty_partial_changes_nothing() -> None:
    assembly = FoldAssembly(operator.add)
    for piece in (Piece(2, 4, []), Piece(0, 2, [1]), Piece(4, 6, [10])):
        assembly.add(piece)
    assert (assembly.value, assembly.reached) == ([11], 6)


def test_failures_take_their_places() -> None:
    marks: list[tuple[int, Any]] = [(11, "failed")]
    assert place(10, 13, ["a", "b"], [10, 12], marks) == (["a", "failed", "b"], None)
    assert place(10, 14, ["a"], [10], marks) == (["a", "failed"], [10, 11])
    assert place(10, 12, ["a", "b"], None, []) == (["a", "b"], None)
