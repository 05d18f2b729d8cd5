"""A value as bytes: a pickle, and beside it the buffers that pickle 5 leaves out of band.

    4 bytes   "nbd" and the version of the format
    4 bytes   number n of entries, big endian; the first is the pickle, the others are its buffers in order
    n times   8 bytes: the entry's size; the top bit is set if the entry is a blob and not in here
    32 bytes  the name of each entry that is a blob, in order
    then      the other entries, each at a multiple of `ALIGN_BYTES` from the beginning

Nothing is copied on the way in or out: a container is written as a list of buffers and read as views.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TypeAlias

from nbdist.errors import PackingError

Buffer: TypeAlias = bytes | bytearray | memoryview

ALIGN_BYTES = 16
"""Enough for every number that NumPy knows; what larger buffers gain from more, their own blobs give them."""

MAGIC = b"nbd\x01"
_COUNT = struct.Struct(">4sI")
_SIZE_BYTES = 8
_NAME_BYTES = 32
_IS_BLOB = 1 << 63
_ZEROS = bytes(ALIGN_BYTES)
_ONLY_PICKLE = struct.Struct(">4sIQ")
"""The head of the commonest container: one entry, right behind a head of 16 bytes."""


def assemble(entries: Sequence[Buffer], names: Sequence[str | None] = ()) -> list[Buffer]:
    """The container of these entries, as buffers to be written one after another.

    `names[i]`, where given, says that entry i is the blob of that name (64 hex digits) and is left out.
    """
    if len(entries) == 1 and not names:
        return [_ONLY_PICKLE.pack(MAGIC, 1, len(entries[0])), entries[0]]
    named = [*names, *[None] * (len(entries) - len(names))]
    sizes = [len(entry) | (_IS_BLOB if name is not None else 0) for entry, name in zip(entries, named, strict=True)]
    head = b"".join(
        [
            _COUNT.pack(MAGIC, len(entries)),
            struct.pack(f">{len(sizes)}Q", *sizes),
            *[bytes.fromhex(name) for name in named if name is not None],
        ]
    )
    pieces: list[Buffer] = [head]
    offset = len(head)
    for entry, name in zip(entries, named, strict=True):
        if name is not None:
            continue
        padding = -offset % ALIGN_BYTES
        if padding:
            pieces.append(_ZEROS[:padding])
        pieces.append(entry)
        offset += padding + len(entry)
    return pieces


def parse(data: Buffer, open_blob: Callable[[str], Buffer] | None = None) -> list[memoryview]:
    """The entries of a container, as views. Raises PackingError if the bytes are none.

    `open_blob(name)` gives the bytes of an entry that is a blob.
    """
    view = memoryview(data).cast("B") if not isinstance(data, bytes) else memoryview(data)
    if len(view) < _COUNT.size:
        raise PackingError("packed bytes are cut short")
    magic, count = _COUNT.unpack_from(view)
    if magic != MAGIC:
        raise PackingError("these bytes were not packed by nbdist, or by another version of it")
    names_at = _COUNT.size + count * _SIZE_BYTES
    if count < 1 or names_at > len(view):
        raise PackingError("packed bytes are cut short")
    sizes: tuple[int, ...] = struct.unpack_from(f">{count}Q", view, _COUNT.size)
    offset = names_at + _NAME_BYTES * sum(size >= _IS_BLOB for size in sizes)
    entries: list[memoryview] = []
    for size in sizes:
        if size >= _IS_BLOB:
            entries.append(_open(bytes(view[names_at : names_at + _NAME_BYTES]).hex(), size - _IS_BLOB, open_blob))
            names_at += _NAME_BYTES
            continue
        offset += -offset % ALIGN_BYTES
        entries.append(view[offset : offset + size])
        offset += size
    if offset > len(view):
        raise PackingError("packed bytes are cut short")
    return entries


def _open(name: str, size: int, open_blob: Callable[[str], Buffer] | None) -> memoryview:
    if open_blob is None:
        raise PackingError(f"packed bytes refer to blob {name[:12]}…, which is not at hand")
    blob = memoryview(open_blob(name)).cast("B")
    if len(blob) != size:
        raise PackingError(f"blob {name[:12]}… has {len(blob)} bytes, {size} are expected")
    return blob
