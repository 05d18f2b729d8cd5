"""The items of a job, by index: from ranges, or from the block that came with a slice."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, product
from math import prod
from pathlib import Path
from typing import Any

from nbdist.filing.inputs import placed
from nbdist.packing import Buffer, open_file, unpack_chunk
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
    """Items that came as a block: `_FIRST`, then the block. Chunks are unpacked when they are first needed.

    `files`: where the blobs lie that chunks refer to; files among them get their names in `folder`.
    """

    def __init__(self, payload: memoryview, files: Mapping[str, str] | None = None, folder: Path | None = None) -> None:
        (first,) = _FIRST.unpack_from(payload)
        self._chunks = blocks.split(payload[_FIRST.size :], first)
        self._starts = [chunk.start for chunk in self._chunks]
        self._unpacked: tuple[int, list[Any]] = (-1, [])
        self._files = files or {}
        self._folder = folder or Path()

    def between(self, start: int, stop: int) -> Iterable[Any]:
        """Items `[start, stop)`; large ones are there one at a time."""
        return self._one_by_one(start, stop) if self._files else self._all(start, stop)

    def _one_by_one(self, start: int, stop: int) -> Iterator[Any]:
        while start < stop:
            chunk = self._chunks[bisect_right(self._starts, start) - 1]
            end = min(stop, chunk.stop)
            yield from self._unpack(chunk.data, self._open)[start - chunk.start : end - chunk.start]
            start = end

    def _unpack(self, data: Buffer, open_blob: Callable[[str], Buffer] | None = None) -> list[Any]:
        with placed(self._files, self._folder):
            return unpack_chunk(data, open_blob)

    def _open(self, name: str) -> Buffer:
        return open_file(self._files[name])

    def _all(self, start: int, stop: int) -> list[Any]:
        items: list[Any] = []
        while start < stop:
            number = bisect_right(self._starts, start) - 1
            chunk = self._chunks[number]
            if self._unpacked[0] != number:
                self._unpacked = (number, self._unpack(chunk.data))
            end = min(stop, chunk.stop)
            items += self._unpacked[1][start - chunk.start : end - chunk.start]
            start = end
        return items
