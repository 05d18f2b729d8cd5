"""Bundles of local modules, unpacked once each into folders of this worker's own, within a bound."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from nbdist.errors import BlobError
from nbdist.wire import bundles

MAX_IDLE = 64
"""So many folders are kept that no job needs now."""


class BundleFolders:
    """Unpacked bundles by the names of their blobs. For one thread; `unpack` is called in others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._users: dict[str, set[str]] = {}
        self._last_used: dict[str, None] = {}
        """In the order in which they were used last."""

    def use(self, job: str, names: Iterable[str]) -> None:
        """The job needs these bundles, until `release`."""
        for name in names:
            self._users.setdefault(name, set()).add(job)
            self._last_used.pop(name, None)
            self._last_used[name] = None

    def unpack(self, name: str, archive: Path) -> Path:
        """The folder of a bundle, whose archive lies there: unpacked, whole or not at all, if it is not yet.

        Raises OSError and BlobError.
        """
        target = self._folder / name
        if target.exists():
            return target
        draft = self._folder / f"new-{secrets.token_hex(8)}"
        draft.mkdir(mode=0o700, parents=True)
        try:
            for parts, data in bundles.read(archive.read_bytes()):
                _write(draft.joinpath(*parts), data)
            with contextlib.suppress(OSError):  # another job's thread was faster
                draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        if not target.exists():
            raise BlobError(f"the local modules of a job cannot be unpacked into {target}")
        return target

    def release(self, job: str) -> None:
        """The job is over."""
        for name in [name for name, jobs in self._users.items() if job in jobs]:
            self._users[name].discard(job)
            if not self._users[name]:
                del self._users[name]
        idle = [name for name in self._last_used if name not in self._users]
        for name in idle[: max(0, len(idle) - MAX_IDLE)]:
            del self._last_used[name]
            shutil.rmtree(self._folder / name, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        raise BlobError(f"two files of a bundle have the same name here: {path.name}") from None
