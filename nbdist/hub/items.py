"""The items of jobs whose items are no numbers: blocks in memory, cut for slices, dropped when finished. Pure.

What is too large for a block lies in blobs, which `stores.py` holds for as long as the block is here.

Memory is bounded by credit: a notebook may have so many bytes of blocks here as it was granted, and is granted more as
items are finished.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from nbdist.errors import ProtocolError
from nbdist.wire import blocks
from nbdist.wire.blocks import ITEMS_WINDOW_BYTES, Chunk
from nbdist.wire.frames import Payload
from nbdist.wire.messages import BlobRef

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
        self.readers: dict[int, set[str]] = {}
        """Index of a block's first item -> the workers that were given some of it: they may get its blobs."""
        self._allowed_bytes = ITEMS_WINDOW_BYTES

    def add(self, start: int, count: int, block: memoryview, blobs: Sequence[BlobRef] = ()) -> bool:
        """Takes the next items; False: they were here already (sent again after a reconnect).

        More than was granted may come if nothing else is here, so that an item can be larger than the window.

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
        size = size_of(block, blobs)
        if size > self._allowed_bytes and self._blocks:
            raise ProtocolError("more items were sent than the hub had granted room for")
        self._allowed_bytes -= size
        self._blocks[start] = chunks
        self._starts.append(start)
        self.stop += count
        return True

    def restore(self, start: int, stop: int, block: bytes, allowed_bytes: int) -> None:
        """After a restart: the next block of those that had come; without its bytes if it is finished."""
        self.stop = stop
        self._allowed_bytes = allowed_bytes
        if block:
            self._blocks[start] = blocks.split(memoryview(block), start)
            self._starts.append(start)

    def holds(self, start: int) -> bool:
        """Whether the block whose first item has this index is here and not finished."""
        return start in self._blocks

    def is_past(self, start: int) -> bool:
        """Whether the block whose first item has this index was here and is finished."""
        return start < self.stop and start not in self._blocks

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

    def note_reader(self, start: int, stop: int, worker: str) -> None:
        """The worker is given items `[start, stop)`."""
        for block in self._touched(start, stop):
            self.readers.setdefault(block, set()).add(worker)

    def drop(self, start: int) -> None:
        """Forgets the block whose first item has this index: all its items are finished."""
        self.readers.pop(start, None)
        if self._blocks.pop(start, None) is not None:
            del self._starts[bisect_left(self._starts, start)]

    def clear(self) -> None:
        """Forgets all blocks: the job has ended."""
        self.readers.clear()
        self._blocks.clear()
        self._starts.clear()

    def _covering(self, start: int, stop: int) -> Iterator[Chunk]:
        for block in self._touched(start, stop):
            for chunk in self._blocks[block]:
                if chunk.start < stop and chunk.stop > start:
                    yield chunk

    def _touched(self, start: int, stop: int) -> list[int]:
        first = max(0, bisect_right(self._starts, start) - 1)
        return self._starts[first : bisect_left(self._starts, stop)]


def size_of(block: Payload, blobs: Sequence[BlobRef]) -> int:
    """What a block counts against the window: its blobs, beside which the rest is small, or itself."""
    return sum(ref.size for ref in blobs) or len(block)
