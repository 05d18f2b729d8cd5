"""A job's results on their way to the notebook: on disk, and sent from there or from memory as its credit allows. Pure.

A result is sent only once it is in the log. What does not fit in memory is read from the log again, so that a slow
notebook costs disk and nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from nbdist.hub.resultlog import ENTRY_BYTES, Spot, weight
from nbdist.wire.frames import Payload
from nbdist.wire.messages import Result

RESULTS_WINDOW_BYTES = 16 * 1024 * 1024
"""May be in flight before the notebook has said what it can take."""
MEMORY_BYTES = 32 * 1024 * 1024
"""So much of one job's unconsumed results stays in memory."""


class Log(Protocol):
    """Where results outlive the process (`resultlog.ResultLog`)."""

    @property
    def end(self) -> Spot:
        """Where the next record will begin."""

    def append(self, message: Result, payload: Payload) -> None:
        """Adds a record. Raises OSError, and has added nothing then."""

    def read(self, spot: Spot) -> tuple[Result, Payload, Spot]:
        """The record that begins there, and where the next one does."""

    def seek(self, seq: int) -> tuple[Spot, int]:
        """Where the first result behind number `seq` begins, and what the results from there on come to."""


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
        return weight(self.message, len(self.payload))


class JobResults:
    """The results of one job, numbered 1, 2, 3, …

    The oldest that the notebook has not consumed are in memory, among them all that are in flight; once there are too
    many, the others are in the log only until they are about to be sent.
    """

    def __init__(self, log: Log, memory_bytes: int = MEMORY_BYTES) -> None:
        self.last = 0
        """The number of the newest result."""
        self.consumed = 0
        """The notebook has dealt with everything up to this number …"""
        self.waiting_bytes = 0
        """… and what is behind comes to this, blobs included."""
        self._log = log
        self._dropped = 0
        """The log has everything behind this number."""
        self._entries: deque[_Entry] = deque()
        """From `consumed` on."""
        self._memory_bytes = self._memory_left_bytes = memory_bytes
        self._sent = 0
        """So many of the entries, from the front, were sent and not consumed."""
        self._in_flight_bytes = 0
        self._window_bytes = RESULTS_WINDOW_BYTES
        self._next = Spot(0, 0)
        """Where the first result behind the entries is in the log, if there is one."""
        self._unlogged: deque[_Entry] = deque()
        """What the log did not take, all behind what is in it."""

    @property
    def is_consumed(self) -> bool:
        """Whether the notebook has dealt with everything that was added."""
        return self.consumed >= self.last

    def restore(self, last: int, dropped: int, consumed: int) -> None:
        """After a restart: the log has the results from number `dropped` + 1 to `last`."""
        self.last, self._dropped = last, dropped
        self._go_to(consumed)

    def add(self, message: Result, payload: Payload) -> None:
        """Keeps the next result. Raises OSError if the log does not take it; it waits for `write_unlogged` then."""
        self.last = message.seq
        entry = _Entry(message, payload)
        self.waiting_bytes += entry.cost
        if self._unlogged:
            self._unlogged.append(entry)
            return
        try:
            self._write(entry)
        except OSError:
            self._unlogged.append(entry)
            raise

    def write_unlogged(self) -> None:
        """Tries again to write what the log did not take. Raises OSError if it still does not."""
        while self._unlogged:
            self._write(self._unlogged[0])
            self._unlogged.popleft()

    def sendable(self) -> Iterator[tuple[Result, Payload]]:
        """What the credit allows to send now, in order; taking it from the iterator counts as sending it.

        The notebook says that it has dealt with results once they come to a quarter of a window, and may hold back less
        than another one: until more than half of it is in flight the next one goes whatever its size, or one larger
        than the rest of the window would wait for ever.
        """
        while self._sent < len(self._entries) or self._fetch():
            entry = self._entries[self._sent]
            may_be_unannounced = self._in_flight_bytes <= self._window_bytes // 2
            if not may_be_unannounced and self._in_flight_bytes + entry.cost > self._window_bytes:
                return
            self._sent += 1
            self._in_flight_bytes += entry.cost
            yield entry.message, entry.payload

    def take(self, seq: int, window_bytes: int) -> None:
        """The notebook has dealt with everything up to `seq`."""
        self._window_bytes = max(0, window_bytes)
        while self.consumed < seq and self._entries:
            self._drop_first()
        if self.consumed < min(seq, self._logged):
            self._go_to(seq)

    def attach(self, seq: int, window_bytes: int) -> None:
        """A notebook that has everything up to `seq`, and nothing behind, wants the rest."""
        if seq < self.consumed:
            self._go_to(seq)
        self._sent = self._in_flight_bytes = 0
        self.take(seq, window_bytes)

    def dropped(self, seq: int) -> None:
        """The log has dropped everything up to `seq`, all of it consumed."""
        self._dropped = seq

    def close(self) -> None:
        """Gives memory back."""
        self._entries.clear()
        self._unlogged.clear()
        self.consumed, self.waiting_bytes = self.last, 0

    @property
    def _logged(self) -> int:
        """The number of the newest result in the log."""
        return self.last - len(self._unlogged)

    def _go_to(self, seq: int) -> None:
        """Everything up to `seq` is consumed, as far as it is or was here; what is behind is to be sent (again)."""
        self._entries.clear()
        self._sent = self._in_flight_bytes = 0
        self._memory_left_bytes = self._memory_bytes
        self.consumed = max(self._dropped, min(seq, self._logged))
        self._next, self.waiting_bytes = self._log.seek(self.consumed)
        self.waiting_bytes += sum(entry.cost for entry in self._unlogged)

    def _write(self, entry: _Entry) -> None:
        spot = self._log.end
        self._log.append(entry.message, entry.payload)
        if self.consumed + len(self._entries) < entry.message.seq - 1:
            return  # behind others that are in the log only
        if entry.memory_bytes <= self._memory_left_bytes:
            self._hold(entry)
        else:
            self._next = spot

    def _hold(self, entry: _Entry) -> None:
        self._entries.append(entry)
        self._memory_left_bytes -= entry.memory_bytes

    def _fetch(self) -> bool:
        """Brings the first result behind the entries back from the log; whether there was one."""
        if self.consumed + len(self._entries) >= self._logged:
            return False
        message, payload, self._next = self._log.read(self._next)
        self._hold(_Entry(message, payload))
        return True

    def _drop_first(self) -> None:
        entry = self._entries.popleft()
        self._memory_left_bytes += entry.memory_bytes
        self.consumed = entry.message.seq
        self.waiting_bytes -= entry.cost
        if self._sent:
            self._sent -= 1
            self._in_flight_bytes -= entry.cost
