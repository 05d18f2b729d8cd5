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

    def add(self, message: Result, payload: Payload) -> None:
        """Keeps the next result."""
        self.last = message.seq
        entry = _Entry(message, payload)
        if self._spool_count or entry.memory_bytes > self._memory_left_bytes:
            self._put_away(entry)
        else:
            self._hold(entry)

    def sendable(self) -> Iterator[tuple[Result, Payload]]:
        """What the credit allows to send now, in order; taking it from the iterator counts as sending it.

        A result that is larger than the whole window goes alone.
        """
        while self._sent < len(self._entries) or self._fetch():
            entry = self._entries[self._sent]
            if self._in_flight_bytes and self._in_flight_bytes + entry.cost > self._window_bytes:
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
        """Gives memory and spool back; gives what was in them."""
        left = self.take(self.last, 0)
        if self._spool is not None:
            self._spool.close()
            self._spool = None
        return left

    def _hold(self, entry: _Entry) -> None:
        self._entries.append(entry)
        self._memory_left_bytes -= entry.memory_bytes

    def _put_away(self, entry: _Entry) -> None:
        if self._spool is None:
            self._spool = self._make_spool()
        frame = frames.encode(entry.message, entry.payload)
        self._spool.append(_SIZE.pack(len(frame)) + frame)
        self._spool_count += 1

    def _fetch(self) -> bool:
        """Brings the oldest spooled result back to memory; whether there was one."""
        if not self._spool_count:
            return False
        assert self._spool is not None  # something is in it
        at = self._spool_first + _SIZE.size
        size: int = _SIZE.unpack(self._spool.read(self._spool_first, _SIZE.size))[0]
        message, payload = frames.decode(self._spool.read(at, size))
        assert isinstance(message, Result)  # nothing else is put away
        self._hold(_Entry(message, payload))
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
