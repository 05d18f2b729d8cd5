"""Whether the file in which SQLite writes first (its WAL) has lost something: SQLite itself takes what is whole of it,
and says nothing of the rest.

    header   32 bytes: magic, version, page size, number, two salts, two checksums
    frame    24 bytes: page, size of the database if a transaction ends here, else 0, the salts, two checksums; the page

A transaction that was being written when the hub was killed has no end, and frames of an earlier use of the file have
other salts: neither is damage.
"""

from __future__ import annotations

import struct
from pathlib import Path

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGICS = {0x377F0682: "<", 0x377F0683: ">"}
"""The last bit says how checksums read the bytes."""


def has_lost(path: Path, good_frames: int) -> bool:
    """Whether there are transactions in the file behind the frames that SQLite could use."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEADER.size)
            if len(head) < _HEADER.size:
                return False
            _, _, page_bytes, _, *salts = _HEADER.unpack(head)[:6]
            if not _is_whole(head):
                return bool(file.read(_FRAME.size))
            place = _HEADER.size + good_frames * (_FRAME.size + page_bytes)
            while True:
                file.seek(place)
                frame = file.read(_FRAME.size)
                if len(frame) < _FRAME.size:
                    return False
                _, ends, *found = _FRAME.unpack(frame)[:4]
                if ends and found == salts:
                    return True
                place += _FRAME.size + page_bytes
    except FileNotFoundError:
        return False


def _is_whole(head: bytes) -> bool:
    """Whether a header's checksums are right."""
    order = _MAGICS.get(int.from_bytes(head[:4], "big"))
    if order is None:
        return False
    words = struct.unpack(f"{order}6I", head[:24])
    first = second = 0
    for a, b in zip(words[::2], words[1::2], strict=True):
        first = (first + a + second) & 0xFFFFFFFF
        second = (second + b + first) & 0xFFFFFFFF
    return (first, second) == struct.unpack(">2I", head[24:])
