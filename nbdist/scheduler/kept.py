"""What outlives the hub: the scheduler's word to its stores, folded into how each job stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from nbdist.scheduler.intervals import Intervals
from nbdist.scheduler.orders import (
    DropItems,
    ItemsClosed,
    ItemsTaken,
    ItemTried,
    JobEnded,
    JobStopping,
    JobTaken,
    KeptJob,
    OwnerChanged,
    ReleaseJob,
    ResultsDropped,
    ResultsSealed,
    ResultsTaken,
    TargetsSet,
    WorkerGone,
    WorkerHere,
)
from nbdist.scheduler.records import item_count
from nbdist.scheduler.resuming import note_again, takeable
from nbdist.wire.messages import ForgetJob, JobFinished, Message, PortableTask, Result


@dataclass(slots=True)
class _Job:
    taken: JobTaken
    total: int | None
    available: int
    blocks: dict[int, ItemsTaken] = field(default_factory=dict)
    targets: tuple[tuple[str, int], ...] = ()
    done: Intervals = field(default_factory=Intervals)
    """By its own results."""
    again: Intervals = field(default_factory=Intervals)
    lost: tuple[tuple[int, int], ...] = ()
    """Items whose results are not kept any more."""
    seq: int = 0
    failed_items: int = 0
    first_failed: int | None = None
    stopped_at: int | None = None
    tried: dict[int, ItemTried] = field(default_factory=dict)
    portable: PortableTask | None = None
    stopping: JobStopping | None = None
    finished: JobFinished | None = None


class Kept:
    """Everything that was kept so far. Pure: the journal feeds it after a restart, the simulation always."""

    def __init__(self) -> None:
        self.workers: dict[str, None] = {}
        self._jobs: dict[str, _Job] = {}
        self._apply: dict[type[Message], Callable[[Any], None]] = {
            JobTaken: self._taken,
            OwnerChanged: self._owner,
            TargetsSet: self._targets,
            ItemsTaken: self._items,
            ItemsClosed: self._closed,
            ItemTried: self._tried,
            PortableTask: self._portable,
            Result: self._result,
            ResultsDropped: self._results_dropped,
            ResultsSealed: self._results_sealed,
            ResultsTaken: lambda message: None,
            DropItems: self._dropped,
            JobStopping: self._stopping,
            JobEnded: self._ended,
            ForgetJob: self._forgotten,
            ReleaseJob: lambda message: None,
            WorkerHere: lambda message: self.workers.setdefault(message.worker),
            WorkerGone: lambda message: self.workers.pop(message.worker, None),
        }

    def add(self, message: Message) -> None:
        """Takes the next thing that the stores were sent."""
        self._apply[type(message)](message)

    def jobs(self) -> list[KeptJob]:
        """The jobs, oldest first."""
        return [self._as_message(job) for job in self._jobs.values()]

    def _as_message(self, job: _Job) -> KeptJob:
        taken, total = self._taken_over(job)
        done = Intervals(job.done)
        for start, stop in taken.within(0, job.available):
            done.add(start, stop)
        return _message_of(job, done, taken.without([(0, job.available)]), total)

    def _taken_over(self, job: _Job) -> tuple[Intervals, int | None]:
        """What the job has from earlier ones, as far as their results are kept, and how many items they had."""
        old = self._jobs.get(job.taken.spec.resumes)
        if old is None:
            return Intervals(), None
        earlier, total = self._taken_over(old)
        taken = takeable(old.done, earlier, old.again, old.lost)
        return taken, total if old.total is None else old.total

    def _taken(self, message: JobTaken) -> None:
        total = message.spec.total
        if message.spec.ranges:
            total = item_count(message.spec.ranges)
        available = (total or 0) if message.spec.ranges else 0
        self._jobs[message.spec.job] = _Job(message, total, available)

    def _owner(self, message: OwnerChanged) -> None:
        job = self._jobs.get(message.job)
        if job is not None:
            job.taken = replace(job.taken, owner=message.owner)

    def _targets(self, message: TargetsSet) -> None:
        job = self._jobs.get(message.job)
        if job is not None:
            job.targets = message.targets
            job.total = job.available = len(message.targets)

    def _items(self, message: ItemsTaken) -> None:
        job = self._jobs.get(message.job)
        if job is not None:
            job.blocks[message.start] = message
            job.available = message.stop

    def _closed(self, message: ItemsClosed) -> None:
        job = self._jobs.get(message.job)
        if job is not None:
            job.total = message.total

    def _tried(self, message: ItemTried) -> None:
        job = self._jobs.get(message.job)
        if job is not None:
            job.tried[message.item] = message

    def _portable(self, message: PortableTask) -> None:
        job = self._jobs.get(message.job)
        if job is not None:
            job.portable = message

    def _result(self, message: Result) -> None:
        job = self._jobs.get(message.job)
        if job is None:
            return
        job.done.add(message.start, message.stop)
        job.seq = message.seq
        failed = failed_items(message)
        note_again(job.again, message, folds=job.taken.spec.options.reduce)
        job.failed_items += len(failed)
        if failed and job.first_failed is None:
            job.first_failed = failed[0]
        if message.stopped_at is not None:
            job.stopped_at = message.stopped_at
        for item in [item for item in job.tried if message.start <= item < message.stop]:
            del job.tried[item]

    def _results_dropped(self, message: ResultsDropped) -> None:
        job = self._results(message, message.seq)
        if job is not None:
            job.lost = message.done

    def _results_sealed(self, message: ResultsSealed) -> None:
        job = self._results(message, message.last)
        if job is None:
            return
        for start, stop in message.again:
            job.again.add(start, stop)
        if message.stopped_at is not None:
            job.stopped_at = message.stopped_at

    def _results(self, message: ResultsDropped | ResultsSealed, last: int) -> _Job | None:
        """Many results at once."""
        job = self._jobs.get(message.job)
        if job is None:
            return None
        for start, stop in message.done:
            job.done.add(start, stop)
            for item in [item for item in job.tried if start <= item < stop]:
                del job.tried[item]
        job.seq = max(job.seq, last)
        job.failed_items += message.failed_items
        job.first_failed = message.first_failed if job.first_failed is None else job.first_failed
        return job

    def _dropped(self, message: DropItems) -> None:
        job = self._jobs.get(message.job)
        if job is not None:
            job.blocks.pop(message.start, None)

    def _stopping(self, message: JobStopping) -> None:
        job = self._jobs.get(message.job)
        if job is not None:
            job.stopping = message

    def _ended(self, message: JobEnded) -> None:
        job = self._jobs.get(message.finished.job)
        if job is not None:
            job.finished = message.finished

    def _forgotten(self, message: ForgetJob) -> None:
        self._jobs.pop(message.job, None)


def failed_items(result: Result) -> tuple[int, ...]:
    """The items of a result that raised or have no value."""
    return result.failed if result.fault is None else (result.fault.item,)


def _message_of(job: _Job, done: Intervals, ahead: Intervals, resumed_total: int | None) -> KeptJob:
    return KeptJob(
        owner=job.taken.owner,
        spec=job.taken.spec,
        total=job.total,
        available=job.available,
        blocks=tuple(block for block in job.blocks.values() if not done.covers(block.start, block.stop)),
        targets=job.targets,
        done=tuple(done),
        ahead=tuple(ahead),
        resumed_total=resumed_total,
        again=tuple(job.again),
        seq=job.seq,
        failed_items=job.failed_items,
        first_failed=job.first_failed,
        stopped_at=job.stopped_at,
        tried=tuple(job.tried.values()),
        portable=job.portable,
        stopping=job.stopping,
        finished=job.finished,
    )
