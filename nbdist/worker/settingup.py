"""Slots that run setups before the items of a slice, and some that die of it. Pure.

No item is blamed for that: the slice goes back, and after a few deaths in a row the job does not run on this machine.
"""

from __future__ import annotations

from nbdist.wire.messages import JobRefused, SetupBegun, SliceBegun, SliceEnded, SlotCrashed
from nbdist.worker.records import Slice, WorkerPolicy


class SettingUp:
    """Of each job, how many slots have died in its setups since one has got through."""

    def __init__(self, policy: WorkerPolicy) -> None:
        self._policy = policy
        self._deaths: dict[str, int] = {}

    def receive(self, held: Slice, message: SetupBegun | SliceBegun) -> None:
        """The slot of this slice runs a setup, or has run all of them."""
        if isinstance(message, SetupBegun):
            held.setup = message.name
        else:
            held.setup = ""
            self.forget(held.job)

    def died(self, held: Slice, verdict: SlotCrashed | SliceEnded) -> list[SlotCrashed | SliceEnded | JobRefused]:
        """The slot has died in this slice: what the hub is told instead, if that was in a setup."""
        if not held.setup or isinstance(verdict, SliceEnded):
            return [verdict]
        deaths = self._deaths[held.job] = self._deaths.get(held.job, 0) + 1
        ended = SliceEnded(held.attempt, f"its slot died in setup {held.setup!r}: {verdict.reason}")
        if deaths < self._policy.max_setup_crashes:
            return [ended]
        self.forget(held.job)
        reason = f"setup {held.setup!r} has ended its process {deaths} times in a row: {verdict.reason}"
        words = verdict.stderr.strip().splitlines()[-1:]
        return [JobRefused(held.job, "\n".join([reason, *words]), setup=True), ended]

    def forget(self, job: str) -> None:
        """The job is over, or its setups run."""
        self._deaths.pop(job, None)
