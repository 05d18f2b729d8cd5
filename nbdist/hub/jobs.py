"""What the hub keeps of a job beside the scheduler's records: whose it is, its task, items, results, blobs. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from nbdist.hub.items import JobItems
from nbdist.hub.results import JobResults, Spool
from nbdist.wire.frames import Payload
from nbdist.wire.messages import BlobRef, JobFinished, JobProgress, SubmitJob


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
    items: JobItems | None
    item_blobs: dict[int, set[str]] = field(default_factory=dict)
    """First item of a block -> the names of its blobs, which are held for it; some come before the block does."""
    missing: set[str] = field(default_factory=set)
    """Blobs that must come before it can start."""
    attached: bool = True
    """The notebook is connected and knows how far it has come."""
    workers: set[str] = field(default_factory=set)
    """Peers that were told to prepare it: they may get its blobs."""
    progress: JobProgress | None = None
    finished: JobFinished | None = None
    is_released: bool = False
    """The scheduler has forgotten it; it is kept for what its notebook has not fetched yet."""

    @property
    def blobs(self) -> tuple[BlobRef, ...]:
        """All blobs that its task needs."""
        return self.submit.blobs if self.submit.task is None else (self.submit.task, *self.submit.blobs)


def new_record(
    submit: SubmitJob, payload: Payload, peer: str, owner: str, make_spool: Callable[[], Spool]
) -> JobRecord:
    """The record of a job that has just come."""
    counted = bool(submit.ranges) or bool(submit.each)
    return JobRecord(
        job=submit.job,
        peer=peer,
        owner=owner,
        submit=submit,
        task=bytes(payload),
        results=JobResults(make_spool),
        items=None if counted else JobItems(),
    )
