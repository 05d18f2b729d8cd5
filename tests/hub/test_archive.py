"""A switchboard that is made anew on the same directory knows what the one before it knew."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from nbdist.errors import NbdistError
from nbdist.hub.access import Grant
from nbdist.hub.archive import Archive
from nbdist.hub.blobs import BlobStore
from nbdist.hub.limits import KEEP_SECONDS
from nbdist.hub.stores import Stores
from nbdist.scheduler.orders import DropItems, ItemsTaken, JobEnded, JobTaken, WorkerGone, WorkerHere
from nbdist.wire import blocks
from nbdist.wire import messages as m
from nbdist.wire.blobs import blob_name

MACHINE = m.Machine("host", "linux", "x86_64", "3.11.7", "cpython", "0.1.0")
GRANT = Grant("notebooks", "notebook")


class Place:
    """The stores of one hub after another on a directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1_000_000.0
        self._set_by = 0.0
        self.start()

    def start(self) -> None:
        self.blobs = BlobStore(self.folder / "blobs")
        self.stores = Stores(self.blobs, Archive(self.folder, clock=lambda: self.now, wall_clock=lambda: self.wall()))
        self.records, self.jobs, self.workers = self.stores.restore()

    def wall(self) -> float:
        return self.now + self._set_by

    def set_clock(self, seconds: float) -> None:
        """Somebody sets the clock of the machine forward, or back."""
        self._set_by += seconds

    def kill_and_start(self) -> None:
        """What was flushed is all that there is: nothing is closed."""
        self.start()

    def submit(self, job: str = "j", **fields: object) -> None:
        spec = m.SubmitJob(job, job, MACHINE, m.JobOptions(), **fields)  # type: ignore[arg-type]
        self.stores.submit("n1", GRANT, spec, b"the task")
        self.stores.keep_job(JobTaken("n1", spec))
        self.stores.flush()

    def results(self, job: str = "j") -> list[bytes]:
        record = self.stores.get(job)
        assert record is not None
        self.stores.attach(record, m.AttachJob(job, 0, 1 << 30), "n1")
        return [bytes(payload) for _, payload in record.results.sendable()]

    def put(self, data: bytes) -> m.BlobRef:
        name = blob_name([data])
        incoming = self.blobs.incoming(name, len(data))
        incoming.write(data)
        incoming.finish()
        return m.BlobRef(name, len(data))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_jobs_tasks_and_results_come_back(place: Place) -> None:
    place.submit(ranges=((0, 10, 1),))
    place.stores.keep_result(m.Result("j", 1, 0, 4, "w"), b"first")
    place.stores.keep_result(m.Result("j", 2, 4, 6, "w"), b"second")
    place.stores.flush()
    place.kill_and_start()
    (record,), (kept,) = place.records, place.jobs
    assert (record.task, record.owner, record.peer, record.attached) == (b"the task", "notebooks", "n1", False)
    assert (kept.owner, kept.seq, kept.done) == ("n1", 2, ((0, 6),))
    assert place.results() == [b"first", b"second"]


def test_items_come_back_but_for_those_that_are_finished(place: Place) -> None:
    place.submit()
    record = place.stores.get("j")
    assert record is not None
    for start in (0, 2, 4):
        block = blocks.join([(2, b"block %d" % start)])
        assert place.stores.add_items(record, m.AddItems("j", start, 2), block)
        place.stores.keep(ItemsTaken("j", start, start + 2, len(block)), block)
    place.stores.keep_result(m.Result("j", 1, 0, 2, "w"), b"done")
    place.stores.drop_items(DropItems("j", 0, 2))
    place.stores.flush()
    place.kill_and_start()
    (kept,) = place.jobs
    assert kept.available == 6
    assert [(block.start, block.stop) for block in kept.blocks] == [(2, 4), (4, 6)]
    items = place.records[0].items
    assert items is not None
    assert [items.holds(start) for start in (0, 2, 4)] == [False, True, True]
    assert b"block 4" in items.cut(4, 6)
    assert items.stop == 6


def test_blobs_that_a_job_needs_are_pinned_again_and_missing_ones_asked_for(place: Place) -> None:
    here, result = place.put(b"captured"), place.put(b"large result")
    missing = m.BlobRef("0" * 64, 5)
    place.submit(ranges=((0, 2, 1),), blobs=(here, missing))
    place.stores.keep_result(m.Result("j", 1, 0, 1, "w", blob=result), b"")
    place.stores.flush()
    place.kill_and_start()
    assert place.records[0].missing == {missing.name}
    assert list(place.blobs.holders(here.name)) == ["j"]
    assert list(place.blobs.holders(result.name)) == ["j#1"]
    place.stores.forget("j")
    place.stores.flush()
    assert not place.blobs.has(result.name)


def test_a_forgotten_job_leaves_nothing_even_if_the_hub_died_in_between(place: Place) -> None:
    place.submit(ranges=((0, 10, 1),))
    place.stores.keep_result(m.Result("j", 1, 0, 4, "w"), b"first")
    place.stores.flush()
    place.stores._archive._afterwards.append(lambda: pytest.fail("it dies before files are removed"))
    place.stores.forget("j")
    place.stores._archive._afterwards.clear()
    place.stores.flush()
    assert len(list((place.folder / "results").iterdir())) == 1
    place.kill_and_start()
    assert place.jobs == []
    assert list((place.folder / "results").iterdir()) == []


def test_a_job_that_ended_is_kept_for_a_day(place: Place) -> None:
    place.submit(ranges=((0, 1, 1),))
    record = place.stores.get("j")
    assert record is not None
    place.stores.keep_result(m.Result("j", 1, 0, 1, "w"), b"value")
    place.stores.keep_end(record, JobEnded(m.JobFinished("j", "done", 1, 1)))
    place.stores.flush()
    place.now += KEEP_SECONDS - 1
    place.kill_and_start()
    assert place.stores.expired() == []
    assert place.results() == [b"value"]
    place.stores.flush()
    place.now += KEEP_SECONDS - 1
    assert place.stores.expired() == [], "it was read"
    place.now += 2
    assert place.stores.expired() == ["j"]
    place.kill_and_start()
    assert place.stores.expired() == ["j"]


def test_a_clock_that_is_set_makes_no_job_older_while_the_hub_runs(place: Place) -> None:
    """A small computer without a clock of its own hears what day it is while jobs run."""
    place.submit(ranges=((0, 1, 1),))
    record = place.stores.get("j")
    assert record is not None
    place.stores.keep_end(record, JobEnded(m.JobFinished("j", "done", 1, 1)))
    place.stores.flush()
    place.set_clock(20_000 * 86_400.0)
    assert place.stores.expired() == []
    place.set_clock(-40_000 * 86_400.0)
    place.kill_and_start()
    assert place.stores.expired() == []


def test_the_workers_that_were_here_are_known(place: Place) -> None:
    for message in (WorkerHere("a"), WorkerHere("b"), WorkerHere("a"), WorkerGone("b")):
        place.stores.keep(message, b"")
    place.stores.flush()
    place.kill_and_start()
    assert place.workers == ["a"]
    place.stores.flush()
    place.kill_and_start()
    assert place.workers == [], "they say again that they are here"


@pytest.mark.parametrize("how", ["unreadable", "emptied", "gone"])
def test_results_of_a_job_that_the_journal_has_lost_are_kept_for_ever_and_named(
    place: Place, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    place.submit(ranges=((0, 10, 1),))
    place.stores.keep_result(m.Result("j", 1, 0, 4, "w"), b"first")
    place.stores.flush()
    place.stores.close()
    (results,) = (place.folder / "results").iterdir()
    data, path = results.read_bytes(), place.folder / "journal.sqlite3"
    if how == "unreadable":
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as journal:
            journal.execute("update records set head = '{' where kind = 'JobTaken'")
    else:
        for left in place.folder.glob("journal.sqlite3*"):
            left.unlink()
        if how == "emptied":
            path.touch()
    for _ in range(3):
        place.kill_and_start()
        assert place.jobs == []
        (aside,) = (place.folder / "results").iterdir()
        assert aside.read_bytes() == data
    assert aside.name.startswith("damaged-")
    assert f"1 files in {place.folder / 'results'} have results of jobs that the journal does not know" in caplog.text
    place.submit(ranges=((0, 10, 1),))  # of the same id
    place.stores.keep_result(m.Result("j", 1, 0, 4, "w"), b"anew")
    place.stores.flush()
    place.kill_and_start()
    assert place.results() == [b"anew"]


def test_a_file_where_results_belong_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    with pytest.raises(NbdistError, match=r"results is no directory.*--state DIR"):
        Archive(tmp_path)


def test_a_job_knows_when_it_was_submitted_and_when_it_ended(place: Place) -> None:
    place.submit(ranges=((0, 1, 1),))
    record = place.stores.get("j")
    assert record is not None
    place.now += 40.0
    place.stores.keep_end(record, JobEnded(m.JobFinished("j", "done", 0, 1)))
    place.stores.flush()
    place.now += 20.0
    place.kill_and_start()
    (kept,) = place.jobs
    assert (kept.age_seconds, kept.ended_seconds) == (60.0, 20.0)
    place.now -= 3_600.0  # somebody has set the clock
    place.kill_and_start()
    assert (place.jobs[0].age_seconds, place.jobs[0].ended_seconds) == (0.0, 0.0)
