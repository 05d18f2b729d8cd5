"""What of the stores outlives the hub: the journal of jobs, and the logs of their results, in one directory."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from nbdist.hub.jobs import JobRecord
from nbdist.hub.journal import Journal, JournalError
from nbdist.hub.limits import KEEP_SECONDS
from nbdist.hub.resultlog import ResultLog
from nbdist.hub.statedir import DAMAGED_PREFIX, damaged_name, free_bytes, make_private
from nbdist.scheduler import orders
from nbdist.scheduler.kept import Kept
from nbdist.scheduler.orders import (
    DropItems,
    ItemsTaken,
    JobEnded,
    JobTaken,
    KeptJob,
    ResultsDropped,
    ResultsSealed,
    ResultsTaken,
)
from nbdist.wire.frames import Payload
from nbdist.wire.messages import BlobRef, Message, PortableTask, SubmitJob

RESULTS_FOLDER = "results"

log = logging.getLogger("nbdist.hub")

_REPLACED = (orders.ItemTried, orders.OwnerChanged)
_PLAIN = (orders.TargetsSet, orders.ItemsClosed, orders.JobStopping)


@dataclass(slots=True)
class FoundJob:
    """A job of an earlier hub."""

    kept: KeptJob
    grant: str
    task: bytes
    log: ResultLog
    portable: bytes = b""
    """The task for other versions of Python."""
    blocks: list[tuple[ItemsTaken, bytes]] = field(default_factory=list)
    """Those that came, in order; a finished one without its bytes."""
    result_blobs: dict[int, BlobRef] = field(default_factory=dict)
    """Number of a result in the log -> the blob that is its payload."""
    sealed: dict[int, ResultsSealed] = field(default_factory=dict)
    """By the number of the file: what is known of it."""
    dropped: ResultsDropped | None = None
    taken: int = 0
    """The notebook has dealt with the results up to this number."""
    submitted_at: float = 0.0
    ended_at: float = 0.0
    taken_at: float = 0.0


class Archive:
    """The files. Raises JournalError if they are of a newer version of nbdist."""

    def __init__(
        self,
        folder: Path,
        keep_seconds: float = KEEP_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """How long a job is kept is measured by a clock that nobody sets; only across a restart by the other one."""
        self._results = folder / RESULTS_FOLDER
        try:
            self._results.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            raise JournalError(
                f"{self._results} is no directory, and results belong there: move it away, or give this hub another "
                "directory (--state DIR)"
            ) from None
        make_private(self._results)
        self._journal = Journal(folder, wall_clock)
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._afterwards: list[Callable[[], None]] = []
        """Files that go once the journal says that nobody needs them."""

    def end(self, record: JobRecord, message: JobEnded) -> None:
        """The job is over: from now on it is kept for a while."""
        record.ended_at = self._clock()
        self._journal.keep(message)

    def is_expired(self, record: JobRecord) -> bool:
        """Whether the job has been over, and its results not been read, for so long that it is not kept any more."""
        last = max(record.ended_at, record.taken_at)
        return record.finished is not None and self._clock() - last > self._keep_seconds

    def free_bytes(self) -> int:
        """What is free on the disk."""
        return free_bytes(self._results)

    def age_seconds(self, record: JobRecord) -> float:
        """How long ago the job has ended."""
        return max(0.0, self._clock() - record.ended_at)

    def log(self, spec: SubmitJob) -> ResultLog:
        """The log of a new job's results."""
        return ResultLog(self._results, spec.job, sealed=self._journal.replace, folds=spec.options.reduce)

    def taken(self, record: JobRecord) -> None:
        """The notebook has dealt with results."""
        record.taken_at = self._clock()
        self._journal.replace(ResultsTaken(record.job, record.results.consumed))

    def sealed(self, job: str, number: int) -> ResultsSealed | None:
        """What is in a file of results, as far as that was flushed. Raises JournalError."""
        found = self._journal.find(ResultsSealed, job, number)
        return found if isinstance(found, ResultsSealed) else None

    def drop_results(self, dropped: ResultsDropped, number: int, afterwards: Callable[[], None]) -> None:
        """A file of results is not needed any more; once that is kept, `afterwards` removes it."""
        self._journal.replace(dropped)
        self._journal.remove(ResultsSealed, dropped.job, number)
        self._afterwards.append(afterwards)

    def shrink(self) -> bool:
        """Gives room in the journal back, a little of it; whether it did."""
        return self._journal.shrink()

    def load(self) -> tuple[list[FoundJob], list[str]]:
        """The jobs that were here, oldest first, and the workers; called once, before anything else."""
        kept, found = Kept(), dict[str, FoundJob]()
        now = self._clock()
        for message, payload, age_seconds in self._journal.entries():
            if isinstance(message, JobTaken):
                job = message.spec.job
                found[job] = FoundJob(KeptJob("", message.spec), message.grant, payload, self.log(message.spec))
                found[job].submitted_at = now - age_seconds
            elif (one := found.get(_job_of(message))) is not None:
                _note(one, message, payload, now - age_seconds)
            if not isinstance(message, ResultsSealed):
                kept.add(message)
        for one in found.values():
            _load_results(kept, one)
        for record in kept.jobs():
            if (one := found.get(record.spec.job)) is not None:
                ages = now - one.submitted_at, max(0.0, now - one.ended_at)
                one.kept = replace(record, age_seconds=ages[0], ended_seconds=ages[1])
        self._remove_strangers(found)
        for worker in kept.workers:
            self._journal.forget_worker(worker)
        return list(found.values()), list(kept.workers)

    def keep(self, message: Message, record: JobRecord | None, payload: Payload) -> None:
        """Takes something that the scheduler has told the stores; results are kept by their logs."""
        if isinstance(message, orders.WorkerGone):
            self._journal.forget_worker(message.worker)
        elif isinstance(message, orders.WorkerHere):
            self._journal.replace(message)
        elif record is None:
            return  # the job was forgotten
        elif isinstance(message, JobTaken):
            self._journal.keep(replace(message, grant=record.owner), record.task)
        elif isinstance(message, ItemsTaken):
            self._journal.keep(message, payload)
        elif isinstance(message, PortableTask):
            self._journal.keep(message, record.portable_task)
        elif isinstance(message, DropItems):
            self._journal.empty(ItemsTaken, message.job, message.start)
        elif isinstance(message, _REPLACED):
            self._journal.replace(message)
        elif isinstance(message, _PLAIN):
            self._journal.keep(message)

    def forget(self, job: str, log: ResultLog) -> None:
        """Nothing of the job is needed any more."""
        self._journal.forget(job)
        log.close()
        self._afterwards.append(log.remove)

    def flush(self) -> None:
        """Writes the journal. Raises JournalError if that cannot be done now; nothing is lost then."""
        self._journal.flush()
        while self._afterwards:
            self._afterwards.pop(0)()

    def close(self) -> None:
        """Closes the files, after a last `flush`."""
        with contextlib.suppress(JournalError, OSError):
            self.flush()
        self._journal.close()

    def _remove_strangers(self, found: dict[str, FoundJob]) -> None:
        """Files whose job the journal has forgotten: the hub was killed before it had removed them.

        If the journal was damaged they may be all that there is of a job: they are kept under another name.
        """
        known = {one.log.name for one in found.values()}
        strangers = [
            path
            for path in self._results.iterdir()
            if not path.name.startswith(DAMAGED_PREFIX) and path.name.rpartition("-")[0] not in known and path.is_file()
        ]
        if not (self._journal.is_incomplete or self._journal.was_empty):
            for path in strangers:
                path.unlink(missing_ok=True)
        elif strangers:
            for path in strangers:
                path.rename(damaged_name(path))
            log.warning(
                "%d files in %s have results of jobs that the journal does not know any more: they are kept there, as "
                "%s…, until you remove them",
                len(strangers),
                self._results,
                DAMAGED_PREFIX,
            )


def _job_of(message: Message) -> str:
    job: str = message.finished.job if isinstance(message, JobEnded) else getattr(message, "job", "")
    return job


def _note(one: FoundJob, message: Message, payload: bytes, at: float) -> None:
    """What the journal says of a job, beside what the scheduler wants to know."""
    if isinstance(message, ItemsTaken):
        one.blocks.append((message, payload))
    elif isinstance(message, PortableTask):
        one.portable = payload
    elif isinstance(message, ResultsDropped):
        one.dropped = message
    elif isinstance(message, ResultsSealed):
        one.sealed[message.number] = message
    elif isinstance(message, ResultsTaken):
        one.taken, one.taken_at = message.seq, at
    elif isinstance(message, JobEnded):
        one.ended_at = at


def _load_results(kept: Kept, one: FoundJob) -> None:
    dropped = 0 if one.dropped is None else one.dropped.seq
    for found in one.log.recover(one.sealed):
        if (found.last if isinstance(found, ResultsSealed) else found.seq) <= dropped:
            continue  # the hub was killed before it had removed them
        kept.add(found)
        if isinstance(found, ResultsSealed):
            one.result_blobs.update(found.blobs)
        elif found.blob is not None:
            one.result_blobs[found.seq] = found.blob
    while one.log.oldest(dropped) is not None:
        one.log.detach_oldest()()
