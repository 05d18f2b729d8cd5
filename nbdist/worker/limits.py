"""What items may use: time, where their job has a limit, and memory. Pure.

The agent is asked what a slot is at, or uses, when that may be over a limit (`times`, `due`); what it answers is
judged here. A slot that is over is killed, and what it is killed for is remembered until its death is known: only the
item that was judged is blamed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nbdist.wire.messages import Message, SliceEnded, SlotCrashed
from nbdist.worker.orders import ItemSeen, KillSlot, LookAtItem, LookAtMemory, MemoryUsed, NudgeSlot, SlotDied
from nbdist.worker.records import Sentence, Slice, Slot, WorkerPolicy
from nbdist.worker.stating import crash

MEGABYTE, GIGABYTE = 1_000_000, 1_000_000_000


class Limits:
    """The limits of all slots. `memory_bytes`: of each slot with what it starts; 0: nobody watches."""

    def __init__(self, slots: Sequence[Slot], policy: WorkerPolicy, memory_bytes: int = 0) -> None:
        self._slots = slots
        self._policy = policy
        self._memory_bytes = memory_bytes
        self._memory_at: float | None = None

    def begun(self, slot: Slot, held: Slice, now: float) -> None:
        """The slot has been given a slice to run."""
        slot.look_at = self._next_look(held, now, now) if held.time_limit else None
        if self._memory_bytes and self._memory_at is None:
            self._memory_at = now + self._policy.memory_seconds

    def times(self) -> Iterator[float | None]:
        """When something is due."""
        yield self._memory_at
        for slot in self._slots:
            yield slot.look_at

    def due(self, now: float) -> Iterator[Message]:
        """What the agent is to look at."""
        for slot in self._slots:
            if slot.look_at is not None and slot.look_at <= now:
                slot.look_at = None
                if slot.running is not None and slot.sentence is None:
                    yield LookAtItem(slot.number, slot.running.attempt)
        if self._memory_at is not None and self._memory_at <= now:
            busy = tuple(slot.number for slot in self._slots if slot.running is not None and slot.sentence is None)
            self._memory_at = now + self._policy.memory_seconds if busy else None
            if busy:
                yield LookAtMemory(busy)

    def item_seen(self, event: ItemSeen, now: float) -> list[Message]:
        """What a slot is at. An item whose time is up is interrupted from outside too: inside, nobody may come to it.

        If it has not ended although the grace is over as well, the slot is killed.
        """
        slot = self._slots[event.slot]
        held = slot.running
        if held is None or held.attempt != event.attempt or held.is_cancelled or slot.sentence is not None:
            return []
        over = now - (event.began or now) - held.time_limit
        if over < self._policy.grace_seconds:
            slot.look_at = self._next_look(held, event.began or now, now)
            return [NudgeSlot(slot.number)] if over >= 0 else []
        reason = (
            f"{held.time_limit:g} s; its code did not end within {self._policy.grace_seconds:g} s of being interrupted"
        )
        return [self._condemn(slot, Sentence("timeout", reason, event.item, event.began))]

    def memory_used(self, event: MemoryUsed) -> list[Message]:
        """What slots use: those over the limit are killed."""
        told: list[Message] = []
        for number, used in event.used:
            slot = self._slots[number]
            if used > self._memory_bytes > 0 and slot.running is not None and slot.sentence is None:
                told.append(self._condemn(slot, Sentence("crashed", _used(used, self._memory_bytes))))
        return told

    def verdict(self, slot: Slot, held: Slice, event: SlotDied) -> SlotCrashed | SliceEnded:
        """What the hub is told of a slot that has died in this slice."""
        sentence = slot.sentence
        if held.is_cancelled:
            return SliceEnded(held.attempt, "killed")
        if sentence is None:
            return crash(held, event)
        if sentence.kind == "crashed":
            found = crash(held, event)
            return SlotCrashed(found.attempt, found.item, sentence.reason, found.stderr)
        is_same = (event.item, event.began) == (sentence.item, sentence.began)
        if not is_same or not held.reported <= sentence.item < held.stop:
            return SliceEnded(held.attempt, "killed")  # the item has ended after all: the one behind it did nothing
        return SlotCrashed(held.attempt, sentence.item, sentence.reason, event.stderr, kind="timeout")

    def _next_look(self, held: Slice, began: float, now: float) -> float:
        """When an item that began then, or one behind it, may be over its time, or the grace."""
        due = began + held.time_limit
        return max(due if due > now else due + self._policy.grace_seconds, now + self._policy.look_seconds)

    def _condemn(self, slot: Slot, sentence: Sentence) -> KillSlot:
        slot.sentence = sentence
        slot.is_ready = False  # it is given nothing more
        slot.is_expected_to_end = True
        return KillSlot(slot.number)


def _used(used: int, limit: int) -> str:
    """Both in the unit that suits the limit."""
    if limit < GIGABYTE:
        return f"used {used / MEGABYTE:.0f} MB of {limit / MEGABYTE:.0f} MB of memory"
    return f"used {used / GIGABYTE:.1f} GB of {limit / GIGABYTE:.1f} GB of memory"
