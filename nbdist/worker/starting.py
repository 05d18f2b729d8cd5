"""How slots get their processes: within a limit, again and again, and with a word if that never works. Pure.

A slot that does not start holds no work: what it was given goes back, and once it is known to be down another slot
stands in for it. If no slot is up, this machine refuses its jobs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nbdist.wire.messages import Message
from nbdist.worker.orders import EnvironmentNotInPlace, KillSlot, Say, SlotDied, StartSlot
from nbdist.worker.records import Slot, WorkerPolicy

LAST_WORDS_CHARACTERS = 1_000
"""Of what a process wrote before it failed to come up."""
TODO = (
    "look at what Python does at its start there (sitecustomize.py, .pth files, PYTHONPATH) and at the machine's free "
    "memory, then start the worker again"
)


class Starts:
    """The starts of all slots."""

    def __init__(self, slots: Sequence[Slot], policy: WorkerPolicy) -> None:
        self._slots = slots
        self._policy = policy
        self.problem = ""
        """Why no slot can run anything here; empty: some can, or may soon."""
        self._broken: EnvironmentNotInPlace | None = None

    def begin(self, slot: Slot, now: float) -> Message:
        """Gives the slot a process."""
        slot.start_at = None
        slot.ready_by = now + self._policy.start_seconds
        return StartSlot(slot.number, slot.environment)

    def came_up(self, slot: Slot) -> list[Message]:
        """The slot's process is ready."""
        slot.is_ready = True
        slot.failed_starts = 0
        slot.ready_by = None
        if not self.problem:
            return []
        self.problem = ""
        return [Say("slots start again; new jobs run here")]

    def failed(self, slot: Slot, event: SlotDied, now: float) -> list[Message]:
        """The slot's process ended, or was killed, before it was ready. Another one is tried after a pause."""
        reason = event.reason
        if slot.is_overdue:
            reason = f"not ready after {self._policy.start_seconds:g} s"
        slot.is_overdue = False
        slot.ready_by = None
        slot.start_at = now + slot.next_pause(self._policy)
        if slot.environment:
            if self.is_down(slot):
                self._broken = EnvironmentNotInPlace(
                    slot.environment, event.stderr, f"slots do not start in it: {reason}"
                )
                slot.environment, slot.failed_starts, slot.start_at = "", 0, now
            return []
        if self.problem or not self.is_down(slot) or any(other.is_ready for other in self._slots):
            return []
        words = event.stderr[-LAST_WORDS_CHARACTERS:].strip()
        said = f", its last words: {words.splitlines()[-1]}" if words else ""
        self.problem = f"slots cannot start on this machine: {slot.failed_starts} in a row have failed ({reason}{said})"
        told = f"slots cannot start on this machine: {slot.failed_starts} in a row have failed ({reason}); {TODO}. "
        told += f"Last words of the process:\n{words}" if words else "The process has written nothing"
        return [Say(told)]

    def take_broken(self) -> EnvironmentNotInPlace | None:
        """The environment whose interpreter the last slot did not start with, again and again. Told once."""
        broken, self._broken = self._broken, None
        return broken

    def is_down(self, slot: Slot) -> bool:
        """Whether the slot has failed to start too often to be given anything."""
        return slot.failed_starts >= self._policy.failed_starts

    def stand_in(self, slot: Slot) -> Slot:
        """Who runs what the slot is given: itself, or while it is down the slot with the least to do that is up."""
        if not self.is_down(slot):
            return slot
        up = [other for other in self._slots if other.is_ready]
        return min(up, key=lambda other: len(other.waiting) + (other.running is not None), default=slot)

    def times(self) -> Iterator[float | None]:
        """When something is due."""
        for slot in self._slots:
            yield slot.kill_at
            yield slot.start_at
            yield slot.ready_by

    def due(self, now: float) -> Iterator[Message]:
        """What is due by the clock: what takes too long to start or to stop is killed, and starts after a pause."""
        for slot in self._slots:
            if slot.kill_at is not None and slot.kill_at <= now:
                slot.kill_at = None
                slot.is_ready = False  # it is given nothing more, even if what it runs ends just now
                slot.is_expected_to_end = True
                yield KillSlot(slot.number)
            if slot.ready_by is not None and slot.ready_by <= now:
                slot.ready_by = None
                slot.is_overdue = True
                yield KillSlot(slot.number)
            if slot.start_at is not None and slot.start_at <= now:
                yield self.begin(slot, now)
