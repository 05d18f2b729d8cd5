"""The files of some items as one stream of bytes, behind the packed results of these items.

    4 bytes   "nbf" and the version of the format
    4 bytes   size of the index, big endian
    index     JSON: a row [item, name, size] for each file
    then      the files, one after another

Both ends read and write it piece by piece.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from nbdist.errors import PackingError
from nbdist.filing import names
from nbdist.filing.written import Written
from nbdist.wire.blobs import PIECE_BYTES, BlobHasher

MAX_INDEX_BYTES = 64 * 1024 * 1024
_HEAD = struct.Struct(">4sI")
_MAGIC = b"nbf\x01"
_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class Entry(NamedTuple):
    """A file in an archive."""

    item: int
    name: str
    size: int


def pieces(files: Sequence[Written]) -> Iterator[bytes]:
    """The archive of these files. Raises OSError, for one that has changed since it was found too."""
    index = json.dumps([[file.item, file.name, file.size] for file in files]).encode()
    yield _HEAD.pack(_MAGIC, len(index)) + index
    for file in files:
        yield from _content(file)


def write(path: Path, front: Iterable[Any], files: Sequence[Written]) -> tuple[str, int, int]:
    """Writes a new file: `front`, then the archive. Gives the name of the blob that it is, its size, and where the
    archive begins. Raises OSError."""
    hasher = BlobHasher()
    with open(path, "xb", buffering=0) as target:
        sink = SparseWriter(target)
        for piece in front:
            hasher.update(piece)
            sink.write(piece)
        at = hasher.size
        for piece in pieces(files):
            hasher.update(piece)
            sink.write(piece)
        sink.finish()
    return hasher.name(), hasher.size, at


def _content(file: Written) -> Iterator[bytes]:
    changed = OSError(f"the file {file.name} of item {file.item} was changed after the item had ended")
    try:
        descriptor = os.open(file.path, _OPEN)
    except FileNotFoundError:
        raise changed from None
    with open(descriptor, "rb", buffering=0) as opened:
        left = file.size
        while left:
            piece = opened.read(min(left, PIECE_BYTES))
            if not piece:
                raise changed
            left -= len(piece)
            yield piece
        if os.fstat(opened.fileno()).st_size != file.size:
            raise changed


class SparseWriter:
    """Writes a file whose long runs of zeros take no room on the disk."""

    def __init__(self, file: BinaryIO | Any) -> None:
        self._file = file
        self._size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Appends. Raises OSError."""
        view = memoryview(data).cast("B")
        self._size += len(view)
        if len(view) >= len(_ZEROS) and _is_zero(view):
            self._file.seek(len(view), os.SEEK_CUR)
            return
        while view:
            view = view[self._file.write(view) :]

    def finish(self) -> None:
        """No more comes."""
        self._file.truncate(self._size)


_ZEROS = bytes(64 * 1024)


def _is_zero(view: memoryview) -> bool:
    """Whether there are only zeros in it."""
    for at in range(0, len(view), len(_ZEROS)):
        part = view[at : at + len(_ZEROS)].tobytes()  # views are compared byte by byte
        if part != _ZEROS and part.strip(b"\0"):
            return False
    return True


def copy(source: Path, target: Path) -> None:
    """Copies a file; one with holes has them afterwards. Raises OSError."""
    facts = source.stat()
    if getattr(facts, "st_blocks", facts.st_size) * 512 >= facts.st_size:
        shutil.copyfile(source, target)
        return
    with open(source, "rb", buffering=0) as opened, open(target, "xb", buffering=0) as file:
        sink = SparseWriter(file)
        while piece := opened.read(PIECE_BYTES):
            sink.write(piece)
        sink.finish()


Open = Callable[[Entry], Any]
"""Opens a file for an entry, to be written to and closed."""


class Unpacker:
    """Takes an archive apart as its bytes come. Raises PackingError for bytes that are none."""

    def __init__(self, open_: Open) -> None:
        self._open = open_
        self._head = bytearray()
        self._index: list[Entry] | None = None
        self._at = 0
        """The entry that comes."""
        self._left = 0
        self._file: Any = None
        self._writer: SparseWriter | None = None

    def feed(self, data: bytes | memoryview) -> None:
        """The next bytes, in any cut."""
        view = memoryview(data).cast("B")
        if self._index is None:
            view = self._read_index(view)
            if self._index is None:
                return
            self._begin()
        while view:
            if self._writer is None:
                raise PackingError("an archive of files goes on behind its last file")
            some = view[: self._left]
            self._writer.write(some)
            self._left -= len(some)
            view = view[len(some) :]
            if not self._left:
                self._end()
                self._begin()

    def finish(self) -> list[Entry]:
        """All bytes have come: the files."""
        if self._index is None or self._at < len(self._index):
            raise PackingError("an archive of files is cut short")
        return self._index

    def close(self) -> None:
        """Lets go of a file that is half written."""
        if self._file is not None:
            self._file.close()
            self._file = self._writer = None

    def _read_index(self, view: memoryview) -> memoryview:
        self._head += view
        if len(self._head) < _HEAD.size:
            return view[:0]
        magic, size = _HEAD.unpack_from(self._head)
        if magic != _MAGIC or size > MAX_INDEX_BYTES:
            raise PackingError("these bytes are no archive of files")
        end = _HEAD.size + size
        if len(self._head) < end:
            return view[:0]
        self._index = _entries(bytes(self._head[_HEAD.size : end]))
        rest = len(self._head) - end
        self._head.clear()
        return view[len(view) - rest :]

    def _begin(self) -> None:
        """Opens the next file; those that are empty are complete with that."""
        assert self._index is not None
        while self._at < len(self._index):
            entry = self._index[self._at]
            self._file = self._open(entry)
            self._writer = SparseWriter(self._file)
            self._left = entry.size
            if self._left:
                return
            self._end()

    def _end(self) -> None:
        assert self._writer is not None
        self._writer.finish()
        self.close()
        self._at += 1


def _entries(data: bytes) -> list[Entry]:
    try:
        rows = [Entry(item, name, size) for item, name, size in json.loads(data)]
    except (ValueError, TypeError, RecursionError):
        raise PackingError("the index of an archive of files cannot be read") from None
    for entry in rows:
        if type(entry.item) is not int or type(entry.name) is not str or type(entry.size) is not int:
            raise PackingError("the index of an archive of files cannot be read")
        if entry.size < 0 or names.why_not(entry.name):
            raise PackingError(f"an archive of files has one that is called {entry.name[:80]!r}")
    return rows
