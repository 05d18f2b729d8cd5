"""What the hub keeps of a job beside the scheduler's records: whose it is, its task, items, results, blobs. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from nbdist.hub.items import JobItems
from nbdist.hub.resultlog import ResultLog
from nbdist.hub.results import JobResults
from nbdist.scheduler.intervals import Intervals
from nbdist.scheduler.orders import ResultsDropped, ResultsSealed
from nbdist.wire.frames import Payload
from nbdist.wire.messages import BlobRef, JobFinished, JobProgress, PortableTask, SubmitJob


@dataclass(slots=True)
class Dropped:
    """The oldest results, which were consumed and are kept no more."""

    seq: int = 0
    done: Intervals = field(default_factory=Intervals)
    failed_items: int = 0
    first_failed: int | None = None

    def add(self, sealed: ResultsSealed) -> None:
        """Those of one more file."""
        self.seq = sealed.last
        for start, stop in sealed.done:
            self.done.add(start, stop)
        self.failed_items += sealed.failed_items
        if self.first_failed is None:
            self.first_failed = sealed.first_failed

    def record(self, job: str) -> ResultsDropped:
        """As the journal keeps it."""
        return ResultsDropped(job, self.seq, tuple(self.done), self.failed_items, self.first_failed)


@dataclass(slots=True)
class JobRecord:
    """One job."""

    job: str
    peer: str
    """The notebook that gets its results."""
    owner: str
    """The id of the grant with which it was submitted; others may not touch it."""
    submit: SubmitJob
    task: bytes
    """The packed task, unless it is a blob."""
    results: JobResults
    log: ResultLog
    items: JobItems | None
    item_blobs: dict[int, set[str]] = field(default_factory=dict)
    """First item of a block -> the names of its blobs, which are held for it; some come before the block does."""
    missing: set[str] = field(default_factory=set)
    """Blobs that must come before it can start."""
    portable: PortableTask | None = None
    """The form for other versions of Python, or why there is none …"""
    portable_task: bytes = b""
    """… and the packed task of that, unless it is a blob."""
    portable_missing: set[str] = field(default_factory=set)
    """Blobs of it that must come before the scheduler hears of it."""
    restored_seq: int | None = None
    """After a restart, until its notebook is back: the number of the last result that was found."""
    attached: bool = True
    """The notebook is connected and knows how far it has come."""
    workers: set[str] = field(default_factory=set)
    """Peers that were told to prepare it: they may get its blobs."""
    progress: JobProgress | None = None
    finished: JobFinished | None = None
    ended_at: float = 0.0
    taken_at: float = 0.0
    """When it ended, and when its notebook last took results: by the clock on the wall."""
    result_blobs: dict[int, BlobRef] = field(default_factory=dict)
    """Number of a result in the log -> the blob that is its payload."""
    told_waiting_bytes: int = 0
    """So much of its results waited for its notebook when the scheduler was told last."""
    dropped: Dropped = field(default_factory=lambda: Dropped())
    """What the results come to that are not in the log any more."""
    failed_items: int = 0
    is_torn: bool = False
    """After a restart some of its results were not found."""
    is_left: bool = False
    """Its notebook has told to forget it; it is kept for whoever runs the same cell again."""
    former: set[str] = field(default_factory=set)
    """Notebooks that it was taken from while they were away."""
    is_unwanted: bool = False
    """It would be forgotten if no later job had taken over what it has done (`chains.py`)."""
    is_released: bool = False
    """The scheduler has forgotten it; it is kept for what its notebook has not fetched yet."""

    @property
    def blobs(self) -> tuple[BlobRef, ...]:
        """All blobs that its task needs, in whichever form."""
        if self.portable is None:
            return self.blobs_of_task
        more = () if self.portable.task is None else (self.portable.task,)
        return tuple(dict.fromkeys((*self.blobs_of_task, *more, *self.portable.blobs)))

    @property
    def blobs_of_task(self) -> tuple[BlobRef, ...]:
        """Those of the form that was submitted."""
        return self.submit.blobs if self.submit.task is None else (self.submit.task, *self.submit.blobs)


def new_record(submit: SubmitJob, payload: Payload, peer: str, owner: str, log: ResultLog) -> JobRecord:
    """The record of a job that has just come."""
    counted = bool(submit.ranges) or bool(submit.each)
    return JobRecord(
        job=submit.job,
        peer=peer,
        owner=owner,
        submit=submit,
        task=bytes(payload),
        results=JobResults(log),
        log=log,
        items=None if counted else JobItems(),
    )
