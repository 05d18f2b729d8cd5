"""Blocks of items: cut at chunks, dropped by blocks, bounded by credit."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.errors import FrameError, ProtocolError
from nbdist.hub.items import JobItems
from nbdist.wire import blocks
from nbdist.wire.messages import BlobRef


def block(start: int, sizes: list[int]) -> bytes:
    """A block whose chunk of items [a, b) is the text "a:b;"."""
    chunks = []
    for size in sizes:
        chunks.append((size, f"{start}:{start + size};".encode()))
        start += size
    return blocks.join(chunks)


def filled(*sizes: list[int]) -> JobItems:
    items = JobItems()
    for group in sizes:
        items.add(items.stop, sum(group), memoryview(block(items.stop, group)))
    return items


def read(payload: bytes) -> list[tuple[int, int]]:
    """The ranges of the chunks in a slice's payload, checked against what is written in them."""
    chunks = blocks.split(payload[8:], int.from_bytes(payload[:8], "big"))
    assert all(bytes(chunk.data) == f"{chunk.start}:{chunk.stop};".encode() for chunk in chunks)
    return [(chunk.start, chunk.stop) for chunk in chunks]


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), min_size=1, max_size=6), st.data())
def test_a_cut_covers_its_range_and_no_chunk_too_many(sizes: list[list[int]], data: st.DataObject) -> None:
    items = filled(*sizes)
    start = data.draw(st.integers(0, items.stop - 1))
    stop = data.draw(st.integers(start + 1, items.stop))
    chunks = read(items.cut(start, stop))
    assert chunks[0][0] <= start < chunks[0][1]
    assert chunks[-1][0] < stop <= chunks[-1][1]
    assert all(a[1] == b[0] for a, b in pairwise(chunks))


def test_blocks_are_dropped_in_any_order() -> None:
    items = filled([2, 2], [3], [1, 1])
    items.drop(4)
    assert read(items.cut(0, 4)) == [(0, 2), (2, 4)]
    assert read(items.cut(7, 9)) == [(7, 8), (8, 9)]
    for start, stop in ((4, 5), (0, 9), (3, 5)):
        with pytest.raises(ProtocolError, match="not here"):
            items.cut(start, stop)
    items.drop(4)
    items.drop(12345)
    items.clear()
    with pytest.raises(ProtocolError):
        items.cut(0, 1)


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (3, 2), (0, 10), (-1, 2)])
def test_a_cut_outside_is_refused(start: int, stop: int) -> None:
    with pytest.raises(ProtocolError):
        filled([2, 2]).cut(start, stop)


def test_items_that_were_sent_twice_are_taken_once() -> None:
    items = filled([2, 2])
    assert not items.add(0, 4, memoryview(block(0, [2, 2])))
    assert items.stop == 4


def test_what_does_not_fit_is_refused() -> None:
    items = filled([2])
    with pytest.raises(ProtocolError, match="the next one is 2"):
        items.add(5, 1, memoryview(block(5, [1])))
    with pytest.raises(ProtocolError, match="said to hold 7"):
        items.add(2, 7, memoryview(block(2, [3])))
    with pytest.raises(FrameError):
        items.add(2, 3, memoryview(b"nonsense"))
    assert items.stop == 2


def test_credit_bounds_what_is_held() -> None:
    items = JobItems()
    big = blocks.join([(1, b"x" * 1_000_000)])
    for _ in range(blocks.ITEMS_WINDOW_BYTES // len(big)):
        items.add(items.stop, 1, memoryview(big))
    with pytest.raises(ProtocolError, match="granted"):
        items.add(items.stop, 1, memoryview(big))
    items.grant(len(big))
    assert items.add(items.stop, 1, memoryview(big))


def test_one_block_may_be_larger_than_the_window_if_it_is_alone() -> None:
    items = JobItems()
    small = memoryview(blocks.join([(1, b"x")]))
    large = [BlobRef("a" * 64, 3 * blocks.ITEMS_WINDOW_BYTES)]
    assert items.add(0, 1, small, large)
    with pytest.raises(ProtocolError, match="granted"):
        items.add(1, 1, small)
    items.drop(0)
    assert items.add(1, 1, small, large)


def test_who_was_given_a_block_is_known_until_it_is_finished() -> None:
    items = filled([2, 2], [3], [1])
    items.note_reader(3, 5, "w")
    assert items.readers == {0: {"w"}, 4: {"w"}}
    items.drop(0)
    assert items.readers == {4: {"w"}}
    assert (items.is_past(0), items.is_past(4), items.is_past(8)) == (True, False, False)
