"""The files of this user's embedded pool, looked at without changing any."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import sys
from pathlib import Path

from nbdist import embedded
from nbdist.doctor.findings import Pool
from nbdist.errors import AddressError
from nbdist.wire.address import Address

JOURNAL_FILE = "journal.sqlite3"
"""The hub's (`hub/journal.py`), which is not at hand where only a worker is."""
LOCK_SECONDS = 2.0
LOG_BYTES = 400


def look() -> tuple[Pool, Address | None]:
    """The embedded pool, and how a worker gets to its hub if that says that it runs."""
    folder = embedded.state_folder()
    if not folder.is_dir():
        return Pool(str(folder), exists=False), None
    ready, hub_lives, worker_lives = embedded.look(folder)
    address, error = None, ""
    if ready is not None:
        try:
            address = Address.parse(str(ready.get("invite", "")))
        except AddressError as problem:
            error = f"{embedded.READY_FILE} is damaged: {problem}"
    journal = folder / JOURNAL_FILE
    pool = Pool(
        folder=str(folder),
        exists=True,
        is_private=_is_private(folder),
        hub_lives=hub_lives,
        worker_lives=worker_lives,
        has_ready_file=ready is not None,
        ready_error=error,
        has_journal=journal.exists(),
        journal_error=_journal_error(journal) if journal.exists() else "",
        free_bytes=shutil.disk_usage(folder).free,
        log=_end_of(folder / "hub.log"),
    )
    return pool, address if hub_lives else None


def _is_private(folder: Path) -> bool:
    if sys.platform == "win32":
        return True  # a user's own folders are
    facts = folder.stat()
    return facts.st_uid == os.getuid() and not stat.S_IMODE(facts.st_mode) & 0o077


def _journal_error(path: Path) -> str:
    """Why the journal cannot be read; empty if it can. Where no hub has it open, SQLite makes no files beside it."""
    is_open = path.with_name(path.name + "-wal").exists()
    try:
        file = sqlite3.connect(f"{path.as_uri()}?{'mode=ro' if is_open else 'immutable=1'}", uri=True)
        with contextlib.closing(file):
            file.execute(f"pragma busy_timeout = {int(LOCK_SECONDS * 1000)}")
            told = file.execute("pragma quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        return str(error)
    return "" if told == "ok" else str(told)


def _end_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES))
            return " ".join(file.read().decode("utf-8", "replace").split())
    except OSError:
        return ""
