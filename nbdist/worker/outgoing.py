"""What a worker has to tell its hub about attempts, in order, until it has arrived. Pure.

Parts are kept until they are acknowledged, and sent again after a reconnect. A part whose payload is still on its way
as a blob holds back what comes after it in its attempt, and the attempts that its slot began later: for the hub a slot
runs one after the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from nbdist.wire.messages import Attempt, Message, Part, SliceEnded, SlotCrashed
from nbdist.worker.orders import PlaceBlob


@dataclass(slots=True)
class _Entry:
    message: Part | SliceEnded | SlotCrashed
    path: str = ""
    is_placed: bool = True
    is_sent: bool = False


class Outgoing:
    """The queues of all attempts that have something to tell."""

    def __init__(self) -> None:
        self._queues: dict[Attempt, deque[_Entry]] = {}
        """In the order in which they were begun."""
        self._slots: dict[Attempt, int] = {}
        """Attempt that has a queue -> the slot to which the hub gave it, if that is known."""
        self._unsent: dict[int | Attempt, dict[Attempt, None]] = {}
        """Slot (or the attempt, if that is not known) -> its attempts of which not everything is sent, in order."""
        self._is_open = False

    def __bool__(self) -> bool:
        return bool(self._queues)

    def results(self) -> int:
        """How many items' results are kept."""
        parts = (entry.message for queue in self._queues.values() for entry in queue)
        return sum(part.stop - part.start for part in parts if isinstance(part, Part))

    def add(self, message: Part | SliceEnded | SlotCrashed, path: str = "", slot: int | None = None) -> list[Message]:
        """Queues a message; `path`: the file of its payload. Gives what is to be done now."""
        entry = _Entry(message, path, is_placed=not path)
        if slot is not None:
            self._slots.setdefault(message.attempt, slot)
        self._unsent.setdefault(self._slots.get(message.attempt, message.attempt), {})[message.attempt] = None
        self._queues.setdefault(message.attempt, deque()).append(entry)
        return [*([_place(entry)] if path and self._is_open else []), *self._send(message.attempt)]

    def placed(self, attempt: Attempt, start: int) -> list[Message]:
        """The blob of this part is at the hub."""
        for entry in self._queues.get(attempt, ()):
            if isinstance(entry.message, Part) and entry.message.start == start:
                entry.is_placed = True
        return self._send(attempt)

    def lost(self, attempt: Attempt, start: int, reason: str) -> list[Message]:
        """The blob of this part will never be at the hub: the attempt ends before it, and counts against its item.

        (The rest is run again; if it did not count, that could go on for ever.)
        """
        queue = self._queues.get(attempt, deque())
        for number, entry in enumerate(queue):
            if isinstance(entry.message, Part) and entry.message.start == start:
                for _ in range(len(queue) - number):
                    queue.pop()
                queue.append(_Entry(SlotCrashed(attempt, start, reason, kind="unsent")))
                break
        return self._send(attempt)

    def acknowledged(self, attempt: Attempt, stop: int) -> None:
        """The hub has all parts of the attempt up to `stop`."""
        queue = self._queues.get(attempt, deque())
        while queue and isinstance(queue[0].message, Part) and queue[0].message.stop <= stop:
            queue.popleft()
        if not queue:
            self._forget(attempt)

    def close(self) -> None:
        """The hub is away. What ended meanwhile is told by what the worker does not hold when it is back."""
        self._is_open = False
        for attempt, queue in list(self._queues.items()):
            parts = deque(entry for entry in queue if isinstance(entry.message, Part))
            for entry in parts:
                entry.is_sent = False
                entry.is_placed = not entry.path
            self._queues[attempt] = parts
            if not parts:
                self._forget(attempt)
        self._unsent.clear()
        for attempt in self._queues:
            self._unsent.setdefault(self._slots.get(attempt, attempt), {})[attempt] = None

    def open(self) -> Iterator[Message]:
        """The hub is back: everything again."""
        self._is_open = True
        for queue in list(self._queues.values()):
            yield from [_place(entry) for entry in queue if entry.path]
        for attempt in list(self._queues):
            yield from self._send(attempt)

    def attempts(self) -> list[Attempt]:
        """Those that have something to tell."""
        return list(self._queues)

    def _send(self, attempt: Attempt) -> list[Message]:
        """What is ready of this attempt, and of those of its slot that it has held back."""
        lane = self._slots.get(attempt, attempt)
        if not self._is_open or lane not in self._unsent:
            return []
        ready: list[Message] = []
        for one in list(self._unsent[lane]):
            ready += self._send_queue(one)
            if one in self._queues and not self._queues[one][-1].is_sent:
                return ready
            del self._unsent[lane][one]
        del self._unsent[lane]
        return ready

    def _forget(self, attempt: Attempt) -> None:
        self._queues.pop(attempt, None)
        self._slots.pop(attempt, None)

    def _send_queue(self, attempt: Attempt) -> list[Message]:
        queue = self._queues.get(attempt, deque())
        ready: list[Message] = []
        for entry in queue:
            if not entry.is_placed:
                break
            if not entry.is_sent:
                entry.is_sent = True
                ready.append(entry.message)
        while queue and queue[-1].is_sent and not isinstance(queue[-1].message, Part):
            queue.pop()  # these are not acknowledged
        if not queue:
            self._forget(attempt)
        return ready


def _place(entry: _Entry) -> PlaceBlob:
    part = entry.message
    assert isinstance(part, Part)
    assert part.blob is not None
    return PlaceBlob(part.attempt, part.start, part.stop, part.blob, entry.path)
