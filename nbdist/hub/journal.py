"""What must outlive the hub beside results and blobs: an SQLite file of what the stores were told of jobs and workers.

Records are collected, and written together by `flush`, once for each turn of the hub's loop: what peers are told
because of them waits for that. Durable means that it survives the death of the process, not of the machine: SQLite is
not asked to wait for the disk.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from nbdist.errors import FrameError, NbdistError
from nbdist.hub.statedir import damaged_name
from nbdist.hub.walcheck import has_lost
from nbdist.scheduler import orders
from nbdist.wire import frames
from nbdist.wire.frames import Payload
from nbdist.wire.messages import Message, PortableTask

SCHEMA = 1
"""Of the file; a newer one is not touched."""
FILE = "journal.sqlite3"
SPARE_PAGES = 1024
"""So many free pages stay in the file: they are needed again soon."""
STEP_PAGES = 64
"""So many are given back at once: that takes about a millisecond, and ten where it makes SQLite move its WAL."""
MOSTLY_EMPTY_BYTES = 64 * 1024**2
"""A file of another layout with so much in free pages, and more than in others, is written anew when it is opened."""
WAL_PAGES = 256
"""The file beside it, in which records come first, is moved to where they belong once it has so many, …"""
WAL_BYTES = 16 * 1024**2
"""… and is cut to this size then."""
PATIENCE_SECONDS = 5.0
"""A person who looks into the file may have locked it for so long."""
_MOVE = "make it usable, or give this hub another directory (--state DIR)"
_KINDS: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (
        orders.JobTaken,
        orders.OwnerChanged,
        orders.TargetsSet,
        orders.ItemsTaken,
        orders.ItemsClosed,
        orders.ItemTried,
        PortableTask,
        orders.ResultsDropped,
        orders.ResultsSealed,
        orders.ResultsTaken,
        orders.JobStopping,
        orders.JobEnded,
        orders.WorkerHere,
    )
}

log = logging.getLogger("nbdist.hub")


class JournalError(NbdistError):
    """The journal cannot be written, or not be used at all."""


class Entry(NamedTuple):
    """One record."""

    message: Message
    payload: bytes
    age_seconds: float
    """How long ago it was made, by the clock on the wall."""


class Journal:
    """One file. Raises JournalError if it is of a newer version; a damaged one is set aside."""

    def __init__(
        self, folder: Path, clock: Callable[[], float] = time.time, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self.path = folder / FILE
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._pending: list[tuple[str, tuple[Any, ...]]] = []
        self._may_shrink = True
        self.is_incomplete = False
        """It was damaged: there may be jobs that it does not know any more."""
        self.was_empty = not _has_bytes(self.path)
        """There was none, or nothing in it."""
        self._file = self._open_or_set_aside()

    def keep(self, message: Message, payload: Payload = b"") -> None:
        """Adds a record with the next `flush`."""
        job, start = _place(message)
        row = (job, type(message).__name__, start, self._clock(), frames.to_json(message), bytes(payload))
        self._pending.append(("insert into records (job, kind, start, at, head, payload) values (?,?,?,?,?,?)", row))

    def replace(self, message: Message) -> None:
        """Like `keep`, instead of what was said of the same thing before."""
        self.remove(type(message), *_place(message))
        self.keep(message)

    def empty(self, kind: type[Message], job: str, start: int = 0) -> None:
        """Removes the payload of one record with the next `flush`."""
        where = (job, kind.__name__, start)
        self._may_shrink = True
        self._pending.append(("update records set payload = x'' where job = ? and kind = ? and start = ?", where))

    def remove(self, kind: type[Message], job: str, start: int = 0) -> None:
        """Removes one record with the next `flush`."""
        self._may_shrink = True
        where = (job, kind.__name__, start)
        self._pending.append(("delete from records where job = ? and kind = ? and start = ?", where))

    def forget(self, job: str) -> None:
        """Removes everything of a job with the next `flush`."""
        self._may_shrink = True
        self._pending.append(("delete from records where job = ?", (job,)))

    def forget_worker(self, worker: str) -> None:
        """Removes a worker with the next `flush`."""
        self.forget(_place(orders.WorkerHere(worker))[0])

    def find(self, kind: type[Message], job: str, start: int = 0) -> Message | None:
        """One record that was flushed. Raises JournalError."""
        where = (job, kind.__name__, start)
        try:
            rows = self._file.execute("select head from records where job = ? and kind = ? and start = ?", where)
            head = rows.fetchone()
            return None if head is None else frames.from_json(kind, head[0])
        except (sqlite3.Error, FrameError) as error:
            raise JournalError(f"a record of job {job} in {self.path} cannot be read: {error}") from error

    def flush(self) -> None:
        """Writes everything. Raises JournalError if that cannot be done; nothing is lost then, and it may be tried
        again."""
        if not self._pending:
            return
        try:
            self._file.execute("begin")
            for statement, values in self._pending:
                self._file.execute(statement, values)
            self._file.execute("commit")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._file.execute("rollback")
            raise JournalError(f"{self.path} cannot be written: {error}") from error
        self._pending.clear()

    def shrink(self) -> bool:
        """Gives some of the file's free pages back to the disk; whether it did. To be called after `flush`."""
        if not self._may_shrink:
            return False
        self._may_shrink = False
        with contextlib.suppress(sqlite3.Error):  # a full disk, or somebody looks into the file: another time
            free = int(self._file.execute("pragma freelist_count").fetchone()[0])
            if free > SPARE_PAGES:
                self._file.executescript(f"pragma incremental_vacuum({min(STEP_PAGES, free - SPARE_PAGES)})")
                left = int(self._file.execute("pragma freelist_count").fetchone()[0])
                self._may_shrink = left < free
        return self._may_shrink

    def entries(self) -> Iterator[Entry]:
        """All records, oldest first. Those that cannot be read are left out, with a warning."""
        now = self._clock()
        rows = self._file.execute("select kind, at, head, payload, job from records order by number").fetchall()
        for kind, at, head, payload, job in rows:
            try:
                message = frames.from_json(_KINDS[kind], head)
            except (KeyError, NbdistError) as error:
                self.is_incomplete = True
                log.warning("a record of job %s in %s cannot be read and is left out: %s", job, self.path, error)
                continue
            yield Entry(message, payload, max(0.0, now - at))

    def close(self) -> None:
        """Closes the file, after a last `flush`."""
        with contextlib.suppress(JournalError):
            self.flush()
        self._file.close()

    def _open_or_set_aside(self) -> sqlite3.Connection:
        try:
            return self._open()
        except (sqlite3.DatabaseError, IsADirectoryError) as error:
            if isinstance(error, sqlite3.DatabaseError) and not _is_damage(error):
                raise JournalError(f"{self.path} cannot be opened: {error}; {_MOVE}") from error
            self.is_incomplete = True
            aside = damaged_name(self.path)
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    self.path.with_name(FILE + suffix).rename(aside.with_name(aside.name + suffix))
            log.warning("the journal of jobs is damaged (%s): it is kept as %s, and a new one is begun", error, aside)
            return self._open()
        except OSError as error:
            raise JournalError(f"{self.path} cannot be opened: {error.strerror}; {_MOVE}") from error

    def _open(self) -> sqlite3.Connection:
        wal = self.path.with_name(f"{FILE}-wal")
        if not _has_bytes(self.path) and _has_bytes(wal):  # SQLite would remove it
            self.is_incomplete = True
            aside = damaged_name(wal)
            wal.rename(aside)
            log.warning(
                "%s is empty: what it was to take up of jobs is kept as %s, and a new one is begun", self.path, aside
            )
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite gives its other files the same mode
        file = sqlite3.connect(self.path, self._patience_seconds, isolation_level=None)
        try:
            version: int = file.execute("pragma user_version").fetchone()[0]
            if version > SCHEMA:
                raise JournalError(
                    f"{self.path} was written by a newer nbdist (its version is {version}, this one knows {SCHEMA}): "
                    "upgrade nbdist here, or give this hub another directory (--state DIR)"
                )
            if file.execute("pragma quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("its pages contradict each other")
            self._look_at_wal(file)
            file.execute("pragma auto_vacuum = incremental")  # before anything is written
            _write_anew_if_mostly_empty(file)
            file.execute("pragma journal_mode = wal")
            file.execute("pragma synchronous = off")
            file.execute(f"pragma wal_autocheckpoint = {WAL_PAGES}")
            file.execute(f"pragma journal_size_limit = {WAL_BYTES}")
            file.execute(
                "create table if not exists records (number integer primary key, job text not null, kind text not null,"
                " start integer not null, at real not null, head text not null, payload blob not null)"
            )
            file.execute("create index if not exists by_job on records (job, kind, start)")
            file.execute(f"pragma user_version = {SCHEMA}")
        except BaseException:
            file.close()
            raise
        return file

    def _look_at_wal(self, file: sqlite3.Connection) -> None:
        """Keeps a copy of a damaged WAL, before anything is written: SQLite uses what is whole of it."""
        wal = self.path.with_name(f"{FILE}-wal")
        if not wal.exists() or file.execute("pragma journal_mode").fetchone()[0] != "wal":
            return
        _, frames, _ = file.execute("pragma wal_checkpoint(passive)").fetchone()
        if not has_lost(wal, max(0, frames)):
            return
        self.is_incomplete = True
        aside = damaged_name(wal)
        shutil.copyfile(wal, aside, follow_symlinks=False)
        aside.chmod(0o600)
        file.execute("pragma wal_checkpoint(truncate)").fetchone()  # or the next hub would find the same again
        log.warning(
            "%s is damaged: a copy is kept as %s; what was in it behind the damage is lost (the latest that the hub "
            "had been told of jobs), and the rest is used",
            wal,
            aside,
        )


def _write_anew_if_mostly_empty(file: sqlite3.Connection) -> None:
    """For files that were made so that free pages stay in them."""
    if file.execute("pragma auto_vacuum").fetchone()[0] == 2:
        return
    numbers = ("freelist_count", "page_count", "page_size")
    free, pages, size = (int(file.execute(f"pragma {name}").fetchone()[0]) for name in numbers)
    if free * size > MOSTLY_EMPTY_BYTES and 2 * free > pages:
        file.execute("pragma auto_vacuum = incremental")
        file.execute("vacuum")


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file itself is bad. One that is locked, or on a disk that is full, is as good as ever."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # none: `_open` has found it
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _place(record: Any) -> tuple[str, int]:
    """Under which job, and which number of its kind, a record is found."""
    if isinstance(record, orders.JobTaken):
        return record.spec.job, 0
    if isinstance(record, orders.JobEnded):
        return record.finished.job, 0
    if isinstance(record, orders.WorkerHere):
        return f"worker {record.worker}", 0
    if isinstance(record, orders.ItemTried):
        return record.job, record.item
    if isinstance(record, orders.ResultsSealed):
        return record.job, record.number
    return record.job, record.start if isinstance(record, orders.ItemsTaken) else 0
