"""What is there of a file while its job runs: the rows so far, and notes beside them.

    FILE.part        rows in order, up to the first item that is missing
    FILE.part-notes  a SQLite database: how far that is, and results that came before their turn

Nothing counts before `checkpoint`: then the rows are on the disk, and one transaction says so. After a crash, and after
anything that failed, `restore` cuts both back to the last one. The database is locked as long as it is open, so that
two jobs never write one file.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from nbdist.client.tofile.target import Target
from nbdist.engines.base import Buffer
from nbdist.errors import JobError, NbdistError

VERSION = 1
CHUNK_BYTES = 64 * 1024 * 1024
"""Results that are larger are kept in several rows of the database."""
_TABLES = """
CREATE TABLE IF NOT EXISTS facts(one INTEGER PRIMARY KEY CHECK(one = 1), text TEXT);
CREATE TABLE IF NOT EXISTS waiting(start INTEGER PRIMARY KEY, stop INTEGER, head TEXT, failed INTEGER);
CREATE TABLE IF NOT EXISTS payloads(start INTEGER, number INTEGER, data BLOB, PRIMARY KEY(start, number));
"""


class Sink(Protocol):
    """A format's way to make a whole file of the part."""

    def finish(self, part: IO[bytes], path: Path) -> Path: ...


class Part:
    """The part of one job's file. Raises NbdistError if another job writes it, or it cannot be written."""

    def __init__(self, target: Target, job: str) -> None:
        self.target = target
        self._path, self._notes = target.part, target.notes
        self._is_over = False
        """The whole file is in its place already."""
        self._db = self._open()
        try:
            facts = self._facts_of(job)
            self._file = self._path.open("r+b" if facts is not None and self._path.exists() else "w+b", buffering=0)
        except (OSError, sqlite3.Error) as error:
            self._db.close()
            raise NbdistError(f"{self._path} cannot be written: {error}") from None
        self.offset = 0
        if facts is None:
            self._db.execute("BEGIN")
            for table in ("waiting", "payloads", "facts"):
                self._db.execute(f"DELETE FROM {table}")
            self.checkpoint({"version": VERSION, "job": job})
        else:
            self._db.execute("BEGIN")
            self.restore()

    def append(self, data: bytes) -> None:
        """Adds rows."""
        view = memoryview(data)
        while view:
            count = self._file.write(view)
            view = view[count:]
            self.offset += count or 0

    def put(self, start: int, stop: int, head: str, payload: Buffer, *, failed: bool) -> None:
        """Keeps a result of `[start, stop)` until its turn."""
        self._db.execute("INSERT INTO waiting VALUES(?, ?, ?, ?)", (start, stop, head, failed))
        view = memoryview(payload).cast("B")
        for number, at in enumerate(range(0, len(view), CHUNK_BYTES)):
            row = (start, number, view[at : at + CHUNK_BYTES])
            self._db.execute("INSERT INTO payloads VALUES(?, ?, ?)", row)

    def has(self, start: int, stop: int) -> bool:
        """Whether a result that waits has any of these items."""
        found = self._db.execute("SELECT 1 FROM waiting WHERE start < ? AND stop > ? LIMIT 1", (stop, start))
        return found.fetchone() is not None

    def stop_of(self, start: int) -> int | None:
        """Where the result ends that waits and begins there; None: there is none."""
        found = self._db.execute("SELECT stop FROM waiting WHERE start = ?", (start,)).fetchone()
        return None if found is None else int(found[0])

    def get(self, start: int) -> tuple[str, bytes]:
        """The result that waits and begins there."""
        head = self._db.execute("SELECT head FROM waiting WHERE start = ?", (start,)).fetchone()[0]
        rows = self._db.execute("SELECT data FROM payloads WHERE start = ? ORDER BY number", (start,))
        return head, b"".join(row[0] for row in rows)

    def drop(self, start: int) -> None:
        """The result's turn has come."""
        self._db.execute("DELETE FROM waiting WHERE start = ?", (start,))
        self._db.execute("DELETE FROM payloads WHERE start = ?", (start,))

    def failed(self) -> Iterator[int]:
        """Where results begin that wait and in which an item has failed."""
        rows = self._db.execute("SELECT start FROM waiting WHERE failed ORDER BY start LIMIT 100").fetchall()
        return (row[0] for row in rows)

    # --- what counts ------------------------------------------------------------------------------------------------

    @property
    def facts(self) -> dict[str, Any]:
        """What the last checkpoint said."""
        return dict(self._facts)

    def checkpoint(self, facts: dict[str, Any]) -> None:
        """All until now counts: rows, results that wait, and these facts."""
        os.fsync(self._file.fileno())
        facts = {**facts, "offset": self.offset}
        self._db.execute("INSERT OR REPLACE INTO facts VALUES(1, ?)", (json.dumps(facts),))
        self._db.execute("COMMIT")
        self._facts = facts
        self._db.execute("BEGIN")

    def restore(self) -> dict[str, Any]:
        """Nothing counts that came after the last checkpoint; gives its facts."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._facts = json.loads(self._db.execute("SELECT text FROM facts").fetchone()[0])
        self.offset = self._facts["offset"]
        if self._file.closed:
            self._file = self._path.open("r+b", buffering=0)
        self._file.truncate(self.offset)
        self._file.seek(self.offset)
        self._db.execute("BEGIN")
        return self.facts

    def finish(self, sink: Sink, facts: dict[str, Any]) -> None:
        """The part becomes the file, in the place of one that was there, at once."""
        if not self._is_over:
            self.checkpoint(facts)
            whole = sink.finish(self._file, self._path.with_name(self._path.name + "-whole"))
            os.fsync(self._file.fileno())
            self.checkpoint({**facts, "is_whole": True})
            self._file.close()  # an open file cannot be renamed everywhere
            os.replace(whole, self.target.path)
            self._is_over = True
        self.close()
        self._path.unlink(missing_ok=True)
        _remove_notes(self._notes)

    def close(self) -> None:
        """Leaves part and notes as the last checkpoint has them."""
        self._file.close()
        with contextlib.suppress(sqlite3.Error):  # what was not committed does not count
            self._db.close()

    def discard(self) -> None:
        """Nothing has come of it: part and notes go."""
        self.close()
        with contextlib.suppress(OSError):  # the next job of this file takes their place
            self._path.unlink(missing_ok=True)
            _remove_notes(self._notes)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        try:
            db = sqlite3.connect(self._notes, timeout=0, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise NbdistError(f"{self._notes} cannot be written: {error}") from None
        try:
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("BEGIN IMMEDIATE")
            for statement in _TABLES.strip().splitlines():
                db.execute(statement)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            db.close()
            if "locked" in str(error):
                reason = "is being written by a job that is not over: wait for it, cancel it, or name another file"
                raise NbdistError(f"{self.target.path} {reason}") from None
            raise NbdistError(f"{self._notes} cannot be used ({error}): remove it if nothing of it is needed") from None
        return db

    def _facts_of(self, job: str) -> dict[str, Any] | None:
        """The facts of this job's part; None: there is none, or not all of it."""
        facts = _facts(self._db)
        if facts is None or facts.get("version") != VERSION or facts.get("job") != job:
            return None
        if facts.get("is_whole") and not self._path.exists() and self.target.path.exists():
            self._is_over = True
            return facts
        is_there = self._path.exists() and self._path.stat().st_size >= facts["offset"]
        return facts if is_there else None


def facts_at(target: Target) -> dict[str, Any]:
    """What the last checkpoint of a part that nobody writes now said; empty if there is none."""
    if not target.notes.exists():
        return {}
    try:
        with contextlib.closing(sqlite3.connect(target.notes, timeout=0)) as db:
            return _facts(db) or {}
    except sqlite3.Error:
        return {}


def _facts(db: sqlite3.Connection) -> dict[str, Any] | None:
    row = db.execute("SELECT text FROM facts").fetchone()
    try:
        facts = json.loads(row[0]) if row is not None else None
    except ValueError:
        return None
    return facts if isinstance(facts, dict) else None


def _remove_notes(notes: Path) -> None:
    for name in (notes.name, f"{notes.name}-wal", f"{notes.name}-shm"):
        notes.with_name(name).unlink(missing_ok=True)


def no_room(error: BaseException) -> bool:
    """Whether an error means that a disk is full."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def cannot_write(target: Target, error: BaseException) -> JobError:
    """What is told if the file cannot be written."""
    todo = "make room" if no_room(error) else "mend that"
    return JobError(
        f"{target.path} cannot be written ({error}): {todo}, and attach to the job or run its cell again; what there "
        f"is of it is in {target.part.name}"
    )
