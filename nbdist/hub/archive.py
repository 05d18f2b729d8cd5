"""What of the stores outlives the hub: the journal of jobs, and the logs of their results, in one directory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from nbdist.hub.jobs import JobRecord
from nbdist.hub.journal import Journal
from nbdist.hub.resultlog import ResultLog
from nbdist.hub.statedir import make_private
from nbdist.scheduler import orders
from nbdist.scheduler.kept import Kept
from nbdist.scheduler.orders import DropItems, ItemsTaken, JobEnded, JobTaken, KeptJob, ResultsDropped
from nbdist.wire.frames import Payload
from nbdist.wire.messages import Message, Result

RESULTS_FOLDER = "results"
KEEP_SECONDS = 24 * 3600.0
"""A job that has ended is kept for so long."""

_REPLACED = (orders.ItemTried, orders.OwnerChanged, ResultsDropped)
_PLAIN = (orders.TargetsSet, orders.ItemsClosed, orders.JobStopping)


@dataclass(slots=True)
class FoundJob:
    """A job of an earlier hub."""

    kept: KeptJob
    grant: str
    task: bytes
    log: ResultLog
    blocks: list[tuple[ItemsTaken, bytes]] = field(default_factory=list)
    """Those that came, in order; a finished one without its bytes."""
    results: list[Result] = field(default_factory=list)
    """Those among the results in the log whose payload is a blob."""
    dropped: ResultsDropped | None = None
    ended_at: float = 0.0


class Archive:
    """The files. Raises JournalError if they are of a newer version of nbdist."""

    def __init__(
        self, folder: Path, keep_seconds: float = KEEP_SECONDS, clock: Callable[[], float] = time.time
    ) -> None:
        self._results = folder / RESULTS_FOLDER
        self._results.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_private(self._results)
        self._journal = Journal(folder, clock)
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._afterwards: list[Callable[[], None]] = []
        """Files that go once the journal says that nobody needs them."""

    def end(self, record: JobRecord, message: JobEnded) -> None:
        """The job is over: from now on it is kept for a while."""
        record.ended_at = self._clock()
        self._journal.keep(message)

    def is_expired(self, record: JobRecord) -> bool:
        """Whether the job has been over for so long that it is not kept any more."""
        return record.finished is not None and self._clock() - record.ended_at > self._keep_seconds

    def age_seconds(self, record: JobRecord) -> float:
        """How long ago the job has ended."""
        return max(0.0, self._clock() - record.ended_at)

    def log(self, job: str) -> ResultLog:
        """The log of a new job's results."""
        return ResultLog(self._results, job)

    def load(self) -> tuple[list[FoundJob], list[str]]:
        """The jobs that were here, oldest first, and the workers; called once, before anything else."""
        kept, found = Kept(), dict[str, FoundJob]()
        for message, payload, age_seconds in self._journal.entries():
            kept.add(message)
            if isinstance(message, JobTaken):
                job = message.spec.job
                found[job] = FoundJob(KeptJob("", message.spec), message.grant, payload, self.log(job))
            elif isinstance(message, ItemsTaken) and message.job in found:
                found[message.job].blocks.append((message, payload))
            elif isinstance(message, ResultsDropped) and message.job in found:
                found[message.job].dropped = message
            elif isinstance(message, JobEnded) and message.finished.job in found:
                found[message.finished.job].ended_at = self._clock() - age_seconds
        for one in found.values():
            _load_results(kept, one)
        for record in kept.jobs():
            if record.spec.job in found:
                found[record.spec.job].kept = record
        self._remove_strangers(found)
        for worker in kept.workers:
            self._journal.forget(f"worker {worker}")
        return list(found.values()), list(kept.workers)

    def keep(self, message: Message, record: JobRecord | None, payload: Payload) -> None:
        """Takes something that the scheduler has told the stores; results are kept by their logs."""
        if isinstance(message, orders.WorkerGone):
            self._journal.forget(f"worker {message.worker}")
        elif isinstance(message, orders.WorkerHere):
            self._journal.replace(message)
        elif record is None:
            return  # the job was forgotten
        elif isinstance(message, JobTaken):
            self._journal.keep(replace(message, grant=record.owner), record.task)
        elif isinstance(message, ItemsTaken):
            self._journal.keep(message, payload)
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
        """Closes the files."""
        self._journal.close()

    def _remove_strangers(self, found: dict[str, FoundJob]) -> None:
        """Files whose job the journal has forgotten: the hub was killed before it had removed them."""
        if self._journal.is_incomplete:
            return  # they may be all that there is of a job
        known = {one.log.name for one in found.values()}
        for path in self._results.iterdir():
            if not path.name.startswith("damaged-") and path.name.rpartition("-")[0] not in known:
                path.unlink(missing_ok=True)


def _load_results(kept: Kept, one: FoundJob) -> None:
    dropped = 0 if one.dropped is None else one.dropped.seq
    for result in one.log.recover():
        if result.seq <= dropped:
            continue
        kept.add(result)
        if result.blob is not None:
            one.results.append(result)
