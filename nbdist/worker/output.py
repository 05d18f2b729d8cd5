"""What user code writes: text with the item that wrote it, within a bound for each slice.

`sys.stdout` keeps text in memory until it is sent. `sys.stderr`, and everything that does not go through Python (C
libraries, child processes), goes to a file at once, so that it survives a crash; what is new there is read when it is
sent. What `sys.stdout` is given remembers how far the file of descriptor 1 was then, so that both come in order.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from nbdist.wire.messages import Stream

SLICE_BYTES = 64 * 1024
"""Of each stream, for each slice; what is more is counted and left out."""
CAN_READ_ANYWHERE = hasattr(os, "pread")
"""Without moving the position of the file, which is shared. Windows cannot."""
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
        self._files: dict[Stream, _File] = {"stdout": _File(1, position), "stderr": _File(2, position)}
        self._stdout = _Memory(self._files["stdout"], position)
        self._room: dict[Stream, int] = {}
        self._decoders: dict[Stream, codecs.IncrementalDecoder] = {}
        """They hold back a character of which only the first bytes are there."""
        self.begin_slice()

    def install(self) -> None:
        """Puts itself in the place of Python's streams."""
        sys.stdout = self._stdout
        sys.stderr = _Through(self._files["stderr"])
        sys.stdin = _NoInput()

    def begin_slice(self) -> None:
        """A new slice has its bound to itself."""
        self._room = {"stdout": SLICE_BYTES, "stderr": SLICE_BYTES}
        self._decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in self._room}

    def take(self) -> list[Text]:
        """What is new, in order within each stream and item by item."""
        texts: list[Text] = []
        for item, data in self._take_stdout():
            self._add(texts, item, "stdout", data)
        for item, data in self._files["stderr"].take():
            self._add(texts, item, "stderr", data)
        return texts

    def _take_stdout(self) -> Iterator[tuple[int, bytes]]:
        """What came through Python between what came beside it, which is of the item that wrote next."""
        file = self._files["stdout"]
        size, running = file.moment()  # what comes later may be the next item's: it is for the next time
        for end, item, data in self._stdout.take():
            yield from file.take(end, item)
            yield item, data
        yield from file.take(size, running)
        file.empty()

    def _add(self, texts: list[Text], item: int, stream: Stream, data: bytes) -> None:
        data = self._decoders[stream].decode(data).encode()
        room = self._room[stream]
        if not data or room < 0:
            return
        kept = data[:room].decode("utf-8", "ignore").encode() if len(data) > room else data
        # a mark once is enough: below zero says that it has been made
        self._room[stream] = room - len(data) if len(data) <= room else -1
        texts.append(Text(item, stream, kept, len(data) - len(kept)))


class _Writer(io.TextIOBase):
    """What `sys.stdout` and `sys.stderr` have in common: all that libraries ask of a text file that they write to.

    They end with the process: closing them, or what somebody has wrapped round their `buffer`, changes nothing.
    """

    encoding = "utf-8"
    errors = "replace"
    mode = "w"
    newlines = None
    line_buffering = True
    write_through = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.buffer = _Bytes(self)

    def keep(self, data: bytes) -> None:
        """Takes bytes that are to come with the running item's output."""
        raise NotImplementedError

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.keep(text.encode("utf-8", self.errors))
        return len(text)

    def reconfigure(self, **settings: Any) -> None:
        """Accepted, and of no effect: what is written here is UTF-8 and goes to the notebook."""

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Stays open."""


class _Bytes(io.BufferedIOBase):
    """`sys.stdout.buffer` and `sys.stderr.buffer`."""

    mode = "wb"

    def __init__(self, writer: _Writer) -> None:
        self._writer = writer
        self.name = writer.name

    def write(self, data: Any, /) -> int:
        given = bytes(memoryview(data))
        self._writer.keep(given)
        return len(given)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._writer.fileno()

    def close(self) -> None:
        """Stays open."""


class _Memory(_Writer):
    """`sys.stdout`: a list of what was written, by item."""

    def __init__(self, file: _File, position: Sequence[int]) -> None:
        super().__init__("<stdout>")
        self._file = file
        self._position = position
        self._pieces: deque[tuple[int, int, bytes]] = deque()
        """Added to by the thread that runs an item while another takes: never another deque, or one would be lost."""
        self._bytes = 0

    def keep(self, data: bytes) -> None:
        if self._bytes <= 2 * SLICE_BYTES:  # the rest would be left out anyway
            self._bytes += len(data)
            self._pieces.append((_end(self._file.descriptor), self._position[0], data))

    def fileno(self) -> int:
        return self._file.descriptor

    def take(self) -> list[tuple[int, int, bytes]]:
        """(How far the file was, the item, what it wrote), joined where only the last differs."""
        pieces = [self._pieces.popleft() for _ in range(len(self._pieces))]
        self._bytes = 0
        return [(end, item, b"".join(datas)) for (end, item), datas in _grouped(pieces)]


def _grouped(pieces: Sequence[tuple[int, int, bytes]]) -> list[tuple[tuple[int, int], list[bytes]]]:
    groups: list[tuple[tuple[int, int], list[bytes]]] = []
    for end, item, data in pieces:
        if not groups or groups[-1][0] != (end, item):
            groups.append(((end, item), []))
        groups[-1][1].append(data)
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

    def moment(self) -> tuple[int, int]:
        """How large the file was while which item ran."""
        while True:
            item = self._position[0]
            size = _size(self.descriptor)
            if self._position[0] == item:
                return size, item

    def empty(self) -> None:
        """Empties the file if all of it is taken, and it is large."""
        if FILE_BYTES < self._read_to == _size(self.descriptor):
            os.ftruncate(self.descriptor, 0)
            self._read_to = 0

    def take(self, end: int | None = None, item: int | None = None) -> list[tuple[int, bytes]]:
        """What is new, up to `end`. What nobody has marked is that item's, or the running one's."""
        if end is not None and end <= self._read_to:
            return []
        size = _size(self.descriptor) if end is None else min(end, _size(self.descriptor))
        if size <= self._read_to:
            return []
        marks = [mark for mark in self._marks if mark[0] < size]
        self._marks = [mark for mark in self._marks if mark[0] >= size]
        if not marks or marks[0][0] > self._read_to:
            marks.insert(0, (self._read_to, self._position[0] if item is None else item))
        texts = []
        for (begin, marked), stop in zip(marks, [*[mark[0] for mark in marks[1:]], size], strict=True):
            texts.append((marked, self._read(max(begin, self._read_to), stop)))
        self._read_to = size
        if end is None:
            self.empty()
        return texts

    def _read(self, begin: int, end: int) -> bytes:
        length = min(end - begin, 2 * SLICE_BYTES)
        if length <= 0:
            return b""
        if CAN_READ_ANYWHERE:
            return os.pread(self.descriptor, length, begin)
        with open(os.dup(self.descriptor), "rb", buffering=0) as file:
            file.seek(begin)
            return file.read(length) or b""


def _size(descriptor: int) -> int:
    return os.fstat(descriptor).st_size


def _end(descriptor: int) -> int:
    """The size, in a fifth of the time: asked at each `write`. Where reading moves the position too, it is not used."""
    return os.lseek(descriptor, 0, os.SEEK_END) if CAN_READ_ANYWHERE else _size(descriptor)


class _Through(_Writer):
    """`sys.stderr`: writes to its file at once."""

    errors = "backslashreplace"
    write_through = True

    def __init__(self, file: _File) -> None:
        super().__init__("<stderr>")
        self._file = file

    def keep(self, data: bytes) -> None:
        self._file.mark()
        os.write(self._file.descriptor, data)

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
