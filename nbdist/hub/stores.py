"""What the scheduler never sees: the payloads of jobs, on their way in and on their way out.

Memory and files (`archive.py`, `blobs.py`); no sockets. What the scheduler says to `STORES` comes here and goes into
the archive; nothing that a peer lets go of its own copy for may be sent before `flush`.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import zip_longest

from nbdist.errors import BlobError, ProtocolError
from nbdist.hub import portables
from nbdist.hub.access import Grant
from nbdist.hub.archive import Archive, FoundJob
from nbdist.hub.blobs import BlobStore
from nbdist.hub.chains import Chains
from nbdist.hub.jobs import Dropped, JobRecord, new_record
from nbdist.hub.journal import JournalError
from nbdist.hub.keeping import Keeping
from nbdist.hub.limits import Limits
from nbdist.hub.offers import Offers, check_keys, is_whole
from nbdist.hub.refusal import not_yours
from nbdist.hub.resultlog import weight
from nbdist.scheduler.intervals import Intervals
from nbdist.scheduler.kept import failed_items
from nbdist.scheduler.orders import DropItems, JobEnded, JobTaken, KeptJob
from nbdist.scheduler.policy import Policy
from nbdist.wire.blobs import holder_of_items, is_name
from nbdist.wire.blocks import MAX_ITEM_BLOBS
from nbdist.wire.frames import Payload
from nbdist.wire.messages import (
    AddItems,
    AttachJob,
    BlobRef,
    Message,
    PrepareJob,
    Result,
    RunSlice,
    SubmitJob,
    TakeResults,
)

MAX_WINDOW_BYTES = Policy().max_window_bytes
"""The notebook of a job that is taken up may have been granted so much."""
MAX_JOBS = 10_000
"""Jobs whose results a notebook may still want."""
log = logging.getLogger("nbdist.hub")

_JOB_ID = re.compile(r"[A-Za-z0-9_.:-]{1,100}", re.ASCII)
_HOLDER = re.compile(r"(.*?)(?:([@#])(\d+))?", re.ASCII | re.DOTALL)
"""Who holds a blob: a job, a block of its items (@) or a result (#)."""


class Stores:
    """The jobs of one hub."""

    def __init__(self, blobs: BlobStore, archive: Archive, limits: Limits | None = None) -> None:
        self.blobs = blobs
        self._archive = archive
        self._jobs: dict[str, JobRecord] = {}
        self.chains = Chains(self._jobs)
        self.keeping = Keeping(self._jobs, self.chains, blobs, archive, limits or Limits())
        self.offers = Offers(self._jobs)
        self._unlogged: set[str] = set()
        """Jobs with results that the disk did not take."""

    def get(self, job: str) -> JobRecord | None:
        """What is kept of a job."""
        return self._jobs.get(job)

    def unfinished(self) -> int:
        """How many jobs have not ended."""
        return sum(record.finished is None for record in self._jobs.values())

    def owned(self, job: str, peer: str, grant: Grant) -> JobRecord | None:
        """The job, if it is known and was not taken from this notebook. Raises ProtocolError if it is another's."""
        record = self.attachable(job, grant)
        if record is None or record.peer == peer:
            return record
        if peer in record.former:
            return None
        raise not_yours(job)

    def attachable(self, job: str, grant: Grant) -> JobRecord | None:
        """The job, if it is known. Raises ProtocolError if it was submitted with another credential."""
        record = self._jobs.get(job)
        if record is not None and record.owner != grant.id:
            raise not_yours(job)
        return record

    # --- in ---------------------------------------------------------------------------------------------------------

    def submit(self, peer: str, grant: Grant, message: SubmitJob, payload: Payload) -> JobRecord:
        """Takes a job, or finds it if it was submitted before. Raises ProtocolError."""
        record = self.owned(message.job, peer, grant)
        if record is not None:
            return record
        if message.job in self._jobs:
            raise not_yours(message.job)
        if not _JOB_ID.fullmatch(message.job):
            raise ProtocolError("a job's id has 1 to 100 letters, digits and _.:-")
        check_keys(message)
        if len(self._jobs) >= MAX_JOBS:
            raise ProtocolError(f"the hub keeps {MAX_JOBS} jobs, its bound: forget some (pool.clear())")
        record = new_record(message, payload, peer, grant.id, self._archive.log(message))
        if not all(is_name(ref.name) for ref in record.blobs):
            raise ProtocolError("a blob's name has 64 hex digits")
        self._jobs[message.job] = record
        self.chains.add(record)
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

    def without_blob(self, name: str) -> list[JobRecord]:
        """The jobs whose form for other versions of Python waits for this blob."""
        return [record for record in self._jobs.values() if name in record.portable_missing]

    def blob_damaged(self, name: str) -> list[JobRecord]:
        """Sets a blob aside; gives the jobs that wait for it now."""
        self.blobs.set_aside(name)
        waiting = [
            record
            for record in self._jobs.values()
            if record.finished is None and any(ref.name == name for ref in record.blobs)
        ]
        for record in waiting:
            record.missing.add(name)
        return waiting

    def add_items(self, record: JobRecord, message: AddItems, payload: Payload, *, is_local: bool = False) -> bool:
        """Takes items; False: they were here already. `is_local`: the notebook has proved to be on this machine.

        Raises ProtocolError, and BlobError if a blob of theirs is not here.
        """
        if record.items is None:
            raise ProtocolError("the job has ranges and takes no items")
        if len(message.blobs) > MAX_ITEM_BLOBS or not all(is_name(ref.name) for ref in message.blobs):
            raise ProtocolError(f"a block of items has at most {MAX_ITEM_BLOBS} blobs, with names of 64 hex digits")
        if not record.items.add(message.start, message.count, memoryview(payload), message.blobs):
            return False
        for ref, file in zip_longest(message.blobs, message.files[: len(message.blobs)], fillvalue=""):
            assert isinstance(ref, BlobRef)
            if file and is_local:
                self.blobs.adopt(ref, str(file))
            if not self.hold_for_items(record, message.start, ref.name):
                raise BlobError(f"blob {ref.name[:16]} of item {message.start} did not come before the item")
        return True

    def hold_for_items(self, record: JobRecord, start: int, name: str) -> bool:
        """Keeps a blob for the block of items from `start` on until this is finished; False: there is no such blob."""
        if not self.blobs.has(name):
            return False
        self.blobs.pin(name, holder_of_items(record.job, start), keep=False)
        if record.finished is not None or record.items is None or record.items.is_past(start):
            self.blobs.unpin(name, holder_of_items(record.job, start))
            return True
        record.item_blobs.setdefault(start, set()).add(name)
        return True

    def for_items(self, grant: Grant, holder: str) -> tuple[JobRecord, int] | None:
        """The job and the item of a `HOLDER_HEADER`, if the job is this notebook's and goes on."""
        job, _, start = holder.rpartition("@")
        record = self._jobs.get(job)
        if record is None or record.owner != grant.id or record.finished is not None or not start.isdecimal():
            return None
        return record, int(start)

    # --- what outlives the hub --------------------------------------------------------------------------------------

    def keep(self, message: Message, payload: Payload) -> None:
        """Takes what the scheduler says of a job or a worker into the archive, with the next `flush`."""
        self._archive.keep(message, self._jobs.get(getattr(message, "job", "")), payload)

    def keep_job(self, message: JobTaken) -> None:
        """Takes a new job into the archive."""
        self._archive.keep(message, self._jobs.get(message.spec.job), b"")

    def flush(self) -> None:
        """Everything that was taken until now outlives the process. Raises JournalError or OSError if the disk does not
        take it; nothing is lost then, and it may be tried again."""
        for job in list(self._unlogged):
            record = self._jobs.get(job)
            if record is not None:
                record.results.write_unlogged()
            self._unlogged.discard(job)
        self._archive.flush()

    def tidy(self) -> bool:
        """Does some of what there is to tidy up, once everything is flushed; whether it did."""
        try:
            return self.keeping.step() or self._archive.shrink()
        except JournalError as error:
            log.warning("%s", error)
            return False

    def make_room(self) -> None:
        """The disk is full: what is kept only because it may be useful goes."""
        self.blobs.shrink()

    def restore(self) -> tuple[list[JobRecord], list[KeptJob], list[str]]:
        """Takes up the jobs of an earlier hub; gives them, as they stood, and the workers that it had."""
        found, workers = self._archive.load()
        records = [self._restore(one) for one in found]
        self.blobs.shrink()
        self.keeping.changed()
        return records, [one.kept for one in found], workers

    def _restore(self, one: FoundJob) -> JobRecord:
        kept = one.kept
        record = new_record(kept.spec, one.task, kept.owner, one.grant, one.log)
        self._jobs[record.job] = record
        self.chains.add(record)
        record.attached, record.finished, record.ended_at = False, kept.finished, one.ended_at
        record.taken_at = one.taken_at
        if one.dropped is not None:
            gone = one.dropped
            record.dropped = Dropped(gone.seq, Intervals(gone.done), gone.failed_items, gone.first_failed)
        record.results.restore(kept.seq, record.dropped.seq, one.taken)
        record.restored_seq = kept.seq
        record.failed_items = kept.failed_items
        for seq, blob in one.result_blobs.items():
            if self.blobs.has(blob.name):
                self._hold_result(record, seq, blob)
            else:
                record.is_torn = True
        if record.finished is None:
            self._restore_portable(record, one)
            record.missing = set(self.blobs.missing(record.blobs))
            for name in {ref.name for ref in record.blobs} - record.missing:
                self.blobs.pin(name, record.job, keep=True)
            self._restore_items(record, one)
        return record

    def _restore_portable(self, record: JobRecord, one: FoundJob) -> None:
        found = one.kept.portable
        if found is not None and not portables.take(record, self.blobs, found, one.portable):
            portables.drop_partial(record, self.blobs)
            one.kept = replace(one.kept, portable=None)

    def _restore_items(self, record: JobRecord, one: FoundJob) -> None:
        for block, payload in one.blocks if record.items is not None else ():
            is_done = not one.kept.available or block not in one.kept.blocks
            record.items.restore(block.start, block.stop, b"" if is_done else payload, MAX_WINDOW_BYTES)  # type: ignore[union-attr]
            for ref in () if is_done else block.blobs:
                self.hold_for_items(record, block.start, ref.name)

    # --- out --------------------------------------------------------------------------------------------------------

    def for_prepare(self, peer: str, message: PrepareJob) -> Payload:
        """The payload of `PrepareJob`; from now on this worker may get the job's blobs."""
        record = self._known(message.job)
        record.workers.add(peer)
        return record.portable_task if message.portable else record.task

    def for_slice(self, peer: str, message: RunSlice) -> Payload:
        """The payload of `RunSlice`; from now on this worker may get the blobs that it names."""
        items = self._known(message.job).items
        if items is None:
            return b""
        if message.blobs:
            items.note_reader(message.start, message.stop, peer)
        return items.cut(message.start, message.stop)

    def keep_result(self, message: Result, payload: Payload) -> JobRecord | None:
        """Keeps a result; None if the job was forgotten."""
        record = self._jobs.get(message.job)
        if record is None:
            return None
        record.failed_items += len(failed_items(message))
        if message.blob is not None:
            self._hold_result(record, message.seq, message.blob)
        self.keeping.added(weight(message, len(payload)))
        try:
            record.results.add(message, payload)
        except OSError:
            self._unlogged.add(message.job)  # `flush` tries again, and says what is wrong
        return record

    def take(self, record: JobRecord, message: TakeResults) -> None:
        """The notebook has dealt with results, and gives credit for more."""
        record.results.take(message.seq, message.window_bytes)
        self._archive.taken(record)
        self.keeping.changed()
        if record.is_released and record.results.is_consumed:
            self.forget(record.job)

    def attach(self, record: JobRecord, message: AttachJob, peer: str) -> bool:
        """A notebook takes the job's results from now on; False: it has some that were lost here."""
        if record.restored_seq is not None and message.received > record.restored_seq:
            return False
        record.restored_seq = None
        record.peer, record.attached, record.is_left = peer, True, False
        record.results.attach(message.seq, message.window_bytes)
        self._archive.taken(record)
        return True

    def drop_items(self, message: DropItems) -> None:
        """Forgets a block of items."""
        record = self._jobs.get(message.job)
        if record is not None and record.items is not None:
            record.items.drop(message.start)
            self._let_go_of_items(record, message.start)
            self._archive.keep(message, record, b"")

    def keep_end(self, record: JobRecord, message: JobEnded) -> None:
        """The job has ended: what went into it is not needed any more."""
        record.finished = message.finished
        record.log.seal()
        self._archive.end(record, message)
        self.keeping.changed()
        self._clear_items(record)
        for ref in record.blobs:
            self.blobs.unpin(ref.name, record.job)

    def _clear_items(self, record: JobRecord) -> None:
        if record.items is not None:
            record.items.clear()
        for start in list(record.item_blobs):
            self._let_go_of_items(record, start)

    def release(self, job: str) -> None:
        """Forgets a job as soon as its notebook has all results."""
        record = self._jobs.get(job)
        if record is None:
            return
        record.is_released = True
        if record.results.is_consumed:
            self.forget(job)

    def leave(self, record: JobRecord) -> bool:
        """The notebook needs the job no more; whether it is kept for whoever runs the same cell again."""
        is_useful = record.submit.key and is_whole(record) and not record.is_released
        if not is_useful or record.job in self._unlogged:
            return False
        record.results.close()
        record.attached, record.is_left = False, True
        for job in self.offers.outdated():
            self.forget(job)
        return True

    def ended_seconds(self, record: JobRecord) -> float | None:
        """How long ago the job has ended."""
        return None if record.finished is None else self._archive.age_seconds(record)

    def forget(self, job: str) -> None:
        """Forgets a job with all that is kept for it; or lets it be forgotten with the last job that resumes it."""
        if self.chains.needs(job) and job in self._jobs:
            self._jobs[job].is_unwanted = True
            return
        record = self._jobs.pop(job, None)
        if record is None:
            return
        record.results.close()
        for seq, blob in record.result_blobs.items():
            self.blobs.unpin(blob.name, f"{job}#{seq}")
        record.result_blobs.clear()
        for ref in record.blobs:
            self.blobs.unpin(ref.name, job)
        self._clear_items(record)
        self._archive.forget(job, record.log)
        earlier = self.chains.remove(record)
        if earlier is not None:
            self.forget(earlier.job)

    def expired(self) -> list[str]:
        """Jobs that have been over for so long that nobody will ask for them."""
        return [job for job, record in self._jobs.items() if self._archive.is_expired(record)]

    def may_get(self, grant: Grant, name: str) -> bool:
        """Whether this credential may read a blob: a name is no credential.

        A notebook may read the blobs of its own jobs, a worker those of jobs that it was told to prepare and of items
        that it was given.
        """
        for holder in self.blobs.holders(name):
            found = _HOLDER.fullmatch(holder)
            assert found is not None
            job, kind, number = found.groups("")
            record = self._jobs.get(job)
            if record is None:
                continue
            if grant.role == "notebook" and record.owner == grant.id:
                return True
            if grant.role == "worker" and grant.peer in _readers(record, kind, number):
                return True
        return False

    def of_peer(self, peer: str) -> Iterator[JobRecord]:
        """The jobs whose results go to this notebook."""
        return (record for record in self._jobs.values() if record.peer == peer)

    def close(self) -> None:
        """Closes the files; the next hub here takes up what is in them."""
        for record in self._jobs.values():
            record.log.close()
        self._archive.close()

    def _known(self, job: str) -> JobRecord:
        record = self._jobs.get(job)
        if record is None:
            raise ProtocolError(f"job {job[:64]!r} is not known here")
        return record

    def _let_go_of_items(self, record: JobRecord, start: int) -> None:
        for name in record.item_blobs.pop(start, ()):
            self.blobs.unpin(name, holder_of_items(record.job, start))

    def _hold_result(self, record: JobRecord, seq: int, blob: BlobRef) -> None:
        self.blobs.pin(blob.name, f"{record.job}#{seq}", keep=False)
        record.result_blobs[seq] = blob


def _readers(record: JobRecord, kind: str, number: str) -> Collection[str]:
    """The workers that may read what is held for the job (no kind), for its items (@) or for its results (#)."""
    if not kind:
        return record.workers
    return record.items.readers.get(int(number), ()) if kind == "@" and record.items is not None else ()
