"""A job's items on their way to the hub: within credit, in order, and kept until the hub is done with them.

What the hub has not given back is kept so that it can be sent again on a new connection; that is at most one window.
Of a block with blobs only its message is kept: the blobs are at the hub before it is told of the block.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from nbdist.engines.base import Block
from nbdist.wire import frames
from nbdist.wire.blocks import ITEMS_WINDOW_BYTES
from nbdist.wire.messages import AddItems, CloseItems


@dataclass(slots=True, eq=False)
class Parcel:
    """One block on its way."""

    job: str
    start: int
    block: Block | None
    """None once it is in `frame`."""
    size: int
    """What counts against the credit."""
    frame: bytes = b""
    files: tuple[str, ...] = ()
    """Of its blobs, in the folder of a hub on this machine."""

    def pack(self, data: bytes, message: AddItems) -> None:
        """Makes the frame. Raises FrameError if the block is too large for one."""
        self.frame = frames.encode(message, data)
        self.block = None


class Upload(Protocol):
    """Brings the blobs of a parcel to the hub, on another thread, and packs it; then `ItemFeed.uploaded`."""

    def __call__(self, parcel: Parcel) -> None: ...


class ItemFeed:
    """Sends blocks of one job as its credit allows. Any thread may call any method."""

    def __init__(
        self,
        job: str,
        send: Callable[[bytes], None],
        window_bytes: int = ITEMS_WINDOW_BYTES,
        upload: Upload | None = None,
    ) -> None:
        self._job = job
        self._send = send
        self._upload = upload
        self._credit = window_bytes
        self._next = 0
        self._waiting: deque[Parcel] = deque()
        self._coming: deque[Parcel] = deque()
        """Those that have credit, from the first on whose blobs are not at the hub yet."""
        self._sent: deque[Parcel] = deque()
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
            parcel = Parcel(self._job, self._next, block, block.size)
            if not block.large:
                parcel.pack(block.data, AddItems(self._job, self._next, block.count, native=block.native))
            self._next += block.count
            self._waiting.append(parcel)
            self._push()

    def pump(self, source: Iterator[Block]) -> None:
        """Sends all blocks of a source, then closes; waits for credit in between. Returns early when stopped."""
        for block in source:
            self.add(block)
            del block  # it may be large
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

    def grant(self, more_bytes: int, wider_bytes: int = 0) -> None:
        """The hub is done with the oldest blocks of so many bytes, and has room for as many, and for `wider_bytes`."""
        with self._changed:
            self._credit += more_bytes + wider_bytes
            self._granted += more_bytes
            while self._sent and self._granted >= self._sent[0].size:
                self._granted -= self._sent.popleft().size
            self._push()

    def uploaded(self, parcel: Parcel) -> bool:
        """The blobs of a parcel are at the hub. False: nobody needs them any more."""
        with self._changed:
            if not self._stopped:
                self._tell()
                self._changed.notify_all()
            return not self._stopped

    def is_wanted(self) -> bool:
        """Whether blobs are still to be brought to the hub."""
        return not self._stopped

    def may_find_room(self, parcel: Parcel) -> bool:
        """Whether others are at the hub, or on their way, whose end makes room for this one."""
        with self._changed:
            return bool(self._sent) or any(other is not parcel for other in self._coming)

    def again(self) -> list[bytes]:
        """The frames to send on a new connection: everything that the hub may not have."""
        with self._changed:
            is_told = self._end is not None and not self._waiting and not self._coming
            over = [self._end] if is_told and self._end is not None else []
            return [parcel.frame for parcel in self._sent] + over

    def stop(self) -> None:
        """The job is over: nothing more is sent, and a `pump` that waits returns."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._coming.clear()
            self._sent.clear()
            self._changed.notify_all()

    def _push(self) -> None:
        while self._waiting and (self._waiting[0].size <= self._credit or not (self._sent or self._coming)):
            parcel = self._waiting.popleft()
            self._credit -= parcel.size
            self._coming.append(parcel)
            if parcel.block is not None:
                assert self._upload is not None
                self._upload(parcel)
        self._tell()
        if not self._waiting:
            self._changed.notify_all()

    def _tell(self) -> None:
        """Tells the hub of what is there, in order."""
        while self._coming and self._coming[0].block is None:
            parcel = self._coming.popleft()
            self._sent.append(parcel)
            self._send(parcel.frame)
        if self._end is not None and not self._waiting and not self._coming and not self._stopped:
            self._send(self._end)
