"""What a worker says of what its slots hold. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nbdist.wire.messages import Heartbeat, HeldAttempt, JobRefused, Message, RunningItem, SliceEnded, SlotCrashed
from nbdist.worker.orders import ItemsNotInPlace, SlotDied
from nbdist.worker.records import Slice, Slot


def held_attempts(slots: Sequence[Slot]) -> Iterator[HeldAttempt]:
    """What the slots hold; the first of each counts as running, even if its process or its data is still to come."""
    for slot in slots:
        slices = [slot.running, *slot.waiting] if slot.running is not None else [*slot.waiting]
        for place, held in enumerate(held for held in slices if not held.is_foreign):
            yield HeldAttempt(
                held.job, held.attempt, slot.number, held.reported, held.stop, place == 0, held.is_fetching
            )


def heartbeat(slots: Sequence[Slot]) -> Heartbeat:
    """What the slots run."""
    return Heartbeat(
        tuple(
            RunningItem(slot.number, slot.running.attempt, slot.running.reported)
            for slot in slots
            if slot.running is not None and not slot.running.is_foreign
        )
    )


def not_fetched(held: Slice, event: ItemsNotInPlace) -> list[Message]:
    """The data of this slice, which has not begun, does not come: its first item is to blame, or this machine.

    A machine that has no room or no way for it has no more part in the job.
    """
    if event.is_gone:
        return [SlotCrashed(held.attempt, held.start, event.reason, kind="unfetched")]
    return [JobRefused(held.job, event.reason, event.todo), SliceEnded(held.attempt, event.reason)]


def crash(held: Slice, event: SlotDied) -> SlotCrashed:
    """The slot has died in this slice: in an item of it that was not reported."""
    item = min(max(event.item, held.reported), max(held.start, held.stop - 1))
    return SlotCrashed(held.attempt, item, event.reason, event.stderr)
