"""How long a job ran, sent and waited, from what its engine reports. Pure: the time comes with the reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from nbdist.wire.messages import JobProgress, WorkerRow

Doing = Literal["running", "sending", "waiting"]


def _nothing() -> dict[Doing, float]:
    return {"running": 0.0, "sending": 0.0, "waiting": 0.0}


@dataclass
class Spans:
    """Seconds by what was done; what was reported last goes on until the next report."""

    seconds: dict[Doing, float] = field(default_factory=_nothing)
    since: float = 0.0
    doing: Doing | None = None

    def now(self, at: float, doing: Doing | None) -> None:
        """From `at` on this is done; None: nothing any more."""
        if self.doing is not None:
            self.seconds[self.doing] += max(0.0, at - self.since)
        self.since, self.doing = at, doing


class Activity:
    """What a job did when: as a whole, and each machine since it was first seen."""

    def __init__(self) -> None:
        self.job = Spans()
        self.machines: dict[str, Spans] = {}
        self.slots: dict[str, int] = {}
        """Of each machine."""
        self.left_out: set[str] = set()
        """Machines that could not run it, when they were last heard of."""
        self._last = 0.0

    def reported(self, message: JobProgress) -> None:
        """The engine's view of the job; `elapsed_seconds` is the time."""
        self._last = at = max(self._last, message.elapsed_seconds)
        found = {row.name: row for row in message.workers}
        for name, row in found.items():
            self.machines.setdefault(name, Spans()).now(at, _doing(row))
            self.slots[name] = max(row.slots, self.slots.get(name, 1))
            (self.left_out.add if row.state == "refused" else self.left_out.discard)(name)
        for name in self.machines.keys() - found.keys():
            self.machines[name].now(at, None)
        is_preparing = any(row.state == "preparing" for row in message.workers)
        self.job.now(at, "running" if message.running_slots else "sending" if is_preparing else "waiting")

    def finished(self) -> None:
        """The job has ended: nothing goes on."""
        for spans in (self.job, *self.machines.values()):
            spans.now(self._last, None)


def _doing(row: WorkerRow) -> Doing | None:
    if row.state in ("refused", "lost"):
        return None
    if row.running:
        return "running"
    return "sending" if row.state == "preparing" else "waiting"
