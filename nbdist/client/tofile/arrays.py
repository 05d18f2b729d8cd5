"""Values as the numbers of an npy file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from nbdist.client.tofile.columns import Rows
from nbdist.errors import JobError

HEADER_BYTES = 256
"""Room for the header, which is written at the end; the format wants a multiple of 64."""
BLOCK_BYTES = 8 * 1024 * 1024
"""So much is in memory while numbers of several kinds become those of one."""
_MAGIC = b"\x93NUMPY\x01\x00"


class ArrayRows:
    """Values as one array: numbers, or arrays of one shape. Its items have no columns.

    The type is the one that holds all values, as `numpy.array(values)` would have it. It can widen on the way (whole
    numbers, then others); what is written already is converted at the end.
    """

    def __init__(self, facts: dict[str, Any] | None = None) -> None:
        import numpy

        self._numpy = numpy
        self._shape: tuple[int, ...] | None = None
        self._spans: list[tuple[str, int]] = []
        """(type, number of values) of what is written, in order."""
        if facts and facts["shape"] is not None:
            self._shape = tuple(facts["shape"])
            self._spans = [(kind, count) for kind, count in facts["spans"]]

    @property
    def facts(self) -> dict[str, Any]:
        """What must be known to go on after a break, as JSON."""
        return {"shape": self._shape, "spans": list(self._spans)}

    waits = False
    """Each value must be a number."""

    def decide(self, value: Any) -> None:
        """There is nothing to decide."""

    def encode(self, rows: Rows) -> bytes:
        """Their bytes. Raises JobError that names the first value that does not fit."""
        head = b"" if self._spans else bytes(HEADER_BYTES)
        if not rows.values:
            return b""
        array = self._array(rows)
        if self._shape is None:
            self._shape = array.shape[1:]
        if array.shape[1:] != self._shape:
            raise self._refused(rows, f"has the shape {array.shape[1:]}, the values before it have {self._shape}")
        dtype = array.dtype.newbyteorder("<")
        if self._spans:
            dtype = self._numpy.result_type(self._numpy.dtype(self._spans[-1][0]), dtype).newbyteorder("<")
        if self._spans and self._spans[-1][0] == dtype.str:
            self._spans[-1] = (dtype.str, self._spans[-1][1] + len(array))
        else:
            self._spans.append((dtype.str, len(array)))
        return head + bytes(array.astype(dtype).tobytes())

    def finish(self, part: IO[bytes], path: Path) -> Path:
        """Makes the part, or a new file at `path`, the whole file; gives where it is."""
        if len(self._spans) <= 1:
            kind, count = self._spans[0] if self._spans else ("<f8", 0)
            part.seek(0)
            part.write(self._header(kind, count))
            return Path(part.name)
        kind = self._spans[-1][0]
        with path.open("wb") as file:
            file.write(self._header(kind, sum(count for _, count in self._spans)))
            part.seek(HEADER_BYTES)
            for block in self._blocks(part):
                file.write(block.astype(kind).tobytes())
            file.flush()
            os.fsync(file.fileno())
        return path

    def _blocks(self, part: IO[bytes]) -> Iterator[Any]:
        each = max(1, int(self._numpy.prod(self._shape or ())))
        for kind, count in self._spans:
            dtype = self._numpy.dtype(kind)
            left = count * each
            while left:
                some = min(left, BLOCK_BYTES // dtype.itemsize)
                yield self._numpy.frombuffer(part.read(some * dtype.itemsize), dtype)
                left -= some

    def _header(self, kind: str, count: int) -> bytes:
        text = repr({"descr": kind, "fortran_order": False, "shape": (count, *(self._shape or ()))})
        room = HEADER_BYTES - len(_MAGIC) - 2
        return _MAGIC + room.to_bytes(2, "little") + text.ljust(room - 1).encode("ascii") + b"\n"

    def _array(self, rows: Rows) -> Any:
        try:
            array = self._numpy.array(rows.values)
        except (ValueError, TypeError, OverflowError) as error:
            raise self._refused(rows, "does not have the shape of the others") from error
        if array.dtype.kind not in "biufc":
            raise self._refused(rows, "is no number, and no array of numbers")
        return array

    def _refused(self, rows: Rows, why: str) -> JobError:
        index, value = self._culprit(rows)
        return JobError(
            f"the value of item {index}, of type {type(value).__name__!r}, {why}: an .npy file takes numbers, or "
            "arrays of one shape; pick .jsonl or .csv"
        )

    def _culprit(self, rows: Rows) -> tuple[int, Any]:
        """The first item whose value does not fit."""
        shape = self._shape
        for index, value in zip(rows.indices, rows.values, strict=True):
            try:
                array = self._numpy.array(value)
            except (ValueError, TypeError, OverflowError):
                return index, value
            if array.dtype.kind not in "biufc" or (shape is not None and array.shape != shape):
                return index, value
            shape = array.shape
        return rows.indices[0], rows.values[0]
