"""The blocks of items that a job has got: where each begins and ends, how large it is, and which blobs it needs."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from nbdist.wire.messages import BlobRef

MAX_SLICE_BLOBS = 128
"""Names that one `RunSlice` has room for."""


@dataclass(slots=True, eq=False)
class Block:
    """Items `[start, stop)` that came as one block."""

    start: int
    stop: int
    payload_bytes: int
    blobs: tuple[BlobRef, ...]
    blob_bytes: int
    unfinished: int

    @property
    def size(self) -> int:
        """What counts against the job's window: `hub.items` and `engines.hub.items` count the same."""
        return self.blob_bytes or self.payload_bytes


class Blocks:
    """The blocks of a job whose items nobody has finished yet, by their first item."""

    __slots__ = ("_blocks", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._blocks: list[Block] = []

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def add(self, start: int, stop: int, payload_bytes: int, blobs: tuple[BlobRef, ...] = ()) -> None:
        """Appends a block; blocks come in order."""
        self._starts.append(start)
        blob_bytes = sum(ref.size for ref in blobs)
        self._blocks.append(Block(start, stop, payload_bytes, blobs, blob_bytes, stop - start))

    def reach(self, start: int, stop: int, payload_bytes: int, blob_bytes: float) -> int:
        """How far from `start` a slice may go, at most to `stop`, so that the blocks it touches have no more bytes
        together, in frames and in blobs, and no more blobs than a message can name.

        It always reaches the end of the first block.
        """
        index = bisect_right(self._starts, start) - 1
        reach, names = start, MAX_SLICE_BLOBS
        while index < len(self._blocks) and reach < stop:
            block = self._blocks[index]
            payload_bytes -= block.payload_bytes
            blob_bytes -= block.blob_bytes
            names -= len(block.blobs)
            if (payload_bytes < 0 or blob_bytes < 0 or names < 0) and reach > start:
                break
            reach = block.stop
            index += 1
        return min(reach, stop)

    def has_blobs(self, start: int) -> bool:
        """Whether the block of this item, which is not finished, has blobs."""
        index = bisect_right(self._starts, start) - 1
        return 0 <= index < len(self._blocks) and bool(self._blocks[index].blobs)

    def blobs(self, start: int, stop: int) -> tuple[BlobRef, ...]:
        """The blobs of the blocks that `[start, stop)` touches, each once."""
        found: dict[BlobRef, None] = {}
        for index in range(max(0, bisect_right(self._starts, start) - 1), bisect_left(self._starts, stop)):
            found.update(dict.fromkeys(self._blocks[index].blobs))
        return tuple(found)

    def finish(self, start: int, stop: int) -> list[Block]:
        """Notes that `[start, stop)` is finished; gives the blocks that nobody needs any more."""
        index = max(0, bisect_right(self._starts, start) - 1)
        over = []
        while index < len(self._blocks) and self._starts[index] < stop:
            block = self._blocks[index]
            block.unfinished -= max(0, min(stop, block.stop) - max(start, block.start))
            if block.unfinished == 0:
                over.append(block)
                del self._starts[index], self._blocks[index]
            else:
                index += 1
        return over
