"""The items of jobs whose items are no numbers: blocks in memory, cut for slices, dropped when finished. Pure.

Memory is bounded by credit: a notebook may have so many bytes of blocks here as it was granted, and is granted more as
items are finished.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from nbdist.errors import ProtocolError
from nbdist.wire import blocks
from nbdist.wire.blocks import ITEMS_WINDOW_BYTES, Chunk

_FIRST = struct.Struct(">Q")


class JobItems:
    """The unfinished items of one job, as chunks that nobody here reads."""

    def __init__(self) -> None:
        self.stop = 0
        """Items `[0, stop)` have come."""
        self._blocks: dict[int, list[Chunk]] = {}
        """Index of a block's first item -> its chunks."""
        self._starts: list[int] = []
        """The keys of `_blocks`, in order."""
        self._allowed_bytes = ITEMS_WINDOW_BYTES

    def add(self, start: int, count: int, block: memoryview) -> bool:
        """Takes the next items; False: they were here already (sent again after a reconnect).

        Raises ProtocolError if they leave a gap, are not as many as was said or are more than was granted, and its
        child FrameError if the block is malformed.
        """
        if count < 1:
            raise ProtocolError(f"a block of {count} items")
        if start + count <= self.stop:
            return False
        if start != self.stop:
            raise ProtocolError(f"items from {start} on were sent, the next one is {self.stop}")
        chunks = blocks.split(block, start)
        found = sum(chunk.count for chunk in chunks)
        if found != count:
            raise ProtocolError(f"a block holds {found} items and is said to hold {count}")
        if len(block) > self._allowed_bytes:
            raise ProtocolError("more items were sent than the hub had granted room for")
        self._allowed_bytes -= len(block)
        self._blocks[start] = chunks
        self._starts.append(start)
        self.stop += count
        return True

    def holds(self, start: int) -> bool:
        """Whether the block whose first item has this index is here and not finished."""
        return start in self._blocks

    def grant(self, more_bytes: int) -> None:
        """The notebook may send so many bytes more."""
        self._allowed_bytes += more_bytes

    def cut(self, start: int, stop: int) -> bytes:
        """The chunks that cover items `[start, stop)`: 8 bytes index of the first one's first item, then a block."""
        found = list(self._covering(start, stop))
        have = sum(chunk.count for chunk in found)
        if not found or found[0].start > start or found[-1].stop < stop or have != found[-1].stop - found[0].start:
            raise ProtocolError(f"items {start} to {stop} are not here")
        return _FIRST.pack(found[0].start) + blocks.join((chunk.count, chunk.data) for chunk in found)

    def drop(self, start: int) -> None:
        """Forgets the block whose first item has this index: all its items are finished."""
        if self._blocks.pop(start, None) is not None:
            del self._starts[bisect_left(self._starts, start)]

    def clear(self) -> None:
        """Forgets all blocks: the job has ended."""
        self._blocks.clear()
        self._starts.clear()

    def _covering(self, start: int, stop: int) -> Iterator[Chunk]:
        first = max(0, bisect_right(self._starts, start) - 1)
        last = bisect_left(self._starts, stop)
        for block in self._starts[first:last]:
            for chunk in self._blocks[block]:
                if chunk.start < stop and chunk.stop > start:
                    yield chunk
