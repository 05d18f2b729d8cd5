"""A job's results on their way to the notebook: kept until it has dealt with them, sent as its credit allows. Pure.

What does not fit in memory goes to a spool, so that a slow notebook costs disk and nothing else.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from nbdist.wire import frames
from nbdist.wire.frames import Payload
from nbdist.wire.messages import Result

RESULTS_WINDOW_BYTES = 16 * 1024 * 1024
"""May be in flight before the notebook has said what it can take."""
MEMORY_BYTES = 32 * 1024 * 1024
"""So much of one job's unconsumed results stays in memory; the rest is spooled."""
ENTRY_BYTES = 512
"""What a result costs beside its payload: its header, here and there."""

_SIZE = struct.Struct(">I")


class Spool(Protocol):
    """Keeps bytes outside memory."""

    def append(self, data: bytes) -> None:
        """Keeps the bytes, behind those before."""

    def read(self, offset: int, size: int) -> bytes:
        """The bytes that were kept there."""

    def clear(self) -> None:
        """Nothing that was kept is needed any more."""

    def close(self) -> None:
        """Gives everything back."""


@dataclass(frozen=True, slots=True)
class _Entry:
    message: Result
    payload: Payload

    @property
    def memory_bytes(self) -> int:
        return ENTRY_BYTES + len(self.payload)

    @property
    def cost(self) -> int:
        """What it takes of the notebook's window."""
        return ENTRY_BYTES + (self.message.blob.size if self.message.blob else len(self.payload))


class JobResults:
    """The results of one job above those that the notebook has consumed, numbered 1, 2, 3, …

    The oldest are in memory, among them all that are in flight; once there are too many, the others are in the spool,
    header and all, until they are about to be sent.
    """

    def __init__(self, make_spool: Callable[[], Spool], memory_bytes: int = MEMORY_BYTES) -> None:
        self.last = 0
        """The number of the newest result."""
        self._entries: deque[_Entry] = deque()
        self._memory_left_bytes = memory_bytes
        self._sent = 0
        """So many of the entries, from the front, were sent and not consumed."""
        self._in_flight_bytes = 0
        self._window_bytes = RESULTS_WINDOW_BYTES
        self._make_spool = make_spool
        self._spool: Spool | None = None
        self._spool_first = 0
        """Where the oldest result in the spool begins."""
        self._spool_count = 0
        self._spooled_blobs: deque[Result] = deque()
        """Those results in the spool whose payload is a blob."""
        self._unspooled: deque[_Entry] = deque()
        """What the spool did not take, all behind what is in it."""

    @property
    def is_consumed(self) -> bool:
        """Whether the notebook has dealt with everything that was added."""
        return not (self._entries or self._spool_count or self._unspooled)

    def add(self, message: Result, payload: Payload) -> None:
        """Keeps the next result.

        Raises OSError if it ought to be spooled and cannot be. It is kept in memory then, so that none is missing, and
        the job is to be ended, so that it is the last or nearly so.
        """
        self.last = message.seq
        entry = _Entry(message, payload)
        if self._unspooled:
            self._unspooled.append(entry)
        elif self._spool_count or entry.memory_bytes > self._memory_left_bytes:
            self._put_away(entry)
        else:
            self._hold(entry)

    def sendable(self) -> Iterator[tuple[Result, Payload]]:
        """What the credit allows to send now, in order; taking it from the iterator counts as sending it.

        The notebook says that it has dealt with results once they come to half a window: until more than that is in
        flight the next one goes whatever its size, or one larger than the rest of the window would wait for ever.
        """
        while self._sent < len(self._entries) or self._fetch():
            entry = self._entries[self._sent]
            may_be_unannounced = self._in_flight_bytes <= self._window_bytes // 2
            if not may_be_unannounced and self._in_flight_bytes + entry.cost > self._window_bytes:
                return
            self._sent += 1
            self._in_flight_bytes += entry.cost
            yield entry.message, entry.payload

    def take(self, seq: int, window_bytes: int) -> list[Result]:
        """The notebook has dealt with everything up to `seq`; gives what was kept for it until now."""
        self._window_bytes = max(0, window_bytes)
        done: list[Result] = []
        while (self._entries or self._fetch()) and self._entries[0].message.seq <= seq:
            done.append(self._drop_first())
        return done

    def rewind(self) -> None:
        """Everything that is not consumed is to be sent again: the notebook has a new connection."""
        self._sent = 0
        self._in_flight_bytes = 0

    def close(self) -> list[Result]:
        """Gives memory and spool back; gives at least those results that have blobs."""
        left = [entry.message for entry in (*self._entries, *self._unspooled)]
        left += self._spooled_blobs  # the others need nothing, and a long spool takes long to read
        self._entries.clear()
        self._unspooled.clear()
        self._spooled_blobs.clear()
        self._sent = self._spool_count = 0
        if self._spool is not None:
            self._spool.close()
            self._spool = None
        return left

    def _hold(self, entry: _Entry) -> None:
        self._entries.append(entry)
        self._memory_left_bytes -= entry.memory_bytes

    def _put_away(self, entry: _Entry) -> None:
        frame = frames.encode(entry.message, entry.payload)
        try:
            if self._spool is None:
                self._spool = self._make_spool()
            self._spool.append(_SIZE.pack(len(frame)) + frame)
        except OSError:
            self._unspooled.append(entry)
            raise
        self._spool_count += 1
        if entry.message.blob is not None:
            self._spooled_blobs.append(entry.message)

    def _fetch(self) -> bool:
        """Brings the oldest result that is not among the entries there; whether there was one."""
        if not self._spool_count:
            if not self._unspooled:
                return False
            self._hold(self._unspooled.popleft())
            return True
        assert self._spool is not None  # something is in it
        at = self._spool_first + _SIZE.size
        size: int = _SIZE.unpack(self._spool.read(self._spool_first, _SIZE.size))[0]
        message, payload = frames.decode(self._spool.read(at, size))
        assert isinstance(message, Result)  # nothing else is put away
        self._hold(_Entry(message, payload))
        if message.blob is not None:
            self._spooled_blobs.popleft()
        self._spool_first = at + size
        self._spool_count -= 1
        if not self._spool_count:
            self._spool.clear()
            self._spool_first = 0
        return True

    def _drop_first(self) -> Result:
        entry = self._entries.popleft()
        self._memory_left_bytes += entry.memory_bytes
        if self._sent:
            self._sent -= 1
            self._in_flight_bytes -= entry.cost
        return entry.message
