"""A job's items on their way to the hub: within credit, in order, and kept until the hub is done with them.

What the hub has not given back is kept so that it can be sent again on a new connection; that is at most one window.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nbdist.engines.base import Block
from nbdist.wire import frames
from nbdist.wire.blocks import ITEMS_WINDOW_BYTES
from nbdist.wire.messages import AddItems, CloseItems


@dataclass(frozen=True, slots=True)
class _Parcel:
    frame: bytes
    size: int
    """Of the block alone: what counts against the credit."""


class ItemFeed:
    """Sends blocks of one job as its credit allows. Any thread may call any method."""

    def __init__(self, job: str, send: Callable[[bytes], None], window_bytes: int = ITEMS_WINDOW_BYTES) -> None:
        self._job = job
        self._send = send
        self._credit = window_bytes
        self._next = 0
        self._waiting: deque[_Parcel] = deque()
        self._sent: deque[_Parcel] = deque()
        self._granted = 0
        """Bytes given back that do not yet make up the oldest sent block."""
        self._end: bytes | None = None
        self._stopped = False
        self._changed = threading.Condition()

    def add(self, block: Block) -> None:
        """Sends a block now, or once there is credit. Raises FrameError if it is too large for a frame."""
        with self._changed:
            if self._stopped:
                return
            frame = frames.encode(AddItems(self._job, self._next, block.count), block.data)
            self._next += block.count
            self._waiting.append(_Parcel(frame, len(block.data)))
            self._push()

    def pump(self, source: Iterator[Block]) -> None:
        """Sends all blocks of a source, then closes; waits for credit in between. Returns early when stopped."""
        for block in source:
            self.add(block)
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or not self._waiting)
                if self._stopped:
                    return
        self.close()

    def close(self) -> None:
        """No more items come."""
        with self._changed:
            if self._end is None and not self._stopped:
                self._end = frames.encode(CloseItems(self._job, self._next))
                self._push()

    def grant(self, more_bytes: int) -> None:
        """The hub has room for so many bytes more, and is done with the oldest blocks of that size."""
        with self._changed:
            self._credit += more_bytes
            self._granted += more_bytes
            while self._sent and self._granted >= self._sent[0].size:
                self._granted -= self._sent.popleft().size
            self._push()

    def again(self) -> list[bytes]:
        """The frames to send on a new connection: everything that the hub may not have."""
        with self._changed:
            over = [self._end] if self._end is not None and not self._waiting else []
            return [parcel.frame for parcel in self._sent] + over

    def stop(self) -> None:
        """The job is over: nothing more is sent, and a `pump` that waits returns."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._sent.clear()
            self._changed.notify_all()

    def _push(self) -> None:
        while self._waiting and (self._waiting[0].size <= self._credit or not self._sent):
            parcel = self._waiting.popleft()
            self._credit -= parcel.size
            self._sent.append(parcel)
            self._send(parcel.frame)
        if not self._waiting:
            if self._end is not None and not self._stopped:
                self._send(self._end)
            self._changed.notify_all()
