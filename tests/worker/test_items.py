"""Items by index: ranges, products, blocks."""

from __future__ import annotations

import itertools
import struct

from hypothesis import given
from hypothesis import strategies as st

from nbdist.packing import pack_chunk
from nbdist.wire import blocks
from nbdist.worker.items import BlockItems, from_ranges

ranges = st.tuples(st.integers(-5, 5), st.integers(-5, 9), st.integers(1, 3))


@given(st.lists(ranges, min_size=1, max_size=3), st.integers(0, 30), st.integers(0, 30))
def test_a_piece_of_a_product_is_what_itertools_gives(numbers: list[tuple[int, int, int]], a: int, b: int) -> None:
    whole = list(itertools.product(*(range(*one) for one in numbers)))
    expected = [items[0] for items in whole] if len(numbers) == 1 else whole
    start, stop = sorted((min(a, len(whole)), min(b, len(whole))))
    if start < stop:
        assert list(from_ranges(numbers)(start, stop)) == expected[start:stop]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(0, 40), st.integers(0, 40), st.integers(0, 9))
def test_items_are_cut_out_of_chunks(counts: list[int], a: int, b: int, first: int) -> None:
    values = [f"item {i}" for i in range(first, first + sum(counts))]
    chunks, at = [], 0
    for count in counts:
        chunks.append((count, pack_chunk(values[at : at + count])))
        at += count
    items = BlockItems(memoryview(struct.pack(">Q", first) + blocks.join(chunks)))
    start, stop = sorted((min(a, at), min(b, at)))
    assert list(items.between(first + start, first + stop)) == values[start:stop]
