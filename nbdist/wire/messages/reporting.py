"""What a worker says to the hub."""

from __future__ import annotations

from dataclasses import dataclass

from nbdist.wire.messages.records import Attempt, BlobRef, FaultKind, HeldAttempt, Message, RunningItem, Stream


@dataclass(frozen=True, slots=True)
class WorkerFacts(Message):
    """What the worker holds, right after `Welcome`; unacknowledged parts follow as ordinary `Part`s.

    It comes in as many messages as it takes to keep each header within its bound, and counts once the last is there.
    """

    held: tuple[HeldAttempt, ...] = ()
    ready_jobs: tuple[str, ...] = ()
    more: bool = False
    """Another message of the same kind follows."""


@dataclass(frozen=True, slots=True)
class InstalledPackages(Message):
    """What is installed on the worker's machine: right after a `Welcome` that asks for it, and when it has changed.

    It comes in as many messages as it takes (`installed.py`), and counts once the last is there.
    """

    digest: str
    """Of the whole list."""
    packages: tuple[tuple[str, str], ...] = ()
    """(normalized name of a distribution, version)."""
    modules: tuple[str, ...] = ()
    """Top-level modules that can be imported there."""
    more: bool = False
    """Another message of the same kind follows."""


@dataclass(frozen=True, slots=True)
class Heartbeat(Message):
    """The worker lives; every two seconds, and never instead of anything else.

    A worker of many slots sends several, each with some of them.
    """

    running: tuple[RunningItem, ...] = ()
    load: float = 0.0
    """Of the machine: the one-minute load average over its cores."""
    memory_used_bytes: int = 0


@dataclass(frozen=True, slots=True)
class JobReady(Message):
    """Everything that the job needs is in place on this machine."""

    job: str


@dataclass(frozen=True, slots=True)
class Preparing(Message):
    """What is being done on this machine before it can run the job: a few words, every half second at most."""

    job: str
    what: str
    """`fetching 412 MB of 1.2 GB`"""


@dataclass(frozen=True, slots=True)
class JobRefused(Message):
    """This machine cannot run the job."""

    job: str
    reason: str
    todo: str = ""
    """The line to type on that machine, if one helps."""
    again_seconds: float = 0.0
    """The reason may be over by then: the hub asks again. 0: it does not."""
    setup: bool = False
    """The user's own code has failed, as it may everywhere: a setup, or what objects do when they are unpacked."""


@dataclass(frozen=True, slots=True)
class Part(Message):
    """Results of `[start, stop)` of an attempt, in order. Payload: packed runs, unless `blob` names one."""

    job: str
    attempt: Attempt
    start: int
    stop: int
    seconds: float
    """Execution time of these items by the slot's own clock."""
    final: bool
    """The attempt ends with this part; its stop may have been cut meanwhile."""
    failed: tuple[int, ...] = ()
    """Items whose code raised (at most `frames.MAX_FAILED_PER_PART`). If the job has retries or stops on errors, a
    failed item is a part of its own."""
    stopped_at: int | None = None
    blob: BlobRef | None = None
    reasons: tuple[str, ...] = ()
    """What the first of `failed` raised, in one line each, for people who look at the hub."""
    files_at: int = 0
    """Not 0: in the blob the payload ends here; what follows are files that these items have written."""


@dataclass(frozen=True, slots=True)
class SliceCut(Message):
    """The attempt now ends at `stop` (or where it ended before, whichever is lower); the rest is given back.

    The answer to `TrimSlice`, and sent without being asked by a worker that leaves. `stop` at the attempt's start: the
    attempt is over, and nothing else follows for it.
    """

    attempt: Attempt
    stop: int


@dataclass(frozen=True, slots=True)
class SliceEnded(Message):
    """The attempt is over without a final part: cancelled, or never begun; what it has not reported is given back."""

    attempt: Attempt
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SliceBegun(Message):
    """The blobs of the attempt are here, its setups have run, and its slot has begun (from slot to worker to hub).

    Until then it was getting data or setting up, and not slow.
    """

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class SetupBegun(Message):
    """Before the items of this attempt its slot runs a setup, from slot to worker to hub. `SliceBegun` follows."""

    attempt: Attempt
    name: str


@dataclass(frozen=True, slots=True)
class SlotCrashed(Message):
    """The slot's process died in this item. The attempt is over, the slot has a fresh process."""

    attempt: Attempt
    item: int
    reason: str
    stderr: str = ""
    kind: FaultKind = "crashed"
    """"unsent": the process lives; the hub does not take the results from this item on. "unfetched": the slice has not
    begun; the hub does not have its data. "timeout": the item took longer than the job's time limit and did not end
    when it was interrupted; it counts as a failure."""


@dataclass(frozen=True, slots=True)
class Leaving(Message):
    """The worker finishes its running items and takes no more."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Output(Message):
    """Text that user code wrote while it ran this item, from slot to worker to hub to notebook. Payload: UTF-8."""

    job: str
    attempt: Attempt
    item: int
    stream: Stream
    worker: str = ""
    """The machine's name; the hub fills it in."""
    cut_bytes: int = 0
    """How many bytes were left out after this text, because the slice wrote more than its bound."""
    setup: str = ""
    """The setup that wrote it, before the item."""
