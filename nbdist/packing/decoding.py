"""Bytes to values, without copying the memory of arrays."""

from __future__ import annotations

import mmap
import os
import pickle
from collections.abc import Callable
from typing import Any

from nbdist.packing.container import MAGIC, Buffer, parse

COPY_BYTES = 1024 * 1024
"""What is smaller came in a frame, where arrays would lie at any address and would keep the whole frame alive."""


def decode(data: Buffer, open_blob: Callable[[str], Buffer] | None = None, *, writable: bool = False) -> Any:
    """The value of a container. Raises PackingError if the bytes are none, and whatever unpickling raises.

    Arrays in more than `COPY_BYTES` are views of `data`, or of the blob that `open_blob(name)` gives. They are
    read-only unless `writable` is set: then they are the caller's own, for which a read-only `data` is copied.
    """
    entries = parse(data, open_blob)
    if len(entries) == 1:
        return pickle.loads(entries[0])
    if len(data) < COPY_BYTES or (writable and memoryview(data).readonly):
        entries = parse(bytearray(data), open_blob)
    buffers = entries[1:] if writable else [entry.toreadonly() for entry in entries[1:]]
    return pickle.loads(entries[0], buffers=buffers)


def unpack_chunk(data: Buffer, open_blob: Callable[[str], Buffer] | None = None) -> list[Any]:
    """The items that `pack_chunk` packed, or the one of `item_chunk`, whose blobs `open_blob(name)` gives."""
    items: list[Any]
    if bytes(data[: len(MAGIC)]) == MAGIC:
        entries = parse(bytearray(data), open_blob)
        items = pickle.loads(entries[0], buffers=entries[1:])
    else:
        items = pickle.loads(data)
    return items


def open_file(path: str) -> Buffer:
    """The bytes of a file, mapped: what is written into them changes neither the file nor what others see of it."""
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return b""
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
