"""What a worker states of itself, in messages that fit a frame's header whatever its number of slots. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from nbdist.wire.messages import (
    Heartbeat,
    HeldAttempt,
    JobRefused,
    Message,
    RunningItem,
    SliceEnded,
    SlotCrashed,
    WorkerFacts,
)
from nbdist.worker.orders import ItemsNotInPlace, SlotDied
from nbdist.worker.records import Slice, Slot

FACTS_PER_MESSAGE = 150
"""Held attempts, or jobs: of at most 300 bytes each in a header of 64 KiB."""
ITEMS_PER_HEARTBEAT = 400
"""… of at most 120 bytes each."""

T = TypeVar("T")


def held_by(slots: Sequence[Slot]) -> Iterator[HeldAttempt]:
    """What slots were given; the first of each counts as running, even if its process or its data is still to come."""
    homes: dict[int, list[Slice]] = {}
    for slot in slots:
        for held in [*([] if slot.running is None else [slot.running]), *slot.waiting]:
            if not held.is_foreign:
                homes.setdefault(held.home, []).append(held)
    for home, slices in homes.items():
        for place, held in enumerate(slices):
            is_early = held.is_fetching or bool(held.setup)
            yield HeldAttempt(held.job, held.attempt, home, held.reported, held.stop, place == 0, is_early)


def running_in(slots: Sequence[Slot]) -> Iterator[RunningItem]:
    """What slots are at, as far as their parts tell."""
    for slot in slots:
        if slot.running is not None and not slot.running.is_foreign:
            yield RunningItem(slot.number, slot.running.attempt, slot.running.reported)


def state_facts(
    held: Iterable[HeldAttempt], ready_jobs: Sequence[str], at_most: int = FACTS_PER_MESSAGE
) -> Iterator[WorkerFacts]:
    """The facts, in as many messages as they take; a slot's running attempt comes before the one that waits there."""
    held = tuple(held)
    if len(held) + len(ready_jobs) <= at_most:
        yield WorkerFacts(held, tuple(ready_jobs))
        return
    messages = [WorkerFacts(ready_jobs=piece) for piece in _pieces(ready_jobs, at_most)]
    messages += [WorkerFacts(held=piece) for piece in _pieces(held, at_most)]
    for message in messages[:-1]:
        yield WorkerFacts(message.held, message.ready_jobs, more=True)
    yield messages[-1]


def state_life(running: Iterable[RunningItem], at_most: int = ITEMS_PER_HEARTBEAT) -> Iterator[Heartbeat]:
    """What the slots are at; each message counts by itself, and there is one even if nothing runs."""
    pieces = list(_pieces(running, at_most))
    return map(Heartbeat, pieces or [()])


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


def _pieces(values: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    rest = iter(values)
    while piece := tuple(islice(rest, size)):
        yield piece
