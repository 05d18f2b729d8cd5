"""Events of a job -> a snapshot of how far it is. Pure: the time comes with the events."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from nbdist.engines.base import Sending
from nbdist.wire.messages import JobFinished, JobProgress, Notice, Outcome, WorkerRow
from nbdist.wire.units import size_text

RATE_MEMORY_SECONDS = 10.0
"""The speed that the estimate rests on is the mean of about so many seconds; at first, of all."""
MIN_SECONDS_FOR_ETA = 1.0
MAX_NOTICES = 50
"""The oldest are dropped."""


@dataclass(frozen=True, slots=True)
class Sent:
    """How much of the data that a job takes along has gone to the hub."""

    sent_bytes: int
    total_bytes: int
    bytes_per_second: float

    def __str__(self) -> str:
        rate = f", {size_text(self.bytes_per_second)}/s" if self.bytes_per_second else ""
        return f"{size_text(self.sent_bytes)} of {size_text(self.total_bytes)}{rate}"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is."""

    done: int = 0
    """Items that are finished, failed ones among them."""
    taken: int = 0
    """Those of them that were done in an earlier job: speed and estimate are of the others alone."""
    total: int | None = None
    failed: int = 0
    queued: int = 0
    elapsed_seconds: float = 0.0
    items_per_second: float = 0.0
    eta_seconds: float | None = None
    """Estimated time to the end; None where nothing can be said yet."""
    running_slots: int = 0
    machines: tuple[WorkerRow, ...] = ()
    more_machines: int = 0
    """Machines that have no row here."""
    sending: Sent | None = None
    """While data goes from here to the hub; None: nothing does."""
    notices: tuple[Notice, ...] = ()
    outcome: Outcome | None = None

    @property
    def fraction(self) -> float | None:
        """The part that is done, 0 to 1; None while the number of items is not known."""
        if self.total is None:
            return None
        return min(1.0, self.done / self.total) if self.total else 1.0

    def __str__(self) -> str:
        of = f"{self.done:,}" + (f" of {self.total:,}" if self.total is not None else "")
        parts = [of, f"{self.items_per_second:,.3g} items/s"]
        if self.sending is not None:
            parts.append(f"sending {self.sending}")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if self.outcome is not None:
            parts.append(f"{self.outcome} after {seconds_text(self.elapsed_seconds)}")
        elif self.eta_seconds is not None:
            parts.append(f"{seconds_text(self.eta_seconds)} left")
        return ", ".join(parts)


class ProgressTracker:
    """Keeps the snapshot of one job up to date."""

    def __init__(self, total: int | None) -> None:
        self.now = Progress(total=total)
        self._recent_items = self._recent_seconds = 0.0
        self._counted_items = 0
        self._counted_seconds = 0.0

    def taken_over(self, count: int) -> None:
        """So many items were done in an earlier job, in all."""
        self.now = replace(self.now, done=max(count, self.now.done), taken=count)
        self._counted_items = max(count, self._counted_items)

    def received(self, done: int, failed: int) -> None:
        """So many items have come with results: what is known before the next report of the engine."""
        if done > self.now.done or failed > self.now.failed:
            self.now = replace(self.now, done=max(done, self.now.done), failed=max(failed, self.now.failed))

    def reported(self, message: JobProgress) -> None:
        """The engine's view of the job."""
        if self.now.outcome is not None:
            return
        done = max(message.done, self.now.done)
        self._count(done, message.elapsed_seconds)
        self.now = replace(
            self.now,
            done=done,
            total=message.total if message.total is not None else self.now.total,
            failed=max(message.failed, self.now.failed),
            queued=message.queued,
            elapsed_seconds=message.elapsed_seconds,
            items_per_second=message.items_per_second,
            eta_seconds=self._eta(done, message),
            running_slots=message.running_slots,
            machines=message.workers,
            more_machines=message.more_workers,
        )

    def sent(self, message: Sending) -> None:
        """So much of its data has gone."""
        if self.now.outcome is None:
            rate = message.sent_bytes / message.seconds if message.seconds > 0 else 0.0
            is_over = message.sent_bytes >= message.total_bytes
            sending = None if is_over else Sent(message.sent_bytes, message.total_bytes, rate)
            self.now = replace(self.now, sending=sending)

    def noticed(self, message: Notice) -> None:
        """Something that the person should see."""
        if message not in self.now.notices:
            self.now = replace(self.now, notices=(*self.now.notices, message)[-MAX_NOTICES:])

    def finished(self, message: JobFinished, elapsed_seconds: float) -> None:
        """The job has ended; `elapsed_seconds` is the time since it was submitted, by this process's clock."""
        elapsed = max(elapsed_seconds, self.now.elapsed_seconds)
        total = message.total if message.total is not None else self.now.total
        done = total if message.outcome == "done" and total is not None else self.now.done
        self.now = replace(
            self.now,
            done=done,
            total=total,
            queued=0,
            running_slots=0,
            eta_seconds=None,
            sending=None,
            elapsed_seconds=elapsed,
            items_per_second=max(0, done - self.now.taken) / elapsed if elapsed > 0 else 0.0,
            outcome=message.outcome,
        )

    def _count(self, done: int, elapsed: float) -> None:
        """Adds what was done since the last report to sums in which the past fades."""
        span = elapsed - self._counted_seconds
        if span <= 0:
            return
        fading = math.exp(-span / RATE_MEMORY_SECONDS)
        self._recent_items = self._recent_items * fading + done - self._counted_items
        self._recent_seconds = self._recent_seconds * fading + span
        self._counted_items, self._counted_seconds = done, elapsed

    def _eta(self, done: int, message: JobProgress) -> float | None:
        if message.total is None or self._recent_items <= 0 or message.elapsed_seconds < MIN_SECONDS_FOR_ETA:
            return None
        return max(0.0, (message.total - done) * self._recent_seconds / self._recent_items)


def seconds_text(seconds: float) -> str:
    """A duration for people: `0.12 s`, `45 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds >= 0.001 else "0 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
