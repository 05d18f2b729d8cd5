"""What was kept is there after the process died; what cannot be used is set aside or refused, never deleted."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from nbdist.hub.journal import FILE, SCHEMA, Journal, JournalError
from nbdist.scheduler import orders
from nbdist.scheduler.kept import Kept
from nbdist.wire import messages as m

MACHINE = m.Machine("host", "linux", "x86_64", "3.11.7", "cpython", "0.1.0")


def taken(job: str) -> orders.JobTaken:
    spec = m.SubmitJob(job, "name", MACHINE, m.JobOptions(retries=2), blobs=(m.BlobRef("0" * 64, 7),))
    return orders.JobTaken("notebook", spec)


def records(folder: Path) -> list[m.Message]:
    journal = Journal(folder)
    found = [entry.message for entry in journal.entries()]
    journal.close()
    return found


EVERYTHING: list[m.Message] = [
    taken("j"),
    orders.TargetsSet("j", (("w", -1), ("v", 2))),
    orders.ItemsTaken("j", 0, 5, 100),
    orders.ItemsClosed("j", 5),
    orders.ItemTried("j", 3, 1, 0, 2),
    orders.ResultsDropped("j", 4, ((0, 2),), 1, 0),
    orders.JobStopping("j", "interrupted"),
    orders.JobEnded(m.JobFinished("j", "cancelled", 4, 5, "interrupted")),
    orders.WorkerHere("w"),
]


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for record in EVERYTHING:
        journal.keep(record, b"payload of " + type(record).__name__.encode())
    journal.flush()
    again = Journal(tmp_path)  # the first one was never closed
    found = list(again.entries())
    assert [entry.message for entry in found] == EVERYTHING
    assert all(entry.payload == b"payload of " + type(entry.message).__name__.encode() for entry in found)
    kept = Kept()
    for entry in found:
        kept.add(entry.message)
    (job,) = kept.jobs()
    assert job.finished is not None
    assert list(kept.workers) == ["w"]


def test_what_a_killed_process_had_flushed_is_there_and_nothing_else(tmp_path: Path) -> None:
    program = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from nbdist.hub.journal import Journal
from nbdist.scheduler import orders
from pathlib import Path
journal = Journal(Path({str(tmp_path)!r}))
for number in range(100):
    journal.keep(orders.ItemsTaken("j", number, number + 1, 1), b"x" * 1000)
    if number % 10 == 9:
        journal.flush()
journal.keep(orders.ItemsTaken("j", 100, 101, 1))
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert [record.start for record in records(tmp_path) if isinstance(record, orders.ItemsTaken)] == list(range(100))


def test_what_is_not_needed_goes(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for job in ("a", "b"):
        journal.keep(taken(job))
        journal.keep(orders.ItemsTaken(job, 0, 5, 1), b"x")
        journal.keep(orders.ItemsTaken(job, 5, 9, 1), b"y")
    journal.flush()
    journal.forget("a")
    journal.empty(orders.ItemsTaken, "b", 5)
    journal.replace(orders.ItemTried("b", 3, 1, 0, 0))
    journal.replace(orders.ItemTried("b", 3, 2, 0, 0))
    journal.flush()
    journal.close()
    found = [(entry.message, entry.payload) for entry in Journal(tmp_path).entries()]
    blocks = [(orders.ItemsTaken("b", 0, 5, 1), b"x"), (orders.ItemsTaken("b", 5, 9, 1), b"")]
    assert found == [(taken("b"), b""), *blocks, (orders.ItemTried("b", 3, 2, 0, 0), b"")]


def test_a_full_disk_is_said_and_what_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    pages = journal._file.execute("pragma page_count").fetchone()[0]
    journal._file.execute(f"pragma max_page_count = {pages + 2}")
    journal.keep(taken("small"))
    journal.flush()
    journal.keep(taken("large"), b"x" * 100_000)
    for _ in range(2):
        with pytest.raises(JournalError, match=f"{FILE} cannot be written: .*full"):
            journal.flush()
    journal.keep(taken("after"))
    journal._file.execute("pragma max_page_count = 100000")
    journal.flush()
    assert records(tmp_path) == [taken("small"), taken("large"), taken("after")]


def test_a_damaged_journal_is_set_aside_and_a_new_one_begun(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(tmp_path)
    for number in range(200):
        journal.keep(orders.ItemsTaken("j", number, number + 1, 1), b"x" * 1000)
    journal.close()
    path = tmp_path / FILE
    data = bytearray(path.read_bytes())
    data[4096:60_000] = bytes(60_000 - 4096)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert records(tmp_path) == []
    (aside,) = tmp_path.glob(f"damaged-*-{FILE}")
    assert aside.read_bytes() == bytes(data)
    assert str(aside) in caplog.text


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_bytes(b"this is a letter to my aunt" * 100)
    assert records(tmp_path) == []
    assert len(list(tmp_path.glob(f"damaged-*-{FILE}"))) == 1


def test_a_record_that_cannot_be_read_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path)
    for record in EVERYTHING:
        journal.keep(record)
    journal.flush()
    journal._file.execute("update records set head = '{' where kind = 'ItemTried'")
    journal._file.execute("update records set kind = 'Nonsense' where kind = 'TargetsSet'")
    journal.close()
    with caplog.at_level(logging.WARNING):
        found = records(tmp_path)
    assert len(found) == len(EVERYTHING) - 2
    assert caplog.text.count("record of job j in") == 2


def test_the_journal_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    Journal(tmp_path).close()
    file = sqlite3.connect(tmp_path / FILE)
    file.execute(f"pragma user_version = {SCHEMA + 1}")
    file.close()
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(JournalError, match=r"newer nbdist.*--state DIR"):
        Journal(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_records_know_their_age(tmp_path: Path) -> None:
    now = 1_000.0
    journal = Journal(tmp_path, clock=lambda: now)
    journal.keep(taken("j"))
    journal.flush()
    now = 1_060.0
    assert [entry.age_seconds for entry in journal.entries()] == [60.0]


def test_a_journal_that_somebody_has_locked_is_no_damaged_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.keep(taken("j"))
    journal.close()
    with contextlib.closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("pragma journal_mode = delete")
        other.execute("begin exclusive")
        with pytest.raises(JournalError, match=r"journal\.sqlite3 cannot be opened: database is locked"):
            Journal(tmp_path, patience_seconds=0.0)
    assert records(tmp_path) == [taken("j")]
    assert list(tmp_path.glob("damaged-*")) == []
