"""How much is kept of the results that notebooks have had: what is over the bounds goes, the longest-ended jobs first.

Nothing that a notebook has not consumed is ever removed. A file of results goes in two steps: the journal says that it
is gone, and once that is kept the file and the blobs of its results are removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nbdist.hub.archive import Archive
from nbdist.hub.blobs import BlobStore
from nbdist.hub.jobs import JobRecord
from nbdist.hub.limits import MEMORY_KEPT_BYTES, Limits
from nbdist.scheduler.orders import ResultsSealed, ResultsWait

FREE_SHARE = 4
"""What is kept takes at most one such part of what is free."""
MEMORY_SHARE = 4
"""Of free memory results may count on one such part only: others need it."""
CHECK_BYTES = 16 * 1024**2
"""The bounds are looked at again after so many more bytes of results …"""
TELL_BYTES = 16 * 1024**2
"""… and the scheduler is told what waits for a notebook if that has changed by so much …"""
TELL_SHARE = 16
"""… or by such a part of what may wait."""


@dataclass(frozen=True, slots=True)
class _Excess:
    """How much too much there is."""

    bytes: int
    blob_bytes: int

    def __bool__(self) -> bool:
        return self.bytes > 0 or self.blob_bytes > 0

    def concerns(self, record: JobRecord) -> bool:
        """Whether it is worth while to let go of something of this job."""
        return self.bytes > 0 or (self.blob_bytes > 0 and record.log.blob_bytes > 0)


class Keeping:
    """The bounds, and what goes because of them."""

    def __init__(self, jobs: Mapping[str, JobRecord], blobs: BlobStore, archive: Archive, limits: Limits) -> None:
        self._jobs = jobs
        self._blobs = blobs
        self._archive = archive
        self._limits = limits
        self._unchecked_bytes = 0
        self._is_due = False
        self._unknown: set[str] = set()
        """Jobs with a file of which the journal does not know what it has."""

    def added(self, size_bytes: int) -> None:
        """There are more results."""
        self._unchecked_bytes += size_bytes
        if self._unchecked_bytes >= CHECK_BYTES:
            self._unchecked_bytes = 0
            self._is_due = True

    def changed(self) -> None:
        """A notebook has consumed results, or a job has ended."""
        self._is_due = True

    def waiting(self, record: JobRecord) -> ResultsWait | None:
        """What the scheduler should know of a job's results; None: nothing new."""
        waiting = record.results.waiting_bytes
        step = min(TELL_BYTES, self._limits.results_bytes // TELL_SHARE)
        if record.finished is not None or abs(waiting - record.told_waiting_bytes) < step:
            return None
        record.told_waiting_bytes = waiting
        free = self._archive.free_bytes()
        if record.log.blob_bytes:
            room = self._blobs.free_bytes()
            free = min(free, room // MEMORY_SHARE if self._blobs.in_memory else room)
        return ResultsWait(record.job, waiting, free)

    def step(self) -> bool:
        """Lets go of a file, if there is too much; whether it did. To be called when everything is flushed.

        One at a time: to remove it takes some ten milliseconds. Raises JournalError.
        """
        if not self._is_due:
            return False
        excess = self._excess()
        for record in self._candidates() if excess else ():
            if excess.concerns(record):
                if self._drop_oldest(record):
                    return True
                if record.results.is_consumed and record.log.seal():
                    return True  # what is in the file must be in the journal first
        self._is_due = False
        return False

    def describe(self) -> dict[str, Any]:
        """The bounds, and what is kept, as plain data."""
        limits = self._limits
        return {
            "keep_seconds": limits.keep_seconds,
            "results_limit_bytes": limits.results_bytes,
            "kept_results_limit_bytes": limits.kept_bytes,
            "results_bytes": sum(record.log.weight_bytes for record in self._jobs.values()),
        }

    def _candidates(self) -> Iterator[JobRecord]:
        """Those with consumed results: the longest-ended first, those that run last."""
        jobs = [record for record in self._jobs.values() if record.results.consumed > record.dropped.seq]
        ended = sorted((one for one in jobs if one.finished is not None), key=lambda one: one.ended_at)
        yield from ended
        yield from (one for one in jobs if one.finished is None)

    def _excess(self) -> _Excess:
        """What is over the bounds now."""
        all_bytes = sum(record.log.weight_bytes for record in self._jobs.values())
        blob_bytes = sum(record.log.blob_bytes for record in self._jobs.values())
        blob_bound = min(self._limits.kept_bytes, self._blobs.free_bytes() // FREE_SHARE)
        if self._blobs.in_memory:
            all_bytes -= blob_bytes
            blob_bound = min(blob_bound, MEMORY_KEPT_BYTES)
        bound = min(self._limits.kept_bytes, self._archive.free_bytes() // FREE_SHARE)
        return _Excess(all_bytes - bound, blob_bytes - blob_bound)

    def _drop_oldest(self, record: JobRecord) -> bool:
        """Lets go of the oldest file of a job, if all in it was consumed; whether it did."""
        number = record.log.oldest(record.results.consumed)
        if number is None or record.job in self._unknown:
            return False
        sealed = self._archive.sealed(record.job, number)
        if sealed is None:
            self._unknown.add(record.job)
            return False
        record.dropped.add(sealed)
        record.results.dropped(sealed.last)
        remove = record.log.detach_oldest()

        def afterwards() -> None:
            remove()
            self._let_go(record, sealed)

        self._archive.drop_results(record.dropped.record(record.job), number, afterwards)
        return True

    def _let_go(self, record: JobRecord, sealed: ResultsSealed) -> None:
        for seq, ref in sealed.blobs:
            if record.result_blobs.pop(seq, None) is not None:
                self._blobs.unpin(ref.name, f"{record.job}#{seq}")
