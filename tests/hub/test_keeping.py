"""What is kept of results: all of them up to a bound; then what was consumed goes, the longest-ended jobs first."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from nbdist.hub.access import Grant
from nbdist.hub.archive import Archive
from nbdist.hub.blobs import BlobStore
from nbdist.hub.jobs import JobRecord
from nbdist.hub.journal import JournalError
from nbdist.hub.limits import Limits
from nbdist.hub.resultlog import ENTRY_BYTES
from nbdist.hub.stores import Stores
from nbdist.scheduler.orders import JobEnded, JobTaken
from nbdist.wire import messages as m
from nbdist.wire.blobs import blob_name

MACHINE = m.Machine("host", "linux", "x86_64", "3.11.7", "cpython", "0.1.0")
GRANT = Grant("notebooks", "notebook")
SIZE = 10_000 - ENTRY_BYTES
"""With what it costs beside, a result takes 10 kB."""


class Place:
    """The stores of one hub after another on a directory, with room for `kept` results."""

    def __init__(self, folder: Path, kept: int = 100, in_memory: bool = False) -> None:
        self.folder = folder
        self.limits = Limits(results_bytes=1_000_000, kept_bytes=kept * 10_000)
        self.in_memory = in_memory
        self.now = 1_000_000.0
        self.start()

    def start(self) -> None:
        self.blobs = BlobStore(self.folder / "blobs", in_memory=self.in_memory)
        self.archive = Archive(self.folder, clock=lambda: self.now)
        self.stores = Stores(self.blobs, self.archive, self.limits)
        _, self.jobs, _ = self.stores.restore()

    def kept(self, job: str) -> int:
        """How many results of a job are here."""
        record = self.stores.get(job)
        assert record is not None
        return record.results.last - record.dropped.seq

    def record(self, job: str) -> JobRecord:
        record = self.stores.get(job)
        assert record is not None
        return record

    def job(self, job: str, results: int, consumed: int = 0, *, blobs: bool = False, failed: int = -1) -> None:
        """A job with so many results, of which so many were consumed."""
        spec = m.SubmitJob(job, job, MACHINE, m.JobOptions(), ranges=((0, 1000, 1),))
        self.stores.submit("n1", GRANT, spec, b"the task")
        self.stores.keep_job(JobTaken("n1", spec))
        for seq in range(1, results + 1):
            ref = self.put(f"{job} {seq}".encode().ljust(SIZE)) if blobs else None
            failures = (seq - 1,) if seq - 1 == failed else ()
            result = m.Result(job, seq, seq - 1, seq, "w", failed=failures, blob=ref)
            self.stores.keep_result(result, b"" if ref else bytes(SIZE))
        self.stores.flush()
        if consumed:
            self.stores.take(self.record(job), m.TakeResults(job, consumed, 1 << 30))

    def end(self, job: str) -> None:
        self.now += 1.0
        record = self.record(job)
        self.stores.keep_end(record, JobEnded(m.JobFinished(job, "done", record.results.last, 1000)))

    def put(self, data: bytes) -> m.BlobRef:
        incoming = self.blobs.incoming(blob_name([data]), len(data))
        incoming.write(data)
        incoming.finish()
        return m.BlobRef(blob_name([data]), len(data))

    def tidy(self) -> None:
        """As the turns of the loop do."""
        self.stores.flush()
        while self.stores.tidy():
            self.stores.flush()

    def files(self) -> int:
        return len(list((self.folder / "results").iterdir()))


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Place]:
    """Files of results have ten results each."""
    log = "nbdist.hub.resultlog"
    monkeypatch.setattr(f"{log}.ResultLog.__init__.__defaults__", (10 * SIZE, lambda sealed: None))
    monkeypatch.setattr(f"{log}.SEGMENT_BLOB_BYTES", 10 * SIZE)
    return lambda **options: Place(tmp_path, **options)


def test_all_results_of_a_job_are_kept_while_there_is_room(make: Callable[..., Place]) -> None:
    place = make(kept=100)
    place.job("a", 60, consumed=60)
    place.end("a")
    place.tidy()
    assert place.kept("a") == 60
    place.stores.attach(place.record("a"), m.AttachJob("a", 0, 1 << 30), "n1")
    assert len(list(place.record("a").results.sendable())) == 60


def test_what_was_consumed_goes_first_of_the_longest_ended_and_last_of_those_that_run(
    make: Callable[..., Place],
) -> None:
    place = make(kept=100)
    place.job("runs", 40, consumed=40)
    place.job("young", 40, consumed=40)
    place.job("old", 40, consumed=40)
    place.end("old")
    place.end("young")
    place.tidy()
    assert [place.kept(job) for job in ("old", "young", "runs")] == [20, 40, 40]
    place.job("more", 70)
    place.stores.keeping.changed()
    place.tidy()
    assert [place.kept(job) for job in ("old", "young", "runs", "more")] == [0, 0, 30, 70]


def test_what_was_not_consumed_stays_however_much_it_is(make: Callable[..., Place]) -> None:
    place = make(kept=10)
    place.job("a", 50)
    place.job("b", 50, consumed=25)
    place.end("a")
    place.tidy()
    assert [place.kept(job) for job in ("a", "b")] == [50, 30], "whole files of ten"
    place.stores.take(place.record("a"), m.TakeResults("a", 50, 1 << 30))
    place.tidy()
    assert [place.kept(job) for job in ("a", "b")] == [0, 30]


def test_items_of_results_that_went_stay_done_and_failed(make: Callable[..., Place]) -> None:
    place = make(kept=10)
    place.job("a", 35, consumed=25, failed=2)
    place.tidy()
    assert place.kept("a") == 15
    place.start()
    (kept,) = place.jobs
    assert (kept.done, kept.seq, kept.failed_items, kept.first_failed) == (((0, 35),), 35, 1, 2)
    record = place.record("a")
    assert record.results.consumed == 25, "the journal knows what was consumed"
    place.stores.attach(record, m.AttachJob("a", 25, 1 << 30), "n1")
    assert [result.seq for result, _ in record.results.sendable()] == list(range(26, 36))


def test_a_small_disk_is_shared(make: Callable[..., Place], monkeypatch: pytest.MonkeyPatch) -> None:
    place = make(kept=100)
    place.job("a", 60, consumed=60)
    place.end("a")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=800_000))
    place.tidy()
    assert place.kept("a") == 20, "a quarter of what is free"


@pytest.mark.parametrize("step", [1, 2])
def test_a_hub_that_is_killed_while_results_go_finds_what_the_journal_says(
    make: Callable[..., Place], step: int
) -> None:
    place = make(kept=10)
    place.job("a", 30, consumed=20)
    place.end("a")
    place.stores.flush()
    before = place.files()
    assert place.stores.tidy()
    assert place.files() == before, "nothing goes before that is kept"
    if step == 2:
        place.archive._journal.flush()
    place.start()
    record = place.record("a")
    assert place.kept("a") == (30 if step == 1 else 20)
    assert place.files() == (before if step == 1 else before - 1)
    assert (record.results.last, record.results.consumed) == (30, 20)
    place.stores.attach(record, m.AttachJob("a", 20, 1 << 30), "n1")
    assert [result.seq for result, _ in record.results.sendable()] == list(range(21, 31))


def test_a_disk_that_is_full_keeps_everything_until_there_is_room(
    make: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make(kept=10)
    place.job("a", 30, consumed=20)

    def full() -> None:
        raise JournalError("disk is full")

    place.stores.flush()
    assert place.stores.tidy()
    with monkeypatch.context() as patch:
        patch.setattr(place.archive._journal, "flush", full)
        with pytest.raises(JournalError):
            place.stores.flush()
        assert place.files() == 3
    place.tidy()
    assert place.files() == 1


def test_large_results_go_with_their_files_and_no_others(make: Callable[..., Place]) -> None:
    place = make(kept=40)
    place.job("a", 40, consumed=25, blobs=True)
    place.job("b", 20, blobs=True)
    place.end("a")
    place.tidy()
    assert place.kept("a") == 20
    assert len(list((place.folder / "blobs" / "blobs").iterdir())) == 40
    place.stores.forget("a")
    place.tidy()
    assert len(list((place.folder / "blobs" / "blobs").iterdir())) == 20


def test_in_shared_memory_there_is_a_bound_of_its_own(
    make: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbdist.hub.keeping.MEMORY_KEPT_BYTES", 200_000)
    place = make(kept=100, in_memory=True)
    place.job("small", 50, consumed=50)
    place.end("small")
    place.job("large", 40, consumed=40, blobs=True)
    place.end("large")
    place.tidy()
    assert [place.kept(job) for job in ("small", "large")] == [50, 20]


def test_the_scheduler_hears_what_waits_when_that_has_changed_by_much(make: Callable[..., Place]) -> None:
    place = make()
    place.job("a", 5)
    record = place.record("a")
    assert place.stores.keeping.waiting(record) is None
    place.job("b", 10)
    told = place.stores.keeping.waiting(place.record("b"))
    assert told is not None
    assert told.waiting_bytes == 100_000
    assert told.free_bytes > 0
    assert place.stores.keeping.waiting(place.record("b")) is None
    place.stores.take(place.record("b"), m.TakeResults("b", 9, 1 << 30))
    told = place.stores.keeping.waiting(place.record("b"))
    assert told is not None
    assert told.waiting_bytes == 10_000
    place.end("b")
    assert place.stores.keeping.waiting(place.record("b")) is None


def test_sealed_files_are_not_read_when_a_hub_starts(
    make: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make()
    place.job("a", 45, consumed=45)
    place.end("a")
    place.tidy()
    monkeypatch.setattr("nbdist.hub.resultlog._read", lambda *_: pytest.fail("a file was read"))
    place.start()
    assert place.record("a").results.last == 45
    assert place.jobs[0].done == ((0, 45),)


def test_a_file_that_is_needed_is_not_sealed_for_nothing(make: Callable[..., Place]) -> None:
    place = make(kept=0)
    place.job("a", 5, consumed=3)
    place.tidy()
    assert place.kept("a") == 5
    assert place.record("a").log.seal(), "it was not sealed"


def test_a_hub_that_is_started_with_less_room_lets_go_of_what_was_consumed(
    make: Callable[..., Place],
) -> None:
    place = make(kept=100)
    place.job("a", 40, consumed=40)
    place.end("a")
    place.tidy()
    place.limits = Limits(kept_bytes=200_000)
    place.start()
    place.tidy()
    assert place.kept("a") == 20
