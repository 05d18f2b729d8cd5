"""The results of one job on disk: files that are appended to, one after the other, the oldest dropped when it is over.

    record   4 bytes length, 4 bytes CRC-32, both big endian, then a frame: the `Result` and its payload

What `append` has returned from survives the death of the process. A record that is cut off at the end was being
written when the hub was killed, and was never spoken of; one that is damaged anywhere else is an accident, and its file
is set aside.

A file that is full is sealed: what it has is told once (`ResultsSealed`), so that neither who starts anew nor who drops
it must read it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import struct
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from nbdist.errors import FrameError
from nbdist.hub.statedir import damaged_name
from nbdist.scheduler.intervals import Intervals
from nbdist.scheduler.kept import failed_items
from nbdist.scheduler.orders import ResultsSealed
from nbdist.scheduler.resuming import note_again
from nbdist.wire import frames
from nbdist.wire.frames import Payload
from nbdist.wire.messages import BlobRef, Result

SEGMENT_BYTES = 16 * 1024**2
"""A file that has reached this size is followed by another …"""
SEGMENT_BLOB_BYTES = 64 * 1024**2
"""… or whose results have so much in blobs, which go with it."""
ENTRY_BYTES = 512
"""What a result costs beside its payload: its header, here and there."""
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
    weight_bytes: int = 0
    blob_bytes: int = 0
    last: int = 0
    """The number of its newest result."""
    is_full: bool = False
    """The next record goes into another file."""


@dataclass(slots=True)
class _Contents:
    """What a file has that is not sealed yet."""

    done: Intervals = field(default_factory=Intervals)
    failed_items: int = 0
    first_failed: int | None = None
    stopped_at: int | None = None
    again: Intervals = field(default_factory=Intervals)
    blobs: list[tuple[int, BlobRef]] = field(default_factory=list)

    def add(self, result: Result, *, folds: bool) -> None:
        """One more result."""
        self.done.add(result.start, result.stop)
        note_again(self.again, result, folds=folds)
        failed = failed_items(result)
        self.failed_items += len(failed)
        if failed and self.first_failed is None:
            self.first_failed = failed[0]
        if result.stopped_at is not None:
            self.stopped_at = result.stopped_at
        if result.blob is not None:
            self.blobs.append((result.seq, result.blob))


def weight(message: Result, payload_bytes: int) -> int:
    """What a result takes, wherever it lies."""
    return ENTRY_BYTES + (message.blob.size if message.blob is not None else payload_bytes)


def _tell_nobody(sealed: ResultsSealed) -> None:
    """Until somebody wants to know."""


class ResultLog:
    """The files of one job, `NAME-0`, `NAME-1`, … in a folder."""

    def __init__(
        self,
        folder: Path,
        job: str,
        segment_bytes: int = SEGMENT_BYTES,
        sealed: Callable[[ResultsSealed], None] = _tell_nobody,
        *,
        folds: bool = False,
    ) -> None:
        """`folds`: each result is one value for all its items."""
        self._folder = folder
        self._job = job
        self._folds = folds
        self._sealed = sealed
        self.name = hashlib.sha256(job.encode()).hexdigest()[:32]
        """Of the files, but for their numbers. Ids of jobs may differ in case only."""
        self._segment_bytes = segment_bytes
        self._segments: list[_Segment] = []
        self._next_number = 0
        """Of the file that is made if there is none."""
        self._file: BinaryIO | None = None
        self._contents = _Contents()
        """Of the newest file."""
        self.weight_bytes = 0
        """What all results here come to, blobs included."""
        self.blob_bytes = 0
        """… and their blobs alone."""

    @property
    def size(self) -> int:
        """Bytes on disk, without blobs."""
        return sum(segment.size for segment in self._segments)

    @property
    def beginning(self) -> Spot:
        """Where the first record begins that is kept."""
        return Spot(self._segments[0].number, 0) if self._segments else self.end

    @property
    def end(self) -> Spot:
        """Where the next record will begin."""
        if not self._segments:
            return Spot(self._next_number, 0)
        last = self._segments[-1]
        return Spot(last.number + 1, 0) if last.is_full else Spot(last.number, last.size)

    def seek(self, seq: int) -> tuple[Spot, int]:
        """Where the first result behind number `seq` begins, and what the results from there on come to.

        If there is damage before it, where that is: `read` says so.
        """
        behind = [segment for segment in self._segments if segment.last > seq]
        if not behind:
            return self.end, 0
        weight_bytes = sum(segment.weight_bytes for segment in behind)
        first, offset = behind[0], 0
        with open(self._path(first.number), "rb") as file, contextlib.suppress(FrameError):
            while True:
                message, payload, size = _read(file, offset, first.size)
                if message.seq > seq:
                    break
                offset += size
                weight_bytes -= weight(message, len(payload))
        return Spot(first.number, offset), weight_bytes

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
        self._count(segment, message, _HEAD.size + len(frame), len(payload))
        if segment.size >= self._segment_bytes or segment.blob_bytes >= SEGMENT_BLOB_BYTES:
            self.seal()

    def seal(self) -> bool:
        """What comes from now on goes into another file, so that this one can be dropped; False: so it does already."""
        if not self._segments or self._segments[-1].is_full:
            return False
        segment, contents = self._segments[-1], self._contents
        segment.is_full = True
        self._contents = _Contents()
        self.close()
        self._sealed(
            ResultsSealed(
                job=self._job,
                number=segment.number,
                size=segment.size,
                weight_bytes=segment.weight_bytes,
                last=segment.last,
                done=tuple(contents.done),
                failed_items=contents.failed_items,
                first_failed=contents.first_failed,
                stopped_at=contents.stopped_at,
                again=tuple(contents.again),
                blobs=tuple(contents.blobs),
            )
        )
        return True

    def read(self, spot: Spot) -> tuple[Result, memoryview, Spot]:
        """The record that begins there, and where the next one does. Raises FrameError if it is damaged."""
        number, offset = spot
        segment = self._segment(number)
        if offset >= segment.size:
            segment, offset = self._segment(number + 1), 0
        path = self._path(segment.number)
        with open(path, "rb", buffering=0) as file:
            try:
                message, payload, size = _read(file, offset, segment.size)
            except FrameError as error:
                raise FrameError(f"{path}, byte {offset}: {error}") from None
        following = Spot(segment.number, offset + size)
        if segment.is_full and following.offset >= segment.size:
            following = Spot(segment.number + 1, 0)
        return message, payload, following

    def following(self, spot: Spot) -> Iterator[tuple[Result, memoryview, Spot]]:
        """What `read` gives, from there to the end. Raises FrameError if there is no such place, or it is damaged."""
        while spot < self.end:
            result, payload, spot = self.read(spot)
            yield result, payload, spot

    def oldest(self, seq: int) -> int | None:
        """The number of the oldest file, if that is sealed and all its results have numbers up to `seq`."""
        first = self._segments[0] if self._segments else None
        return first.number if first is not None and first.is_full and first.last <= seq else None

    def detach_oldest(self) -> Callable[[], None]:
        """Lets go of the oldest file, which is sealed; gives what removes it."""
        segment = self._segments.pop(0)
        if not self._segments:
            self._next_number = segment.number + 1
        self._weigh(segment, -1)
        return lambda: self._path(segment.number).unlink(missing_ok=True)

    def recover(self, sealed: Mapping[int, ResultsSealed] | None = None) -> Iterator[Result | ResultsSealed]:
        """Finds what was kept, in order: the results one by one, or what is known of a file. To be exhausted before
        anything else is done. Behind results that are damaged nothing is used."""
        names = (path.name.rpartition("-")[2] for path in self._folder.glob(f"{self.name}-*"))
        numbers = sorted(int(name) for name in names if name.isdecimal())
        for place, number in enumerate(numbers):
            if not self._path(number).is_file() or (place and number != numbers[place - 1] + 1):
                self._set_aside(numbers[place:])
                return
            known = (sealed or {}).get(number)
            if known is not None and self._path(number).stat().st_size == known.size:
                self._take_sealed(known)
                yield known
                continue
            segment = _Segment(number)
            self._segments.append(segment)
            is_newest = place == len(numbers) - 1
            is_good = yield from self._recover(segment, is_newest=is_newest)
            self._weigh(segment, 1)
            if not is_good:
                self._set_aside(numbers[place + 1 :])
                return
            if not is_newest:
                self.seal()

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
        self.weight_bytes = self.blob_bytes = 0

    def _recover(self, segment: _Segment, *, is_newest: bool) -> Generator[Result, None, bool]:
        """The results of one file; returns whether all of it could be used."""
        path = self._path(segment.number)
        size = path.stat().st_size
        with open(path, "rb") as file:
            while segment.size < size:
                try:
                    message, payload, taken = _read(file, segment.size, size)
                except FrameError as error:
                    is_cut_off = is_newest and error.args[0] == _CUT_OFF
                    break
                self._note(segment, message, taken, len(payload))
                yield message
            else:
                return True
        if not is_cut_off:
            _set_aside(path, segment.size)
        os.truncate(path, segment.size)
        return is_cut_off

    def _set_aside(self, numbers: Sequence[int]) -> None:
        """Files behind damage, or behind one that is missing."""
        for number in numbers:
            _set_aside(self._path(number), 0)
            self._path(number).unlink(missing_ok=True)

    def _take_sealed(self, known: ResultsSealed) -> None:
        blob_bytes = sum(ref.size for _, ref in known.blobs)
        segment = _Segment(known.number, known.size, known.weight_bytes, blob_bytes, known.last, is_full=True)
        self._segments.append(segment)
        self._weigh(segment, 1)

    def _count(self, segment: _Segment, message: Result, size: int, payload_bytes: int) -> None:
        """One more result, which is in the file now."""
        before = segment.weight_bytes, segment.blob_bytes
        self._note(segment, message, size, payload_bytes)
        self.weight_bytes += segment.weight_bytes - before[0]
        self.blob_bytes += segment.blob_bytes - before[1]

    def _note(self, segment: _Segment, message: Result, size: int, payload_bytes: int) -> None:
        segment.size += size
        segment.weight_bytes += weight(message, payload_bytes)
        segment.blob_bytes += message.blob.size if message.blob is not None else 0
        segment.last = message.seq
        self._contents.add(message, folds=self._folds)

    def _weigh(self, segment: _Segment, sign: int) -> None:
        self.weight_bytes += sign * segment.weight_bytes
        self.blob_bytes += sign * segment.blob_bytes

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
    if size > frames.MAX_FRAME_BYTES:
        raise FrameError("the record has an impossible length")
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
    damaged = damaged_name(path)
    if path.is_file():
        damaged.write_bytes(path.read_bytes())
    else:
        path.rename(damaged)
    log.warning(
        "a file with results is damaged after %d bytes; a copy is kept as %s; the results behind are computed again",
        good,
        damaged,
    )
