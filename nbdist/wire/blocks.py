"""Blocks of items: a framing that can be cut at an item without reading the items.

A block holds consecutive items as chunks; a chunk is opaque (a packed list) and has a count. The hub cuts a slice's
items out of blocks as whole chunks, so that it never reads one; the slot drops what the first and the last chunk hold
beyond its range.

    4 bytes   number of chunks, big endian
    n times   4 bytes count of items, 4 bytes size
    the chunks
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from nbdist.errors import FrameError

CHUNK_ITEMS = 256
"""A chunk has at most so many items, so that cutting in it wastes little."""
CHUNK_BYTES = 16 * 1024
"""… and is closed once it has this size (a single large item is a chunk of its own)."""
BLOCK_BYTES = 128 * 1024
"""A block is sent once it has this size."""
ITEMS_WINDOW_BYTES = 8 * 1024 * 1024
"""So many bytes of a job's blocks may be at the hub without being finished, or one block, or more once the hub says so
(`GrantItems.wider_bytes`): it does where blocks are large, so that each slot has one."""
LARGE_BYTES = 256 * 1024
"""Bytes of an item in one piece of this size, or more, travel as a blob beside the block."""
MAX_ITEM_BLOBS = 64
"""A block refers to at most so many blobs, and a slice to the blobs of so many blocks that their names fit a header."""

_COUNT = struct.Struct(">I")
_ENTRY = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive items, packed; `start` is the index of the first."""

    start: int
    count: int
    data: memoryview

    @property
    def stop(self) -> int:
        return self.start + self.count


def join(chunks: Iterable[tuple[int, bytes | bytearray | memoryview]]) -> bytes:
    """A block from (count, packed items) pairs."""
    pairs = list(chunks)
    parts: list[bytes | bytearray | memoryview] = [_COUNT.pack(len(pairs))]
    parts += [_ENTRY.pack(count, len(data)) for count, data in pairs]
    parts += [data for _, data in pairs]
    return b"".join(parts)


def split(block: bytes | memoryview, start: int) -> list[Chunk]:
    """The chunks of a block whose first item has index `start`. Raises FrameError if it is none."""
    view = memoryview(block)
    if len(view) < _COUNT.size:
        raise FrameError("a block of items is cut short")
    number: int = _COUNT.unpack_from(view)[0]
    data_at = _COUNT.size + number * _ENTRY.size
    if data_at > len(view):
        raise FrameError(f"a block of items claims {number} chunks and is too short for that")
    entries = list(_ENTRY.iter_unpack(view[_COUNT.size : data_at]))
    if any(count == 0 for count, _ in entries):
        raise FrameError("a block of items has an empty chunk")
    if data_at + sum(size for _, size in entries) != len(view):
        raise FrameError("the chunks of a block of items do not add up to its size")
    starts = accumulate((count for count, _ in entries), initial=start)
    offsets = accumulate((size for _, size in entries), initial=data_at)
    return [
        Chunk(first, count, view[offset : offset + size])
        for first, offset, (count, size) in zip(starts, offsets, entries, strict=False)
    ]
