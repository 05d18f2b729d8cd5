"""What scheduler and hub say to each other inside the hub's process, beside the messages of the wire.

Inputs come from the hub's doors and stores; outputs go to `STORES`, which keeps what the scheduler never sees.
"""

from __future__ import annotations

from dataclasses import dataclass

from nbdist.wire.messages import Acknowledge, BlobRef, GrantItems, JobFinished, Message, PortableTask, SubmitJob

STORES = "stores"
"""The peer that keeps payloads and the journal. What it is sent is what a scheduler that is started anew must know
again (`kept.py`), in this order:

- `JobTaken`, `OwnerChanged`, `TargetsSet`, `ItemsTaken`, `ItemsClosed`, `ItemTried`, `JobStopping`, `JobEnded`: how a
  job stands;
- `PortableTask`: the task of a job for other versions of Python, or why there is none;
- `WorkerHere`, `WorkerGone`: who will come back after a restart;
- `Result`: keep the payload of the part that is being dealt with (or none, if the result has a `fault`), number it
  `seq`, and deliver it to the job's notebook as its credit allows;
- `DropItems`: blocks of items that nobody needs any more may go;
- `ForgetJob`: everything of the job may go;
- `ReleaseJob`: everything of the job may go once its notebook has the results, or is gone.
"""

AFTER_KEEPING = (Acknowledge, JobFinished, GrantItems)
"""What peers are told only once everything that the stores were sent before is kept: they let go of their copies."""


@dataclass(frozen=True, slots=True)
class PeerClosed(Message):
    """Input: the peer's connection is gone."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class BytesCame(Message):
    """Input: of a worker's message that is long on its way, some bytes have come: it lives, and is not silent."""


@dataclass(frozen=True, slots=True)
class BlobsReady(Message):
    """Input: all blobs of the job are here."""

    job: str


@dataclass(frozen=True, slots=True)
class JobTaken(Message):
    """Output: the notebook `owner` has a new job here."""

    owner: str
    spec: SubmitJob
    grant: str = ""
    """The id of its credential, which only the stores know."""


@dataclass(frozen=True, slots=True)
class Resumption(Message):
    """Input, in place of its `SubmitJob`: a job that resumes another, and what the stores know of that."""

    spec: SubmitJob
    lost: tuple[tuple[int, int], ...] = ()
    """Items whose results are not kept any more."""
    problem: str = ""
    """Why it cannot be resumed."""


@dataclass(frozen=True, slots=True)
class OwnerChanged(Message):
    """Input, and then output: another notebook of the same person has taken the job over."""

    job: str
    owner: str


@dataclass(frozen=True, slots=True)
class TargetsSet(Message):
    """Output: the items of a job for each machine or slot, in order, are meant for these."""

    job: str
    targets: tuple[tuple[str, int], ...]
    """(worker's id, slot or -1)."""


@dataclass(frozen=True, slots=True)
class ItemsTaken(Message):
    """Output: a block of items has come."""

    job: str
    start: int
    stop: int
    size: int
    blobs: tuple[BlobRef, ...] = ()
    """What is large in it."""
    native: str = ""
    """Why it is only for the notebook's version of Python."""


@dataclass(frozen=True, slots=True)
class ItemsClosed(Message):
    """Output: the job has so many items."""

    job: str
    total: int


@dataclass(frozen=True, slots=True)
class ResultsDropped(Message):
    """What the stores tell themselves: the oldest results, up to number `seq`, were consumed and are kept no more."""

    job: str
    seq: int
    done: tuple[tuple[int, int], ...]
    failed_items: int = 0
    first_failed: int | None = None


@dataclass(frozen=True, slots=True)
class ResultsTaken(Message):
    """… : the notebook has dealt with the results up to number `seq`."""

    job: str
    seq: int


@dataclass(frozen=True, slots=True)
class ResultsSealed(Message):
    """… : a file of results is full, and this is what it has. Who starts anew need not read it."""

    job: str
    number: int
    """Of the file."""
    size: int
    """Of the file, in bytes."""
    weight_bytes: int
    """What its results come to, blobs included."""
    last: int
    """The number of its newest result."""
    done: tuple[tuple[int, int], ...]
    failed_items: int = 0
    first_failed: int | None = None
    stopped_at: int | None = None
    blobs: tuple[tuple[int, BlobRef], ...] = ()
    """By the number of the result whose payload each is."""
    again: tuple[tuple[int, int], ...] = ()
    """Of `done`, what a job runs again that resumes this one (`resuming.again`)."""


@dataclass(frozen=True, slots=True)
class ItemTried(Message):
    """Output: how often an item that is not done has crashed a slot, vanished with a worker and raised."""

    job: str
    item: int
    crashes: int
    losses: int
    failures: int


@dataclass(frozen=True, slots=True)
class JobStopping(Message):
    """Output: the job was cancelled, and ends as soon as nothing of it runs."""

    job: str
    reason: str


@dataclass(frozen=True, slots=True)
class JobEnded(Message):
    """Output: the job is over."""

    finished: JobFinished


@dataclass(frozen=True, slots=True)
class WorkerHere(Message):
    """Output: a worker has joined."""

    worker: str


@dataclass(frozen=True, slots=True)
class WorkerGone(Message):
    """Output: a worker has left or was lost."""

    worker: str


@dataclass(frozen=True, slots=True)
class KeptJob(Message):
    """Input, before any other: a job as it stood when the hub ended."""

    owner: str
    spec: SubmitJob
    total: int | None = None
    available: int = 0
    blocks: tuple[ItemsTaken, ...] = ()
    """Those that are not finished."""
    targets: tuple[tuple[str, int], ...] = ()
    done: tuple[tuple[int, int], ...] = ()
    """Here, and of the items that have come also in earlier jobs."""
    ahead: tuple[tuple[int, int], ...] = ()
    """Those of the others that are done in earlier jobs …"""
    resumed_total: int | None = None
    """… and how many items these had."""
    again: tuple[tuple[int, int], ...] = ()
    seq: int = 0
    failed_items: int = 0
    first_failed: int | None = None
    """An item that raised or has no value."""
    stopped_at: int | None = None
    tried: tuple[ItemTried, ...] = ()
    portable: PortableTask | None = None
    stopping: JobStopping | None = None
    finished: JobFinished | None = None
    age_seconds: float = 0.0
    """Since it was submitted …"""
    ended_seconds: float = 0.0
    """… and since it ended, by the clock on the wall."""


@dataclass(frozen=True, slots=True)
class Restarted(Message):
    """Input, after the last `KeptJob`: these workers were here when the hub ended, and will come back."""

    workers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoresFull(Message):
    """Input: nothing can be kept at present, or it can again. Nothing new is begun meanwhile."""

    is_full: bool


@dataclass(frozen=True, slots=True)
class ResultsWait(Message):
    """Input: so many bytes of a job's results wait for its notebook, where there are `free_bytes` more. Said again when
    it has changed by much."""

    job: str
    waiting_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class DropItems(Message):
    """Output: the block of items `[start, stop)` is finished."""

    job: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class ReleaseJob(Message):
    """Output: the scheduler remembers this ended job no more."""

    job: str


@dataclass(frozen=True, slots=True)
class Disconnect(Message):
    """Output, to a peer: it broke the protocol or was replaced. The hub sends `Refused` and closes the connection."""

    code: str
    reason: str
    todo: str = ""
