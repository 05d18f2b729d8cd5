"""The names of blobs: opaque bytes named by content.

A blob's name is the SHA-256 of the SHA-256s of its pieces of 1 MiB (the last may be shorter; a blob of no bytes has no
pieces). Pieces can be hashed in several threads, hashlib lets go of the interpreter for them, and a reader that
streams can check each piece as it comes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PIECE_BYTES = 1024 * 1024
HOLDER_HEADER = "Nbdist-Holder"
"""Of a PUT: `job@item` says that the blob belongs to the block of items that will begin there."""
HASH_THREADS = 2
"""More do not help: SHA-256 in hardware is then bound by memory."""
_PARALLEL_BYTES = 8 * PIECE_BYTES
_NAME = re.compile(r"[0-9a-f]{64}", re.ASCII)


def holder_of_items(job: str, start: int) -> str:
    """Who needs the blobs of a block of items, for the hub's records; also the value of `HOLDER_HEADER`."""
    return f"{job}@{start}"


def is_name(text: str) -> bool:
    """Whether the text has the form of a blob's name: 64 lower-case hex digits."""
    return _NAME.fullmatch(text) is not None


class BlobHasher:
    """Names a blob whose bytes come bit by bit, in any cut."""

    def __init__(self) -> None:
        self.size = 0
        self._all = hashlib.sha256()
        self._piece = hashlib.sha256()
        self._in_piece = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Takes the next bytes."""
        view = memoryview(data).cast("B")
        self.size += len(view)
        while view:
            some = view[: PIECE_BYTES - self._in_piece]
            self._piece.update(some)
            self._in_piece += len(some)
            view = view[len(some) :]
            if self._in_piece == PIECE_BYTES:
                self._close_piece()

    def name(self) -> str:
        """The name of all bytes so far; the hasher is used up."""
        if self._in_piece:
            self._close_piece()
        return self._all.hexdigest()

    def _close_piece(self) -> None:
        self._all.update(self._piece.digest())
        self._piece = hashlib.sha256()
        self._in_piece = 0


def blob_name(buffers: Iterable[bytes | bytearray | memoryview]) -> str:
    """The name of the blob that these buffers make one after another. Large ones are hashed in two threads."""
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    if sum(map(len, views)) < _PARALLEL_BYTES:
        hasher = BlobHasher()
        for view in views:
            hasher.update(view)
        return hasher.name()
    digest = hashlib.sha256()
    with ThreadPoolExecutor(HASH_THREADS) as threads:
        for piece in threads.map(_hash_piece, _pieces(views)):
            digest.update(piece)
    return digest.hexdigest()


def file_name(path: Path) -> str:
    """The name of the blob that a file holds; empty if it cannot be read. Large ones are hashed in two threads."""

    def piece(start: int) -> bytes:
        with open(path, "rb", buffering=0) as file:
            file.seek(start)
            return hashlib.sha256(file.read(PIECE_BYTES)).digest()

    try:
        with ThreadPoolExecutor(HASH_THREADS) as threads:
            digests = threads.map(piece, range(0, path.stat().st_size, PIECE_BYTES))
            return hashlib.sha256(b"".join(digests)).hexdigest()
    except OSError:
        return ""


def _hash_piece(parts: list[memoryview]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def _pieces(views: list[memoryview]) -> Iterator[list[memoryview]]:
    parts: list[memoryview] = []
    room = PIECE_BYTES
    for view in views:
        while view:
            parts.append(view[:room])
            view, room = view[room:], room - len(parts[-1])
            if not room:
                yield parts
                parts, room = [], PIECE_BYTES
    if parts:
        yield parts
