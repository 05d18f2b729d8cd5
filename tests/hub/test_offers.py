"""Which job a notebook is offered that runs the same cell again."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbdist.errors import ProtocolError
from nbdist.hub import offers
from nbdist.hub.access import Grant
from nbdist.hub.archive import Archive
from nbdist.hub.blobs import BlobStore
from nbdist.hub.jobs import JobRecord
from nbdist.hub.stores import Stores
from nbdist.scheduler.orders import ItemsTaken, JobEnded, JobTaken
from nbdist.wire import blocks
from nbdist.wire import messages as m
from nbdist.wire.blobs import blob_name

MACHINE = m.Machine("host", "linux", "x86_64", "3.11.7", "cpython", "0.1.0")
GRANT = Grant("mine", "notebook")
KEY, OTHER = "a" * 64, "b" * 64


class Place:
    """The stores of one hub after another on a directory, and who is connected."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1_000_000.0
        self.here = {"n1", "n2"}
        self.restart()

    def restart(self) -> None:
        """What was flushed is all that there is."""
        self.blobs = BlobStore(self.folder / "blobs")
        self.stores = Stores(self.blobs, Archive(self.folder, clock=lambda: self.now))
        self.stores.restore()

    def job(self, job: str, key: str = KEY, *, peer: str = "n1", grant: Grant = GRANT, **fields: object) -> JobRecord:
        spec = m.SubmitJob(job, job, MACHINE, m.JobOptions(), key=key, **({"ranges": ((0, 2, 1),)} | fields))  # type: ignore[arg-type]
        record = self.stores.submit(peer, grant, spec, b"the task")
        self.stores.keep_job(JobTaken(peer, spec))
        return record

    def result(self, job: str, seq: int, **fields: object) -> None:
        self.stores.keep_result(m.Result(job, seq, seq - 1, seq, "w", **fields), b"value %d" % seq)  # type: ignore[arg-type]

    def end(self, record: JobRecord, outcome: m.Outcome = "done", last_seq: int = 2) -> None:
        self.stores.keep_end(record, JobEnded(m.JobFinished(record.job, outcome, last_seq, 2)))
        self.stores.flush()

    def done(self, job: str, **fields: object) -> JobRecord:
        """A job that has ended well."""
        record = self.job(job, **fields)  # type: ignore[arg-type]
        self.result(job, 1)
        self.result(job, 2)
        self.end(record)
        return record

    def found(self, key: str = KEY, peer: str = "n1", owner: str = "mine") -> str:
        record = self.stores.offers.find(key, owner, peer, self.here.__contains__)
        return "" if record is None else record.job

    def read(self, job: str, peer: str = "n1") -> list[bytes]:
        record = self.stores.get(job)
        assert record is not None
        assert self.stores.attach(record, m.AttachJob(job, 0, 1 << 30), peer)
        return [bytes(payload) for _, payload in record.results.sendable()]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_newest_job_with_the_key_is_found(place: Place) -> None:
    assert place.found() == ""
    place.done("old")
    place.done("other", key=OTHER)
    assert place.found() == "old"
    place.done("new")
    place.end(place.job("failed"), "failed")
    place.done("keyless", key="")
    assert (place.found(), place.found(OTHER), place.found("")) == ("new", "other", "")


def test_a_job_of_another_credential_is_not_found(place: Place) -> None:
    place.done("theirs", peer="n2", grant=Grant("theirs", "notebook"))
    place.here.clear()
    assert place.found() == ""
    assert place.found(owner="theirs") == "theirs"


def test_what_did_not_end_well_is_not_found(place: Place) -> None:
    for outcome in ("failed", "cancelled", "refused"):
        record = place.job(outcome)
        place.result(outcome, 1)
        place.end(record, outcome, 1)  # type: ignore[arg-type]
    kept = place.job("kept")  # with failures in their places
    place.result("kept", 1, failed=(0,))
    place.result("kept", 2)
    place.end(kept)
    crashed = place.job("crashed")
    place.result("crashed", 1)
    place.result("crashed", 2, fault=m.ItemFault(1, "crashed", "signal 9", "w", 3))
    place.end(crashed)
    assert place.found() == ""
    place.restart()
    assert place.found() == ""
    stopped = place.job("stopped")
    place.result("stopped", 1, stopped_at=0)
    place.end(stopped, "stopped", 1)
    assert place.found() == "stopped"


def test_results_that_are_gone_are_not_offered(place: Place) -> None:
    record = place.done("j")
    record.dropped.seq = 1
    assert place.found() == ""
    place.stores.forget("j")
    assert place.found() == ""
    place.end(place.job("short"))  # its results did not come: the log was damaged
    assert place.found() == ""


def test_a_job_of_a_notebook_that_is_open_is_offered_to_that_notebook_alone(place: Place) -> None:
    place.done("j")
    assert (place.found(peer="n1"), place.found(peer="n2")) == ("j", "")
    place.here.discard("n1")
    assert place.found(peer="n2") == "j"


def test_a_job_that_goes_on_is_offered_once_its_notebook_has_gone_and_all_its_items_are_here(place: Place) -> None:
    place.job("ranges")
    assert place.found() == ""
    place.here.clear()
    assert place.found() == "ranges"
    listed = place.job("list", ranges=(), total=2)
    block = blocks.join([(1, b"a")])
    assert place.found() == "ranges"
    for start in (0, 1):
        place.stores.add_items(listed, m.AddItems("list", start, 1), block)
        place.stores.keep(ItemsTaken("list", start, start + 1, len(block)), block)
    assert place.found() == "list"
    place.job("waiting", blobs=(m.BlobRef("0" * 64, 5),))
    assert place.found() == "list"


def test_it_is_found_after_a_restart_unless_a_large_result_is_lost(place: Place) -> None:
    place.done("j")
    name = blob_name([b"large"])
    for job in ("k", "l"):
        incoming = place.blobs.incoming(name, 5)
        incoming.write(b"large")
        incoming.finish()
        record = place.job(job, key=OTHER)
        place.result(job, 1, blob=m.BlobRef(name, 5))
        place.end(record, last_seq=1)
    place.restart()
    assert (place.found(peer="n9"), place.found(OTHER, peer="n9")) == ("", "")
    place.here.clear()
    assert (place.found(), place.found(OTHER)) == ("j", "l")
    assert place.read("j") == [b"value 1", b"value 2"]
    (place.folder / "blobs" / "blobs" / name).unlink()
    place.restart()
    assert (place.found(), place.found(OTHER)) == ("j", "")


def test_a_job_that_its_notebook_forgets_is_kept_for_the_next_run_of_its_cell(place: Place) -> None:
    record, keyless = place.done("j"), place.done("keyless", key="")
    assert place.stores.leave(record)
    assert not place.stores.leave(keyless)
    assert record.results.is_consumed
    place.now += 60
    assert place.found() == "j"
    assert place.stores.ended_seconds(record) == 60
    assert place.read("j") == [b"value 1", b"value 2"]
    assert place.stores.leave(record)
    record.is_released = True
    assert place.found() == ""
    assert not place.stores.leave(record)


def test_jobs_that_were_left_are_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    first = place.done("first")
    monkeypatch.setattr(offers, "LEFT_JOBS", 2)
    records = [first, *(place.done(name, key=OTHER) for name in ("second", "held", "third"))]
    for record in records:
        if record.job != "held":
            assert place.stores.leave(record)
    assert place.stores.get("first") is None
    assert all(place.stores.get(name) for name in ("second", "third", "held"))


@pytest.mark.parametrize("field", ["key", "items_key"])
@pytest.mark.parametrize("key", ["a", "A" * 64, "a" * 65, "a" * 64 + "\n", "../" * 21 + "a"])
def test_a_key_has_64_hex_digits(place: Place, field: str, key: str) -> None:
    with pytest.raises(ProtocolError, match="64 hex digits"):
        place.job("j", **({"key": "", field: key}))  # type: ignore[arg-type]
    assert place.stores.get("j") is None
