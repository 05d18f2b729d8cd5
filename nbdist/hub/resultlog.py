"""The results of one job on disk: files that are appended to, one after the other, the oldest dropped when it is over.

    record   4 bytes length, 4 bytes CRC-32, both big endian, then a frame: the `Result` and its payload

What `append` has returned from survives the death of the process. A record that is cut off at the end was being
written when the hub was killed, and was never spoken of; one that is damaged anywhere else is an accident, and its file
is set aside.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from nbdist.errors import FrameError
from nbdist.wire import frames
from nbdist.wire.frames import Payload
from nbdist.wire.messages import Result

SEGMENT_BYTES = 16 * 1024**2
"""A file that has reached this size is followed by another."""
_HEAD = struct.Struct(">II")

log = logging.getLogger("nbdist.hub")


class Spot(NamedTuple):
    """Where a record begins."""

    segment: int
    offset: int


@dataclass(slots=True)
class _Segment:
    number: int
    size: int = 0
    last: int = 0
    """The number of its newest result."""
    is_full: bool = False
    """The next record goes into another file."""


class ResultLog:
    """The files of one job, `NAME-0`, `NAME-1`, … in a folder."""

    def __init__(self, folder: Path, job: str, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self.name = hashlib.sha256(job.encode()).hexdigest()[:32]
        """Of the files, but for their numbers. Ids of jobs may differ in case only."""
        self._segment_bytes = segment_bytes
        self._segments: list[_Segment] = []
        self._next_number = 0
        """Of the file that is made if there is none."""
        self._file: BinaryIO | None = None

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self._segments)

    @property
    def end(self) -> Spot:
        """Where the next record will begin."""
        if not self._segments:
            return Spot(self._next_number, 0)
        last = self._segments[-1]
        return Spot(last.number + 1, 0) if last.is_full else Spot(last.number, last.size)

    @property
    def beginning(self) -> Spot:
        """Where the oldest record begins."""
        return Spot(self._segments[0].number, 0) if self._segments else self.end

    def append(self, message: Result, payload: Payload) -> None:
        """Adds a record. Raises OSError, and has added nothing then."""
        frame = frames.encode(message, payload)
        if not self._segments or self._segments[-1].is_full:
            self.close()
            self._segments.append(_Segment(self.end.segment))
        segment = self._segments[-1]
        if self._file is None:
            self._file = open(self._path(segment.number), "ab", 0, opener=_private)  # noqa: SIM115 - closed by close()
        try:
            _write(self._file, _HEAD.pack(len(frame), zlib.crc32(frame)) + frame)
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(segment.size)
            raise
        segment.size += _HEAD.size + len(frame)
        segment.last = message.seq
        segment.is_full = segment.size >= self._segment_bytes

    def seal(self) -> None:
        """What comes from now on goes into another file, so that this one can be dropped."""
        if self._segments:
            self._segments[-1].is_full = True

    def read(self, spot: Spot) -> tuple[Result, memoryview, Spot]:
        """The record that begins there, and where the next one does. Raises FrameError if it is damaged."""
        number, offset = spot
        segment = self._segment(number)
        if offset >= segment.size:
            segment, offset = self._segment(number + 1), 0
        with open(self._path(segment.number), "rb", buffering=0) as file:
            message, payload, size = _read(file, offset, segment.size)
        following = Spot(segment.number, offset + size)
        if segment.is_full and following.offset >= segment.size:
            following = Spot(segment.number + 1, 0)
        return message, payload, following

    def following(self, spot: Spot) -> Iterator[tuple[Result, memoryview, Spot]]:
        """What `read` gives, from there to the end. Raises FrameError if there is no such place, or it is damaged."""
        while spot < self.end:
            result, payload, spot = self.read(spot)
            yield result, payload, spot

    def oldest(self, seq: int) -> list[Result]:
        """The results of the oldest file, if it is full and all of them have numbers up to `seq`."""
        if not self._segments or not self._segments[0].is_full or self._segments[0].last > seq:
            return []
        first, size = self.beginning, self._segments[0].size
        found = []
        while first.segment == self._segments[0].number and first.offset < size:
            message, _, first = self.read(first)
            found.append(message)
        return found

    def drop_oldest(self) -> None:
        """Removes the oldest file."""
        if len(self._segments) == 1:
            self.close()
            self._next_number = self._segments[0].number + 1
        self._path(self._segments.pop(0).number).unlink(missing_ok=True)

    def recover(self) -> Iterator[Result]:
        """Finds what was kept: the results in order, after those that were dropped. To be exhausted before anything
        else is done."""
        numbers = sorted(int(path.name.rpartition("-")[2]) for path in self._folder.glob(f"{self.name}-*"))
        for place, number in enumerate(numbers):
            segment = _Segment(number, is_full=place < len(numbers) - 1)
            self._segments.append(segment)
            yield from self._recover(segment, is_newest=place == len(numbers) - 1)

    def close(self) -> None:
        """Closes the file that is open; the next `append` opens one again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Removes everything."""
        self.close()
        for segment in self._segments:
            self._path(segment.number).unlink(missing_ok=True)
        self._segments.clear()

    def _recover(self, segment: _Segment, *, is_newest: bool) -> Iterator[Result]:
        path = self._path(segment.number)
        size = path.stat().st_size
        with open(path, "rb") as file:
            while segment.size < size:
                try:
                    message, _, taken = _read(file, segment.size, size)
                except FrameError as error:
                    is_cut_off = is_newest and error.args[0] == _CUT_OFF
                    break
                segment.size += taken
                segment.last = message.seq
                yield message
            else:
                return
        if not is_cut_off:
            _set_aside(path, segment.size)
        os.truncate(path, segment.size)

    def _segment(self, number: int) -> _Segment:
        for segment in self._segments:
            if segment.number == number:
                return segment
        raise FrameError("there are no results at this place")

    def _path(self, number: int) -> Path:
        return self._folder / f"{self.name}-{number}"


_CUT_OFF = "the record is cut off"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _read(file: BinaryIO, offset: int, end: int) -> tuple[Result, memoryview, int]:
    """A record and its size. Raises FrameError if it is cut off or damaged."""
    file.seek(offset)
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise FrameError(_CUT_OFF)
    size, check = _HEAD.unpack(head)
    if offset + _HEAD.size + size > end:
        raise FrameError(_CUT_OFF)
    frame = file.read(size)
    if zlib.crc32(frame) != check:
        raise FrameError("the record is damaged")
    message, payload = frames.decode(frame)
    if not isinstance(message, Result):
        raise FrameError("the record is no result")
    return message, payload, _HEAD.size + size


def _set_aside(path: Path, good: int) -> None:
    """Keeps a copy of a damaged file under another name."""
    damaged = path.with_name(f"damaged-{path.name}")
    damaged.write_bytes(path.read_bytes())
    log.warning(
        "a file with results is damaged after %d bytes; a copy is kept as %s; the results behind are computed again",
        good,
        damaged,
    )
