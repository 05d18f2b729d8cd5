"""The hub's blobs: files named by their content, pinned by jobs, in a folder that local peers may map.

    folder/nonce      a text that only this user can read: proves that a peer is on this machine
    folder/incoming/  files that are being written
    folder/blobs/     complete blobs, each under its name

What a job needs stays while it is pinned. Afterwards a captured value is kept for the next cell, which likely captures
it again, as long as there is room; a result is removed.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from nbdist.errors import BlobError, NoRoomError
from nbdist.hub.limits import CACHE_BYTES
from nbdist.hub.statedir import damaged_name, free_bytes, make_private, remove_drafts, write_private
from nbdist.wire.blobs import BlobHasher, file_name, is_name
from nbdist.wire.local import NONCE_FILE
from nbdist.wire.messages import BlobRef

log = logging.getLogger("nbdist.hub")

_FILE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_PUT = "put-"
"""Begins the names of the hub's own files in `incoming`, unlike those of local peers."""
INCOMING_SECONDS = 3600.0
"""A file that is older when a hub starts is nobody's any more."""
MAX_BLOB_BYTES = 64 * 1024**3
FREE_SHARE = 4
"""Blobs that no job needs take at most one such part of what is free …"""
MEMORY_SHARE = 8
"""… or such a one of what is free in shared memory; the oldest go first."""
CHECK_BYTES = 1024**3
"""So much of what an earlier hub has left on a disk, the newest first, is read when a hub starts (half a second); the
rest when it is sent."""
RESERVE_BYTES = 64 * 1024**2
"""So much of the disk stays free: the hub's own files need it."""


@dataclass(slots=True)
class _Blob:
    size: int
    pins: set[str] = field(default_factory=set)
    keep: bool = True
    """Worth keeping when nobody pins it: it was captured, not computed."""


class BlobStore:
    """The blobs in one folder."""

    def __init__(self, folder: Path, cache_bytes: int = CACHE_BYTES, *, in_memory: bool = False) -> None:
        self.folder = folder
        self.in_memory = in_memory
        """The folder lies in shared memory."""
        self.nonce = secrets.token_hex(32)
        self._cache_bytes = cache_bytes
        self._blobs: dict[str, _Blob] = {}
        self._idle: dict[str, int] = {}
        """Those that nobody needs, the oldest first, with their sizes."""
        self._idle_bytes = 0
        self._late: set[str] = set()
        """Removed here, but the operating system would not let go of the file yet."""
        for part in (folder, folder / "blobs", folder / "incoming"):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
            make_private(part)
        remove_drafts(folder)
        write_private(folder / NONCE_FILE, self.nonce.encode())
        self._find()

    def proves_local(self, nonce: str) -> bool:
        """Whether a peer has read the nonce."""
        return hmac.compare_digest(nonce.encode("utf-8", "surrogatepass"), self.nonce.encode())

    def has(self, name: str) -> bool:
        """Whether the blob is here, complete."""
        return name in self._blobs

    def missing(self, refs: Iterable[BlobRef]) -> list[str]:
        """Which of these blobs are not here, each once."""
        return list(dict.fromkeys(ref.name for ref in refs if ref.name not in self._blobs))

    def path(self, name: str) -> Path:
        """Where the blob's file is. Raises BlobError if there is none."""
        if name not in self._blobs:
            raise BlobError(f"no blob {name[:16]!r} is here: its job was forgotten, or it was never sent")
        return self._file(name)

    def open(self, name: str) -> BinaryIO:
        """The blob's file, to be read. Raises BlobError if there is none."""
        return open(self.path(name), "rb", buffering=0)

    def size(self, name: str) -> int:
        """How many bytes the blob has; it must be here."""
        return self._blobs[name].size

    def placed(self, ref: BlobRef) -> None:
        """Takes a blob that a local peer has put into the folder under its name. Raises BlobError if it is not there.

        Its bytes are not hashed again: who can write into the folder is the hub's own user.
        """
        if not is_name(ref.name):
            raise BlobError(f"{ref.name[:80]!r} is no name of a blob")
        try:
            size = self._file(ref.name).stat().st_size
        except OSError:
            raise BlobError(f"blob {ref.name[:16]} was said to be in the hub's folder and is not there") from None
        if size != ref.size:
            raise BlobError(f"blob {ref.name[:16]} has {size} bytes, {ref.size} were announced")
        self._add(ref.name, size)

    def adopt(self, ref: BlobRef, file: str) -> None:
        """Takes a blob that a local peer has put into `incoming` under this name. Raises BlobError if it is not there.

        Only here is it given its own name: a blob of the same name may be removed at any time.
        """
        if not _FILE.fullmatch(file) or not is_name(ref.name):
            raise BlobError(f"{file[:80]!r} or {ref.name[:80]!r} is no name of a file or blob")
        path = self.folder / "incoming" / file
        try:
            size = path.stat().st_size
        except OSError:
            if ref.name in self._blobs:
                return  # it was adopted, and that was not heard
            raise BlobError(f"blob {ref.name[:16]} was said to be in the hub's folder and is not there") from None
        if size != ref.size:
            raise BlobError(f"blob {ref.name[:16]} has {size} bytes, {ref.size} were announced")
        self.complete(ref.name, path, size)

    def discard(self, file: str) -> None:
        """Removes a file that a local peer has put into `incoming` for a job that has ended."""
        if _FILE.fullmatch(file):
            (self.folder / "incoming" / file).unlink(missing_ok=True)

    def incoming(self, name: str, size: int | None) -> Incoming:
        """A file that takes the bytes of a blob as they come. Raises BlobError for a bad name, or without room."""
        if not is_name(name):
            raise BlobError(f"{name[:80]!r} is no name of a blob: it has 64 hex digits")
        if size is not None and size > MAX_BLOB_BYTES:
            raise BlobError(f"a blob may have {MAX_BLOB_BYTES} bytes, this one has {size}")
        free = self.free_bytes() - RESERVE_BYTES
        if size is not None and size > free:
            raise NoRoomError(f"the hub has room for {max(free, 0)} bytes more, this blob has {size}: make room there")
        return Incoming(self, name, self.folder / "incoming" / f"{_PUT}{secrets.token_hex(16)}")

    def pin(self, name: str, holder: str, *, keep: bool) -> None:
        """`holder` needs the blob, which is here."""
        blob = self._blobs[name]
        self._not_idle(name)
        blob.pins.add(holder)
        blob.keep = blob.keep and keep

    def unpin(self, name: str, holder: str) -> None:
        """`holder` needs the blob no more."""
        blob = self._blobs.get(name)
        if blob is None:
            return
        blob.pins.discard(holder)
        if blob.pins:
            return
        if blob.keep:
            self._is_idle(name)
            self.shrink()
        else:
            self._remove(name)

    def drop_idle(self, name: str) -> None:
        """Removes a blob unless somebody needs it."""
        if name in self._blobs and not self._blobs[name].pins:
            self._remove(name)

    def holders(self, name: str) -> Iterable[str]:
        """Who needs the blob."""
        blob = self._blobs.get(name)
        return () if blob is None else tuple(blob.pins)

    def set_aside(self, name: str) -> None:
        """The file does not hold these bytes any more: it is kept under another name, and the blob is not here."""
        if name not in self._blobs:
            return
        self._not_idle(name)
        del self._blobs[name]
        aside = damaged_name(self.folder / name)
        with contextlib.suppress(OSError):  # it has gone, or Windows does not let go of it
            self._file(name).rename(aside)
        log.warning("blob %s is damaged: it is kept as %s, and is to be sent again", self._file(name), aside)

    def free_bytes(self) -> int:
        """What is free where the folder is."""
        return free_bytes(self.folder)

    def shrink(self) -> None:
        """Removes the oldest of the blobs that nobody needs until they fit the cache."""
        part = self.free_bytes() // (MEMORY_SHARE if self.in_memory else FREE_SHARE)
        while self._idle and self._idle_bytes > min(self._cache_bytes, part):
            self._remove(next(iter(self._idle)))

    def complete(self, name: str, temporary: Path, size: int) -> None:
        """Takes a file whose bytes were found to match the name."""
        if name in self._blobs:
            temporary.unlink()
            return
        os.replace(temporary, self._file(name))
        self._add(name, size)

    @property
    def is_pinned(self) -> bool:
        """Whether anybody needs any of the blobs."""
        return len(self._blobs) > len(self._idle)

    def close(self) -> None:
        """Removes the blobs that nobody needs."""
        for name in list(self._idle):
            self._remove(name)

    def _add(self, name: str, size: int) -> None:
        if name not in self._blobs:
            self._blobs[name] = _Blob(size)
            self._is_idle(name)
        self._late.discard(name)
        self._retry_late()

    def _is_idle(self, name: str) -> None:
        """Nobody needs it any more, or yet."""
        self._not_idle(name)  # it becomes the youngest
        self._idle[name] = self._blobs[name].size
        self._idle_bytes += self._blobs[name].size

    def _not_idle(self, name: str) -> None:
        self._idle_bytes -= self._idle.pop(name, 0)

    def _remove(self, name: str) -> None:
        self._not_idle(name)
        del self._blobs[name]
        try:
            self._file(name).unlink(missing_ok=True)
        except OSError:  # Windows, while somebody maps the file
            self._late.add(name)

    def _retry_late(self) -> None:
        for name in list(self._late):
            with contextlib.suppress(OSError):
                self._file(name).unlink(missing_ok=True)
                self._late.discard(name)

    def _find(self) -> None:
        """What an earlier hub has left: its blobs, which nobody needs yet, and files that local peers speak of soon."""
        for file in (self.folder / "incoming").iterdir():
            with contextlib.suppress(OSError):
                if file.name.startswith(_PUT) or time.time() - file.stat().st_mtime > INCOMING_SECONDS:
                    file.unlink()
        for file in sorted((self.folder / "blobs").iterdir(), key=lambda file: file.stat().st_mtime):
            if is_name(file.name):
                self._blobs[file.name] = _Blob(file.stat().st_size)
                self._is_idle(file.name)
        unchecked = 0 if self.in_memory else CHECK_BYTES
        for name in reversed(list(self._idle)):
            unchecked -= self._blobs[name].size
            if unchecked >= 0 and file_name(self._file(name)) != name:
                self.set_aside(name)

    def _file(self, name: str) -> Path:
        return self.folder / "blobs" / name


class Incoming:
    """One blob on its way in: written, hashed, and taken in if its bytes match its name.

    `write` may be called in a thread; the others belong to the store's.
    """

    def __init__(self, store: BlobStore, name: str, path: Path) -> None:
        self._store = store
        self._name = name
        self._path = path
        self._hasher = BlobHasher()
        self._file: BinaryIO = open(path, "xb", buffering=0)  # noqa: SIM115 - closed by finish() or abandon()

    def write(self, data: bytes) -> None:
        """Takes the next bytes. Raises BlobError if there are too many, or they cannot be written."""
        self._hasher.update(data)
        if self._hasher.size > MAX_BLOB_BYTES:
            raise BlobError(f"a blob may have {MAX_BLOB_BYTES} bytes, this one has more")
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise NoRoomError(f"the hub cannot keep this blob: {error}") from error

    def finish(self) -> int:
        """Takes the blob in; gives its size. Raises BlobError if its bytes do not match its name."""
        self._file.close()
        found = self._hasher.name()
        if not hmac.compare_digest(found, self._name):
            self._path.unlink()
            raise BlobError(
                f"these {self._hasher.size} bytes are blob {found[:16]}…, not {self._name[:16]}…: "
                "they were damaged on the way or the value changed while it was sent; send it again"
            )
        self._store.complete(self._name, self._path, self._hasher.size)
        return self._hasher.size

    def abandon(self) -> None:
        """Removes what has come so far. Does nothing after `finish`."""
        self._file.close()
        self._path.unlink(missing_ok=True)
