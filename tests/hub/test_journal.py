"""What was kept is there after the process died; what cannot be used is set aside or refused, never deleted."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from nbdist.hub.journal import FILE, SCHEMA, SPARE_PAGES, STEP_PAGES, Journal, JournalError
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
    orders.ResultsSealed("j", 1, 900, 1_000, 7, ((2, 5),), 1, 3, 4, ((6, m.BlobRef("1" * 64, 9)),)),
    orders.ResultsTaken("j", 5),
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


def test_a_directory_in_its_place_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE / "inner").mkdir(parents=True)
    assert records(tmp_path) == []
    (aside,) = tmp_path.glob(f"damaged-*-{FILE}")
    assert (aside / "inner").is_dir()
    assert str(aside) in caplog.text


def test_what_cannot_be_opened_is_named_and_not_touched(tmp_path: Path) -> None:
    (tmp_path / FILE).symlink_to(tmp_path / "nowhere" / "file")
    with pytest.raises(JournalError, match=rf"{FILE} cannot be opened: No such file.*--state DIR"):
        Journal(tmp_path)
    assert (tmp_path / FILE).is_symlink()


def test_the_wal_of_a_journal_that_was_emptied_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(tmp_path)
    journal.keep(taken("j"))
    journal.flush()
    wal = tmp_path / f"{FILE}-wal"
    data = wal.read_bytes()
    assert data
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / FILE).touch()
    (killed / wal.name).write_bytes(data)
    again = Journal(killed)
    assert list(again.entries()) == []
    assert again.is_incomplete
    (aside,) = killed.glob(f"damaged-*-{wal.name}")
    assert aside.read_bytes() == data
    assert str(aside) in caplog.text
    again.close()
    journal.close()


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


def test_one_record_is_found_among_those_that_were_flushed(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for record in EVERYTHING:
        journal.keep(record)
    assert journal.find(orders.ResultsSealed, "j", 1) is None
    journal.flush()
    assert isinstance(journal.find(orders.ResultsSealed, "j", 1), orders.ResultsSealed)
    assert journal.find(orders.ResultsSealed, "j", 2) is None
    journal.remove(orders.ResultsSealed, "j", 1)
    journal.forget_worker("w")
    journal.flush()
    assert len(list(journal.entries())) == len(EVERYTHING) - 2
    journal._file.execute("update records set head = '{' where kind = 'ResultsTaken'")
    with pytest.raises(JournalError, match="record of job j"):
        journal.find(orders.ResultsTaken, "j")


def full_of_items(folder: Path, jobs: int = 40) -> Journal:
    """40 MB, or as many jobs with 1 MB each."""
    journal = Journal(folder)
    for job in range(jobs):
        journal.keep(taken(f"j{job}"))
        for number in range(10):
            journal.keep(orders.ItemsTaken(f"j{job}", number, number + 1, 1), bytes(100_000))
        journal.flush()
    return journal


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_the_file_shrinks_in_small_steps_when_rows_go(tmp_path: Path) -> None:
    journal = full_of_items(tmp_path)
    before = size_of(tmp_path)
    assert not journal.shrink()
    for job in range(39):
        journal.forget(f"j{job}")
    journal.flush()
    free = steps = 0
    while journal.shrink():
        now = journal._file.execute("pragma freelist_count").fetchone()[0]
        assert steps == 0 or 0 < free - now <= STEP_PAGES, "no more at once, or the loop stands still"
        free, steps = now, steps + 1
    assert free == SPARE_PAGES
    assert not journal.shrink()
    journal.flush()
    journal.keep(taken("another"))
    journal.flush()
    journal.close()
    assert size_of(tmp_path) < before / 4
    assert [entry.job for entry in records(tmp_path)[1:11]] == ["j39"] * 10  # type: ignore[attr-defined]


def test_a_mostly_empty_file_of_another_layout_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbdist.hub.journal.MOSTLY_EMPTY_BYTES", 1_000_000)
    full_of_items(tmp_path, 10).close()
    with contextlib.closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as file:
        file.execute("pragma journal_mode = delete")
        file.execute("pragma auto_vacuum = none")
        file.execute("vacuum")
        file.execute("delete from records where job != 'j9'")
    before = size_of(tmp_path)
    assert len(records(tmp_path)) == 11
    assert size_of(tmp_path) < before / 4
    assert Journal(tmp_path)._file.execute("pragma auto_vacuum").fetchone()[0] == 2


# --- the file in which SQLite writes first ----------------------------------------------------------------------------

WAL = f"{FILE}-wal"


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """What a hub leaves that is killed: fifty records in the file, fifty in the WAL."""
    folder, living = tmp_path / "killed", tmp_path / "living"
    living.mkdir()
    journal = Journal(living)
    journal._file.execute("pragma wal_autocheckpoint = 0")
    for number in range(50):
        journal.keep(orders.ItemsTaken("j", number, number + 1, 1), bytes(50_000))
        journal.flush()
    size = (living / WAL).stat().st_size
    journal._file.execute("pragma wal_checkpoint(restart)")
    for number in range(50, 100):
        journal.keep(orders.ItemsTaken("j", number, number + 1, 1), bytes(5_000))
        journal.flush()
    assert size == (living / WAL).stat().st_size, "its end is of the use before"
    folder.mkdir()
    for name in (FILE, WAL):
        (folder / name).write_bytes((living / name).read_bytes())
    journal.close()
    return folder


def starts(folder: Path) -> list[int]:
    journal = Journal(folder)
    found = [entry.message.start for entry in journal.entries() if isinstance(entry.message, orders.ItemsTaken)]
    journal.keep(taken("after"))
    journal.flush()
    return found


def test_a_wal_without_damage_is_used(killed: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert starts(killed) == list(range(100))
    assert caplog.text == ""
    assert not list(killed.glob("damaged-*"))


@pytest.mark.parametrize("place", [0, 10, 40, 0.5, 0.97], ids=["magic", "header", "frame", "middle", "end"])
def test_a_damaged_wal_is_kept_aside_and_named_and_the_rest_is_served(
    killed: Path, caplog: pytest.LogCaptureFixture, place: float
) -> None:
    data = bytearray((killed / WAL).read_bytes())
    used = 50 * 4 * (24 + 4096)
    data[place if isinstance(place, int) else int(used * place)] ^= 0xFF
    (killed / WAL).write_bytes(data)
    found = starts(killed)
    assert found == list(range(len(found)))
    assert 50 <= len(found) < 100
    assert len(found) > 60 or place != 0.5, "what is before the damage is used"
    (aside,) = killed.glob(f"damaged-*-{WAL}")
    assert aside.read_bytes() == bytes(data)
    assert aside.stat().st_mode & 0o777 == 0o600
    assert f"{killed / WAL} is damaged: a copy is kept as {aside}" in caplog.text
    assert "is lost" in caplog.text
    assert len(starts(killed)[:50]) == 50
    assert caplog.text.count("is damaged") == 1, "the next hub has nothing to say"


def test_a_transaction_that_was_being_written_is_no_damage(killed: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = (killed / WAL).read_bytes()
    frame = 24 + 4096
    frames = [data[at : at + frame] for at in range(32, len(data), frame)]
    salts = data[16:24]
    used = max(place for place, one in enumerate(frames) if one[8:16] == salts) + 1
    torn = frames[used - 1][:4] + bytes(4) + salts + bytes(8) + bytes(4096)
    (killed / WAL).write_bytes(data[: 32 + used * frame] + torn * 3)
    assert starts(killed) == list(range(100))
    assert caplog.text == ""


def test_results_of_a_job_that_was_in_a_damaged_wal_are_not_deleted(killed: Path) -> None:
    (killed / WAL).write_bytes(b"\xff" * 5_000)
    assert Journal(killed).is_incomplete
