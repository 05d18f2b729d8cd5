"""The items of a job, by index: from ranges, or from the block that came with a slice."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice, product
from math import prod
from typing import Any

from nbdist.packing import unpack_chunk
from nbdist.wire import blocks

_FIRST = struct.Struct(">Q")
"""Before the block of a `RunSlice`: the index of its first item."""


def from_ranges(ranges: Sequence[tuple[int, int, int]]) -> Callable[[int, int], Iterable[Any]]:
    """Items of one range as they are; of several as tuples, the last range fastest."""
    whole = [range(*numbers) for numbers in ranges]
    if len(whole) == 1:
        only = whole[0]
        return lambda start, stop: only[start:stop]
    return lambda start, stop: _product_between(whole, start, stop)


def _product_between(ranges: Sequence[range], start: int, stop: int) -> Iterable[tuple[int, ...]]:
    """The tuples from `start` to `stop` of the product: the first and the last row of it are cut."""
    row = prod(len(inner) for inner in ranges[1:])
    first, last = start // row, -(-stop // row)
    rows = (_product_row(outer, ranges[1:]) for outer in ranges[0][first:last])
    return islice(chain.from_iterable(rows), start - first * row, stop - first * row)


def _product_row(outer: int, inner: Sequence[range]) -> Iterable[tuple[int, ...]]:
    return product((outer,), *inner)


class BlockItems:
    """Items that came as a block: `_FIRST`, then the block. Chunks are unpacked when they are first needed."""

    def __init__(self, payload: memoryview) -> None:
        (first,) = _FIRST.unpack_from(payload)
        self._chunks = blocks.split(payload[_FIRST.size :], first)
        self._starts = [chunk.start for chunk in self._chunks]
        self._unpacked: tuple[int, list[Any]] = (-1, [])

    def between(self, start: int, stop: int) -> Iterable[Any]:
        """Items `[start, stop)`."""
        items: list[Any] = []
        while start < stop:
            number = bisect_right(self._starts, start) - 1
            chunk = self._chunks[number]
            if self._unpacked[0] != number:
                self._unpacked = (number, unpack_chunk(chunk.data))
            end = min(stop, chunk.stop)
            items += self._unpacked[1][start - chunk.start : end - chunk.start]
            start = end
        return items
