"""What the scheduler never sees: the payloads of jobs, on their way in and on their way out.

Memory only, and the files of blobs and spools; no sockets.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

from nbdist.errors import BlobError, ProtocolError
from nbdist.hub.access import Grant
from nbdist.hub.blobs import BlobStore
from nbdist.hub.jobs import JobRecord, new_record
from nbdist.hub.refusal import not_yours
from nbdist.hub.results import Spool
from nbdist.wire.blobs import is_name
from nbdist.wire.frames import Payload
from nbdist.wire.messages import AddItems, AttachJob, PrepareJob, Result, RunSlice, SubmitJob, TakeResults

MAX_JOBS = 10_000
"""Jobs whose results a notebook may still want."""
_JOB_ID = re.compile(r"[A-Za-z0-9_.:-]{1,100}", re.ASCII)


class Stores:
    """The jobs of one hub."""

    def __init__(self, blobs: BlobStore, make_spool: Callable[[], Spool]) -> None:
        self.blobs = blobs
        self._make_spool = make_spool
        self._jobs: dict[str, JobRecord] = {}

    def get(self, job: str) -> JobRecord | None:
        """What is kept of a job."""
        return self._jobs.get(job)

    def unfinished(self) -> int:
        """How many jobs have not ended."""
        return sum(record.finished is None for record in self._jobs.values())

    def owned(self, job: str, peer: str, grant: Grant) -> JobRecord | None:
        """The job, if it is known. Raises ProtocolError if it is another notebook's."""
        record = self._jobs.get(job)
        if record is not None and (record.peer, record.owner) != (peer, grant.id):
            raise not_yours(job)
        return record

    # --- in ---------------------------------------------------------------------------------------------------------

    def submit(self, peer: str, grant: Grant, message: SubmitJob, payload: Payload) -> JobRecord:
        """Takes a job, or finds it if it was submitted before. Raises ProtocolError."""
        record = self.owned(message.job, peer, grant)
        if record is not None:
            return record
        if not _JOB_ID.fullmatch(message.job):
            raise ProtocolError("a job's id has 1 to 100 letters, digits and _.:-")
        if len(self._jobs) >= MAX_JOBS:
            raise ProtocolError(f"the hub keeps {MAX_JOBS} jobs, its bound: forget some (pool.clear())")
        record = new_record(message, payload, peer, grant.id, self._make_spool)
        if not all(is_name(ref.name) for ref in record.blobs):
            raise ProtocolError("a blob's name has 64 hex digits")
        self._jobs[message.job] = record
        record.missing = set(self.blobs.missing(record.blobs))
        for name in {ref.name for ref in record.blobs} - record.missing:
            self.blobs.pin(name, record.job, keep=True)
        return record

    def adopt_blobs(self, record: JobRecord) -> list[str]:
        """The missing blobs of a job that a local peer has put into the folder."""
        found = []
        for ref in record.blobs:
            if ref.name in record.missing:
                with contextlib.suppress(BlobError):  # it is not there: it is still missing
                    self.blobs.placed(ref)
                    found.append(ref.name)
        return found

    def blob_came(self, name: str) -> list[JobRecord]:
        """Pins a blob for the jobs that wait for it; gives those that now have all."""
        ready = []
        for record in self._jobs.values():
            if name in record.missing:
                record.missing.discard(name)
                self.blobs.pin(name, record.job, keep=True)
                if not record.missing:
                    ready.append(record)
        return ready

    def add_items(self, record: JobRecord, message: AddItems, payload: Payload) -> bool:
        """Takes items; False: they were here already. Raises ProtocolError."""
        if record.items is None:
            raise ProtocolError("the job has ranges and takes no items")
        return record.items.add(message.start, message.count, memoryview(payload))

    # --- out --------------------------------------------------------------------------------------------------------

    def for_prepare(self, peer: str, message: PrepareJob) -> Payload:
        """The payload of `PrepareJob`; from now on this worker may get the job's blobs."""
        record = self._known(message.job)
        record.workers.add(peer)
        return record.task

    def for_slice(self, message: RunSlice) -> Payload:
        """The payload of `RunSlice`."""
        items = self._known(message.job).items
        return b"" if items is None else items.cut(message.start, message.stop)

    def keep_result(self, message: Result, payload: Payload) -> JobRecord | None:
        """Keeps a result until the notebook has dealt with it; None if the job was forgotten."""
        record = self._jobs.get(message.job)
        if record is None:
            return None
        if message.blob is not None:
            self.blobs.pin(message.blob.name, _holder(message), keep=False)
        record.results.add(message, payload)
        return record

    def take(self, record: JobRecord, message: TakeResults | AttachJob) -> None:
        """The notebook has dealt with results, and gives credit for more."""
        for result in record.results.take(message.seq, message.window_bytes):
            self._let_go(result)
        if record.is_released and record.results.is_consumed:
            self.forget(record.job)

    def drop_items(self, job: str, start: int) -> None:
        """Forgets the block of items that begins with this one."""
        record = self._jobs.get(job)
        if record is not None and record.items is not None:
            record.items.drop(start)

    def release(self, job: str) -> None:
        """Forgets a job as soon as its notebook has all results, or is gone (`peer_gone`)."""
        record = self._jobs.get(job)
        if record is None:
            return
        record.is_released = True
        if record.results.is_consumed or not record.attached:
            self.forget(job)

    def peer_gone(self, peer: str) -> None:
        """Forgets the released jobs of a notebook that has closed its connection."""
        for record in [record for record in self.of_peer(peer) if record.is_released]:
            self.forget(record.job)

    def forget(self, job: str) -> None:
        """Forgets a job with all that is kept for it."""
        record = self._jobs.pop(job, None)
        if record is None:
            return
        for result in record.results.close():
            self._let_go(result)
        for ref in record.blobs:
            self.blobs.unpin(ref.name, job)

    def may_get(self, grant: Grant, name: str) -> bool:
        """Whether this credential may read a blob: a name is no credential.

        A notebook may read the blobs of its own jobs, a worker those of jobs that it was told to prepare.
        """
        for holder in self.blobs.holders(name):
            job, _, seq = holder.partition("#")
            record = self._jobs.get(job)
            if record is None:
                continue
            if grant.role == "notebook" and record.owner == grant.id:
                return True
            if grant.role == "worker" and not seq and grant.peer in record.workers:
                return True
        return False

    def of_peer(self, peer: str) -> Iterator[JobRecord]:
        """The jobs whose results go to this notebook."""
        return (record for record in self._jobs.values() if record.peer == peer)

    def close(self) -> None:
        """Forgets everything."""
        for job in list(self._jobs):
            self.forget(job)

    def _known(self, job: str) -> JobRecord:
        record = self._jobs.get(job)
        if record is None:
            raise ProtocolError(f"job {job[:64]!r} is not known here")
        return record

    def _let_go(self, result: Result) -> None:
        if result.blob is not None:
            self.blobs.unpin(result.blob.name, _holder(result))


def _holder(result: Result) -> str:
    return f"{result.job}#{result.seq}"
