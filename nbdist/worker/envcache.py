"""The environments of this user on this machine: a folder, which all of its workers share.

An environment is whole once its mark is there; one without is being built, or its build was killed. Who builds, claims
or removes one holds a lock; who uses one holds a locked file in it, so that nobody removes it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from nbdist.folders import lock
from nbdist.worker import installing
from nbdist.worker.installing import Kept

MARK = "nbdist.json"
USERS = "nbdist-users"
LOCK_PREFIX = "lock-"
LOCK_DIGITS = 2
"""Of a name, for its lock: some share one, and there is a bounded number of files."""


class EnvironmentCache:
    """For one worker. All raise OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._claims: dict[str, tuple[int, Path]] = {}

    def path(self, name: str) -> Path:
        """Where it lies."""
        return self.folder / name

    def lock(self, name: str) -> int | None:
        """Whoever has this may claim, build and remove the environment: to be closed. None: another has it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.folder / f"{LOCK_PREFIX}{name[:LOCK_DIGITS]}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            lock(handle)
        except OSError:
            os.close(handle)
            return None
        return handle

    def claim(self, name: str) -> bool:
        """Whether it is whole; then it stays until `release`. Under its lock."""
        mark = self.path(name) / MARK
        if not mark.exists():
            return False
        os.utime(mark)
        if name not in self._claims:
            users = self.path(name) / USERS
            users.mkdir(exist_ok=True)
            path = users / secrets.token_hex(8)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            lock(handle)
            self._claims[name] = (handle, path)
        return True

    def claimed(self) -> list[str]:
        """What this worker uses."""
        return list(self._claims)

    def release(self, name: str) -> None:
        """This worker does not need it any more."""
        handle, path = self._claims.pop(name)
        os.close(handle)
        path.unlink(missing_ok=True)

    def finish(self, name: str, described: str) -> None:
        """It is whole. Under its lock."""
        folder = self.path(name)
        size = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_symlink())
        draft = folder / f"{MARK}.new"
        draft.write_text(json.dumps({"bytes": size, "packages": described}))
        draft.replace(folder / MARK)

    def remove(self, name: str) -> None:
        """Removes it, whole or not. Under its lock."""
        if self._is_used(name):
            raise OSError(f"another worker uses {self.path(name)}")
        (self.path(name) / MARK).unlink(missing_ok=True)
        shutil.rmtree(self.path(name), ignore_errors=True)

    def prune(self) -> None:
        """Removes what killed builds have left, and what is too much."""
        kept = list(self._kept())
        in_use = [one.name for one in kept if not self._is_free(one.name)]
        left = [path.name for path in self.folder.iterdir() if path.is_dir() and not (path / MARK).exists()]
        for name in [*left, *installing.superfluous(kept, in_use)]:
            handle = self.lock(name)
            if handle is None:
                continue  # somebody builds it, or claims it
            with contextlib.suppress(OSError):  # … has claimed it meanwhile
                if name not in left or not (self.path(name) / MARK).exists():
                    self.remove(name)
            os.close(handle)

    def _is_free(self, name: str) -> bool:
        handle = self.lock(name)  # or somebody's claim could be taken for a killed worker's
        if handle is None:
            return False
        try:
            return not self._is_used(name)
        finally:
            os.close(handle)

    def _kept(self) -> Iterator[Kept]:
        for mark in self.folder.glob(f"*/{MARK}"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # being removed, or not ours
                size = json.loads(mark.read_text())["bytes"]
                yield Kept(mark.parent.name, mark.stat().st_mtime, int(size))

    def _is_used(self, name: str) -> bool:
        """By any worker. Under its lock."""
        for path in self.path(name).glob(f"{USERS}/*"):
            try:
                handle = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                continue  # its user has just let go of it
            try:
                lock(handle)
            except OSError:
                return True
            finally:
                os.close(handle)
            path.unlink(missing_ok=True)  # a killed worker's
        return False
