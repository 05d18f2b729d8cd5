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
import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from nbdist.wire.messages import Stream

SLICE_BYTES = 64 * 1024
"""Of each stream, for each slice; what is more is counted and left out."""
CAN_READ_ANYWHERE = hasattr(os, "pread")
"""Without moving the position of the file, which is shared. Windows cannot."""
FILE_BYTES = 1024 * 1024
"""The files of file descriptors 1 and 2 are emptied when they are larger."""


MAX_HELD_BYTES = 4 * 1024
"""A line without an end is held back up to this."""

Piece = tuple[int, bytes, int]
"""(The item that wrote, what it wrote, how many bytes behind that were not kept)."""


@dataclass(slots=True)
class Text:
    """Text of one item."""

    item: int
    stream: Stream
    data: bytes
    cut_bytes: int = 0
    """So many bytes were left out behind it, of this item and those before it."""


class Capture:
    """All output of one slot."""

    def __init__(self, position: Sequence[int]) -> None:
        self._files: dict[Stream, _File] = {"stdout": _File(1, position), "stderr": _File(2, position)}
        self._stdout = _Memory(self._files["stdout"], position)
        self._stderr = _Through(self._files["stderr"])
        self._lines: dict[Stream, _Lines] = {}
        self._bounds: dict[Stream, _Bound] = {}
        self._job = ""
        self._strangers: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        """Threads that another job has left behind: what they write must not come under this one's cell."""
        self._stdout.strangers = self._stderr.strangers = self._strangers
        self._own_thread = threading.current_thread()
        self.begin_slice("")

    def install(self) -> None:
        """Puts itself in the place of Python's streams."""
        sys.stdout, sys.stderr = self._stdout, self._stderr
        sys.stdin = _NoInput()

    def begin_slice(self, job: str) -> None:
        """A new slice has its bound to itself; one of another job has nothing to do with what was written before."""
        if job != self._job:
            self.take(is_last=True)
            self._job = job
            self._strangers.update(thread for thread in threading.enumerate() if thread is not self._own_thread)
        self._lines = {stream: _Lines() for stream in self._files}
        self._bounds = {stream: _Bound(stream) for stream in self._files}

    def take(self, *, is_last: bool = False) -> list[Text]:
        """What is new, in order within each stream and item by item. The last of a slice holds nothing back."""
        new = {"stdout": list(self._take_stdout()), "stderr": list(self._files["stderr"].take())}
        texts: list[Text] = []
        for stream, bound in self._bounds.items():
            for item, data, left_out in self._lines[stream].whole(new[stream], is_last=is_last):
                texts += bound.add(item, data, left_out)
            if is_last:
                texts += bound.end()
        return texts

    def _take_stdout(self) -> Iterator[Piece]:
        """What came through Python between what came beside it, which is of the item that wrote next."""
        file = self._files["stdout"]
        size, running = file.moment()  # what comes later may be the next item's: it is for the next time
        for end, item, data, left_out in self._stdout.take():
            yield from file.take(end, item)
            yield item, data, left_out
        yield from file.take(size, running)
        file.empty()


class _Lines:
    """A line that is written in pieces is held back until it is whole, for one `take`: `print(a, b)` writes four, and
    another slot's text would come between them."""

    def __init__(self) -> None:
        self._item = 0
        self._held = b""

    def whole(self, pieces: list[Piece], *, is_last: bool) -> list[Piece]:
        """What is to be sent of these and of what was held back."""
        held, self._held = self._held, b""
        if held:
            if pieces and pieces[0][0] == self._item:
                pieces = [(self._item, held + pieces[0][1], pieces[0][2]), *pieces[1:]]
            else:
                pieces = [(self._item, held, 0), *pieces]
        if is_last or not pieces:
            return pieces
        item, data, left_out = pieces[-1]
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        was_held = bool(held) and len(pieces) == 1 and end <= len(held)
        if was_held or left_out or len(data) - end > MAX_HELD_BYTES:
            return pieces
        self._item, self._held = item, data[end:]
        return [*pieces[:-1], (item, data[:end], 0)]


class _Bound:
    """Of one stream, in one slice: text up to the bound, and then two marks, one at once and one at the end."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._room = SLICE_BYTES
        self._is_over = False
        self._item = self._left_out = 0
        """What was left out since the last mark, and up to which item."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        """It holds back a character of which only the first bytes are there."""

    def add(self, item: int, data: bytes, left_out: int) -> Iterator[Text]:
        data = self._decoder.decode(data).encode()
        kept = data[: self._room].decode("utf-8", "ignore").encode() if len(data) > self._room else data
        self._room -= len(kept)
        cut = len(data) - len(kept) + left_out
        self._left_out += cut
        self._item = item if cut else self._item
        if cut and not self._is_over:
            self._is_over, self._room, self._left_out = True, 0, 0
            yield Text(item, self._stream, kept, cut)
        elif kept:
            yield Text(item, self._stream, kept)

    def end(self) -> Iterator[Text]:
        """The slice is over."""
        if self._left_out:
            yield Text(self._item, self._stream, b"", self._left_out)
            self._left_out = 0


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
        self.strangers: Collection[threading.Thread] = ()
        """Threads whose output goes nowhere."""

    def take_in(self, data: bytes) -> None:
        """Keeps bytes, if the thread that writes them may write."""
        if not (self.strangers and threading.current_thread() in self.strangers):
            self.keep(data)

    def keep(self, data: bytes) -> None:
        """Takes bytes that are to come with the running item's output."""
        raise NotImplementedError

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.take_in(text.encode("utf-8", self.errors))
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
        self._writer.take_in(given)
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
        self._left_out = 0

    def keep(self, data: bytes) -> None:
        if self._bytes <= 2 * SLICE_BYTES:
            self._bytes += len(data)
            self._pieces.append((_end(self._file.descriptor), self._position[0], data))
        else:  # it is over the bound of the slice
            self._left_out += len(data)

    def fileno(self) -> int:
        return self._file.descriptor

    def take(self) -> list[tuple[int, int, bytes, int]]:
        """(How far the file was, the item, what it wrote, what was left out), joined where it is one item's."""
        pieces = [self._pieces.popleft() for _ in range(len(self._pieces))]
        left_out, self._left_out, self._bytes = self._left_out, 0, 0
        taken = [(end, item, b"".join(datas), 0) for (end, item), datas in _grouped(pieces)]
        if left_out:
            taken.append((_end(self._file.descriptor), self._position[0], b"", left_out))
        return taken


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

    def take(self, end: int | None = None, item: int | None = None) -> list[Piece]:
        """What is new, up to `end`. What nobody has marked is that item's, or of the one that wrote next, or runs."""
        if end is not None and end <= self._read_to:
            return []
        size, running = self.moment()
        size = size if end is None else min(end, size)
        if size <= self._read_to:
            return []
        marks = [mark for mark in self._marks if mark[0] < size]
        self._marks = [mark for mark in self._marks if mark[0] >= size]
        if not marks or marks[0][0] > self._read_to:
            following = marks[0][1] if marks else running
            marks.insert(0, (self._read_to, following if item is None else item))
        texts = []
        for (begin, marked), stop in zip(marks, [*[mark[0] for mark in marks[1:]], size], strict=True):
            first = max(begin, self._read_to)
            data = self._read(first, stop)
            texts.append((marked, data, max(0, stop - first - len(data))))
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
