"""What user code writes: text with the item that wrote it, within a bound for each slice.

`sys.stdout` keeps text in memory until the next flush. `sys.stderr`, and everything that does not go through Python (C
libraries, child processes), goes to a file at once, so that it survives a crash; what is new there is read at the
next flush.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from nbdist.wire.messages import Stream

SLICE_BYTES = 64 * 1024
"""Of each stream, for each slice; what is more is counted and left out."""
FILE_BYTES = 1024 * 1024
"""The files of file descriptors 1 and 2 are emptied when they are larger."""


@dataclass(slots=True)
class Text:
    """Text of one item."""

    item: int
    stream: Stream
    data: bytes
    cut_bytes: int = 0


class Capture:
    """All output of one slot."""

    def __init__(self, position: Sequence[int]) -> None:
        self._stdout = _Memory(position)
        self._files: dict[Stream, _File] = {"stdout": _File(1, position), "stderr": _File(2, position)}
        self._room: dict[Stream, int] = {}
        self.begin_slice()

    def install(self) -> None:
        """Puts itself in the place of Python's streams."""
        sys.stdout = self._stdout
        sys.stderr = _Through(self._files["stderr"])
        sys.stdin = _NoInput()

    def begin_slice(self) -> None:
        """A new slice has its bound to itself."""
        self._room = {"stdout": SLICE_BYTES, "stderr": SLICE_BYTES}

    def take(self) -> list[Text]:
        """What is new, in order within each stream and item by item."""
        texts: list[Text] = []
        for item, data in self._stdout.take():
            self._add(texts, item, "stdout", data)
        for stream, file in self._files.items():
            for item, data in file.take():
                self._add(texts, item, stream, data)
        return texts

    def _add(self, texts: list[Text], item: int, stream: Stream, data: bytes) -> None:
        room = self._room[stream]
        if not data or room < 0:
            return
        kept = data[:room].decode("utf-8", "ignore").encode() if len(data) > room else data
        # a mark once is enough: below zero says that it has been made
        self._room[stream] = room - len(data) if len(data) <= room else -1
        texts.append(Text(item, stream, kept, len(data) - len(kept)))


class _Memory(io.TextIOBase):
    """`sys.stdout`: a list of what was written, by item."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, position: Sequence[int]) -> None:
        self._position = position
        self._pieces: list[tuple[int, str]] = []
        self._chars = 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self._chars <= 2 * SLICE_BYTES:  # the rest would be left out anyway
            self._chars += len(text)
            self._pieces.append((self._position[0], text))
        return len(text)

    def fileno(self) -> int:
        return 1

    def take(self) -> list[tuple[int, bytes]]:
        pieces, self._pieces, self._chars = self._pieces, [], 0
        return [(item, "".join(texts).encode("utf-8", "replace")) for item, texts in _grouped(pieces)]


def _grouped(pieces: Sequence[tuple[int, str]]) -> list[tuple[int, list[str]]]:
    groups: list[tuple[int, list[str]]] = []
    for item, text in pieces:
        if not groups or groups[-1][0] != item:
            groups.append((item, []))
        groups[-1][1].append(text)
    return groups


class _File:
    """What has been written to a file descriptor, which is a file opened for appending."""

    def __init__(self, descriptor: int, position: Sequence[int]) -> None:
        self.descriptor = descriptor
        self._position = position
        self._read_to = _size(descriptor)
        self._marks: list[tuple[int, int]] = []
        """(size of the file when an item began to write, the item)."""

    def mark(self) -> None:
        """What is written from now on is the running item's."""
        item = self._position[0]
        if not self._marks or self._marks[-1][1] != item:
            self._marks.append((_size(self.descriptor), item))

    def take(self) -> list[tuple[int, bytes]]:
        """What is new. What nobody has marked is the running item's."""
        size = _size(self.descriptor)
        if size <= self._read_to:
            return []
        marks, self._marks = [mark for mark in self._marks if mark[0] < size], []
        if not marks or marks[0][0] > self._read_to:
            marks.insert(0, (self._read_to, self._position[0]))
        texts = []
        for (begin, item), end in zip(marks, [*[mark[0] for mark in marks[1:]], size], strict=True):
            texts.append((item, self._read(max(begin, self._read_to), end)))
        self._read_to = size
        if size > FILE_BYTES:
            os.ftruncate(self.descriptor, 0)
            self._read_to = 0
        return texts

    def _read(self, begin: int, end: int) -> bytes:
        length = min(end - begin, 2 * SLICE_BYTES)
        if length <= 0:
            return b""
        reader = os.dup(self.descriptor)
        with open(reader, "rb", buffering=0) as file:
            file.seek(begin)
            return file.read(length) or b""


def _size(descriptor: int) -> int:
    return os.fstat(descriptor).st_size


class _Through(io.TextIOBase):
    """`sys.stderr`: writes to its file at once."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, file: _File) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._file.mark()
        os.write(self._file.descriptor, text.encode("utf-8", "backslashreplace"))
        return len(text)

    def fileno(self) -> int:
        return self._file.descriptor


class _NoInput(io.TextIOBase):
    """`sys.stdin`: nobody sits at a slot."""

    def readable(self) -> bool:
        return True

    def _refuse(self, *_: Any) -> NoReturn:
        raise EOFError(
            "input() cannot be used in an item: it runs in the background, maybe on another machine. "
            "Ask before the cell, and use the answer in it"
        )

    read: Callable[..., NoReturn] = _refuse
    readline: Callable[..., NoReturn] = _refuse

    def fileno(self) -> int:
        raise io.UnsupportedOperation("an item has no standard input")
