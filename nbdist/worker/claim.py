"""The claim of a slot: a few integers in memory that agent and slot share.

The slot claims items before it runs them; the agent lowers the limit to take the others away. Neither waits for the
other: the slot writes its claim and then reads the limit, the agent writes the limit and then reads the claim, so
that at least one of them sees what the other wrote. If both do, the claim stands and the agent raises its limit to it.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import MutableSequence
from pathlib import Path
from typing import NamedTuple

from nbdist.wire.messages import Attempt
from nbdist.worker.cutting import cut_at

_EPOCH, _NUMBER, _CLAIMED, _LIMIT, _CANCEL_EPOCH, _CANCEL_NUMBER, _POSITION, _BEGAN = range(8)
MAP_BYTES = 4096
"""A page: what the operating system maps anyway."""
NANOSECONDS = 1_000_000_000
NO_ATTEMPT: Attempt = (-1, -1)


class Where(NamedTuple):
    """What a claim says of the slice that runs."""

    attempt: Attempt
    claimed: int
    limit: int
    item: int
    began: float = 0.0
    """When that item began, by `time.monotonic`, which is one clock for all processes; 0: none runs, or its job has no
    time limit."""


class _Map:
    """The integers, each eight bytes at a multiple of eight, which processors read and write in one piece."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), MAP_BYTES)
        self._fields = memoryview(self._map).cast("q")
        self._fence = threading.Lock()

    def _settle(self) -> None:
        """Lets what was written be seen before anything is read: a lock's atomic instruction is the barrier."""
        with self._fence:
            pass

    @property
    def attempt(self) -> Attempt:
        return self._fields[_EPOCH], self._fields[_NUMBER]

    def close(self) -> None:
        """Ends the use of the memory."""
        self._fields.release()
        self._map.close()


class AgentClaim(_Map):
    """The agent's end. It makes the file."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(MAP_BYTES))
        super().__init__(path)
        self._fields[_EPOCH], self._fields[_NUMBER] = NO_ATTEMPT

    def begin(self, attempt: Attempt, start: int, stop: int) -> None:
        """A slice is about to be sent to the slot, which has none now."""
        fields = self._fields
        fields[_CLAIMED] = fields[_POSITION] = start
        fields[_LIMIT] = stop
        fields[_BEGAN] = 0
        fields[_CANCEL_EPOCH], fields[_CANCEL_NUMBER] = NO_ATTEMPT
        fields[_EPOCH], fields[_NUMBER] = attempt

    def cut(self, give: float) -> int:
        """Takes a share of what is not claimed; gives the end of what the slot keeps."""
        fields = self._fields
        limit = cut_at(fields[_CLAIMED], fields[_LIMIT], give)
        fields[_LIMIT] = limit
        self._settle()
        if fields[_CLAIMED] > limit:
            fields[_LIMIT] = limit = fields[_CLAIMED]
        return limit

    def cancel(self, attempt: Attempt) -> None:
        """Tells the slot that this attempt is not wanted any more."""
        self._fields[_CANCEL_EPOCH], self._fields[_CANCEL_NUMBER] = attempt

    def where(self) -> Where:
        """What the slot is at."""
        fields = self._fields
        while True:  # an item and its beginning that belong together
            began, item = fields[_BEGAN], fields[_POSITION]
            if fields[_BEGAN] == began:
                return Where(self.attempt, fields[_CLAIMED], fields[_LIMIT], item, began / NANOSECONDS)


class SlotClaim(_Map):
    """The slot's end, as `execution` uses it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.position: MutableSequence[int] = self._fields[_POSITION : _POSITION + 1]  # type: ignore[assignment]
        self.began: MutableSequence[int] = self._fields[_BEGAN : _BEGAN + 1]  # type: ignore[assignment]
        """When the running item began, in nanoseconds (`execution.limits.Watch`)."""

    def take(self, start: int, count: int) -> int:
        """Claims up to `count` items from `start` on; see `execution.runs.Claim`."""
        fields = self._fields
        if self.is_cancelled:
            return start
        stop: int = min(start + count, fields[_LIMIT])
        if stop <= start:
            return start
        fields[_CLAIMED] = stop
        self._settle()
        limit = fields[_LIMIT]
        if limit < stop:
            # The agent read the claim of before and took what is behind its limit, or it read this one and is about to
            # raise the limit to it. To stay below the limit is right in both cases; in the second, more may follow.
            stop = max(start, limit)
            fields[_CLAIMED] = stop
        return stop

    @property
    def is_cancelled(self) -> bool:
        """Whether the agent wants the slice that runs to end at once."""
        fields = self._fields
        return bool(fields[_CANCEL_EPOCH] == fields[_EPOCH] and fields[_CANCEL_NUMBER] == fields[_NUMBER])

    def close(self) -> None:
        """Ends the use of the memory."""
        self.position.release()  # type: ignore[attr-defined]
        self.began.release()  # type: ignore[attr-defined]
        super().close()
