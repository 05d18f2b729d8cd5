"""Temporary folders that are held while their process lives, and swept once it is gone, however it went.

A folder holds a lock file, locked by the operating system for as long as the process lives. It gets its name once it is
locked, so that whoever sweeps never finds one that is young and not locked yet.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

LOCK_FILE = "lock"
DRAFT_PREFIX = ".nbdist-new-"
YOUNG_SECONDS = 60.0
"""A folder that has no name yet is nobody's once it is older; elsewhere, one without a lock file."""
CAN_RENAME_LOCKED = sys.platform != "win32"
"""Windows moves no folder in which a file is open: there a folder has its name before its lock."""


class HeldFolder:
    """A folder of mode 0700 of this process alone. Raises OSError if it cannot be made."""

    def __init__(self, parent: Path, prefix: str) -> None:
        made = Path(tempfile.mkdtemp(prefix=DRAFT_PREFIX if CAN_RENAME_LOCKED else prefix, dir=parent))
        self._lock: int | None = os.open(made / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            lock(self._lock)
            self.path = made.rename(parent / f"{prefix}{secrets.token_hex(6)}") if CAN_RENAME_LOCKED else made
        except BaseException:
            os.close(self._lock)
            shutil.rmtree(made, ignore_errors=True)
            raise

    @classmethod
    def take_over(cls, path: Path) -> HeldFolder:
        """The folder of a process that is gone. Raises OSError if somebody holds it."""
        held = cls.__new__(cls)
        held._lock = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        held.path = path
        try:
            lock(held._lock)
        except BaseException:
            os.close(held._lock)
            raise
        return held

    def close(self, *, keep: bool = False) -> None:
        """Lets go of the folder, and removes it unless it is to be kept for who takes it over."""
        if self._lock is not None:
            if not CAN_RENAME_LOCKED:
                os.close(self._lock)  # Windows removes no file that is open
            if not keep:
                shutil.rmtree(self.path, ignore_errors=True)
            if CAN_RENAME_LOCKED:
                os.close(self._lock)
            self._lock = None


def sweep(parents: Iterable[Path], prefix: str, spare: Callable[[Path], bool] = lambda folder: False) -> None:
    """Removes this user's folders of this prefix whose process is gone: nobody holds their lock.

    `spare` says of a folder whether it is kept for who takes it over.
    """
    for parent in dict.fromkeys(parents):
        for folder in (*parent.glob(f"{prefix}*"), *parent.glob(f"{DRAFT_PREFIX}*")):
            with contextlib.suppress(OSError):  # somebody else's, in use, or being removed
                if not spare(folder):
                    _remove_if_free(folder)


def _remove_if_free(folder: Path) -> None:
    """Raises OSError if it is in use."""
    facts = folder.lstat()
    if hasattr(os, "getuid") and facts.st_uid != os.getuid():
        return
    is_draft = folder.name.startswith(DRAFT_PREFIX) or not CAN_RENAME_LOCKED
    if is_draft and time.time() - facts.st_ctime < YOUNG_SECONDS:
        return
    handle = os.open(folder / LOCK_FILE, os.O_RDWR | (os.O_CREAT if is_draft else 0), 0o600)
    try:
        lock(handle)
        if CAN_RENAME_LOCKED:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)
    if not CAN_RENAME_LOCKED:
        shutil.rmtree(folder, ignore_errors=True)


# --- what differs between operating systems ---------------------------------------------------------------------------

if sys.platform == "win32":
    import msvcrt

    def lock(handle: int, *, is_shared: bool = False) -> None:
        """Locks an open file until it is closed. Raises OSError, at once, if another process holds it.

        Windows has no shared locks here: one who only looks locks others out for that moment.
        """
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def lock(handle: int, *, is_shared: bool = False) -> None:
        """Locks an open file until it is closed. Raises OSError, at once, if another process holds it."""
        fcntl.flock(handle, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
