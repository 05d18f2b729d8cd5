"""What the hub says to a worker."""

from __future__ import annotations

from dataclasses import dataclass

from nbdist.wire.messages.asking import SubmitJob
from nbdist.wire.messages.records import Attempt, BlobFile, BlobRef, Bundle, JobOptions, Message, Package


@dataclass(frozen=True, slots=True)
class JobKnown(Message):
    """A job that a notebook may attach to; payload: its packed task, unless `spec` names it as a blob."""

    spec: SubmitJob
    available: int
    """So many items have come …"""
    total: int | None
    """… of so many; None: more were to come."""
    ended_seconds: float | None = None
    """So long ago it ended; None: it goes on."""
    outcome: str = ""
    """An `Outcome`; empty: it has not ended; `stopping`: it is about to."""
    left: int | None = None
    """So many items would a job run that resumes it; None: that is not known."""
    earlier: tuple[tuple[str, str], ...] = ()
    """The jobs whose results it has taken over, newest first: (id, `SubmitJob.code`)."""


@dataclass(frozen=True, slots=True)
class PrepareJob(Message):
    """Get everything in place before the first slice. Payload: the packed task, unless `task` names a blob."""

    job: str
    options: JobOptions
    task: BlobRef | None = None
    blobs: tuple[BlobRef, ...] = ()
    ranges: tuple[tuple[int, int, int], ...] = ()
    each: bool = False
    modules: tuple[str, ...] = ()
    bundles: tuple[Bundle, ...] = ()
    install: tuple[Package, ...] = ()
    """What the worker does not have as the job needs it: it makes an environment with all of these first."""
    portable: bool = False
    """The worker's Python is not the notebook's: the task is in the form for every version, and so are results."""


@dataclass(frozen=True, slots=True)
class RunSlice(Message):
    """Run items `[start, stop)` after what the slot has. Payload: block pieces covering them, if the job has blocks."""

    job: str
    attempt: Attempt
    slot: int
    start: int
    stop: int
    blobs: tuple[BlobRef, ...] = ()
    """What the pieces refer to: the worker gets it before the slot begins, and then says `SliceBegun`."""
    files: tuple[BlobFile, ...] = ()
    """From worker to slot: where that lies."""


@dataclass(frozen=True, slots=True)
class TrimSlice(Message):
    """Give away this share (0 < give <= 1) of what the slot has not claimed of the attempt; answered by `SliceCut`.

    A slice that still waits has claimed nothing: `give=1` recalls it whole.
    """

    attempt: Attempt
    give: float


@dataclass(frozen=True, slots=True)
class CancelAttempt(Message):
    """Stop the attempt, running or waiting; it ends with `SliceEnded`."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Acknowledge(Message):
    """All parts of these attempts up to the index are safe at the hub: the worker may forget them."""

    parts: tuple[tuple[Attempt, int], ...]


@dataclass(frozen=True, slots=True)
class LeavePool(Message):
    """Finish running items, give the rest back and go."""

    reason: str


@dataclass(frozen=True, slots=True)
class RenewSlots(Message):
    """Replace every slot that is idle, or as soon as it is, by a fresh process."""
