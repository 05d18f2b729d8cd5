"""Results on their way home: runs of items, packed one by one as they are finished, and joined to parts.

4 bytes   number of runs, big endian
n times   a head of 48 bytes: start, stop, seconds, item that met stop-when or -1, sizes of what follows
then      for each run its values (a container, aligned) and, where there are any, its kept items and failures
then      a tail, of which this room knows nothing
"""

from __future__ import annotations

import pickle
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nbdist.errors import PackingError, ResultError
from nbdist.packing.container import ALIGN_BYTES, Buffer
from nbdist.packing.decoding import decode
from nbdist.packing.encoding import PROTOCOL, encode
from nbdist.packing.failures import Failure, FailureRow, pack_failure

JOIN_BYTES = 256 * 1024
"""Runs smaller than this are copied when they are packed, so that code that runs on cannot change them; larger ones
are to be written at once."""

MAX_REASONS = 8
"""Of one part: they are shown to who looks at the hub, and stand in a header."""
MAX_REASON_CHARS = 200

_COUNT = struct.Struct(">I")
_HEAD = struct.Struct(">qqdqQQ")
_ZEROS = bytes(ALIGN_BYTES)


class FinishedRun(Protocol):
    """What `execution.execute` yields."""

    @property
    def start(self) -> int: ...
    @property
    def stop(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def values(self) -> list[Any]: ...
    @property
    def kept(self) -> list[int] | None: ...
    @property
    def failures(self) -> list[tuple[int, BaseException]]: ...
    @property
    def stopped_at(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class PackedRun:
    """Items `[start, stop)` with their packed results."""

    start: int
    stop: int
    seconds: float
    size: int
    """Bytes that the run adds to a part."""
    failed: tuple[int, ...]
    stopped_at: int | None
    values: list[Buffer]
    extra: bytes
    """Kept items and failures, pickled; empty if every item has a value."""
    reasons: tuple[str, ...] = ()
    """What the first of `failed` raised, a line each."""


@dataclass(frozen=True, slots=True)
class UnpackedRun:
    """Items `[start, stop)` with their results."""

    start: int
    stop: int
    seconds: float
    """Execution time of all its items by the slot's clock."""
    values: list[Any]
    kept: Sequence[int] | None
    """The index of each value, if some items have none; None: `values[i]` belongs to item `start + i`. Of a job with
    `reduce`, `values` is the one folded value of the range, or empty."""
    failures: list[Failure]
    stopped_at: int | None


def pack_run(run: FinishedRun, *, portable: bool = False) -> PackedRun:
    """Packs a run. An item whose value cannot be packed becomes a failed one, with a ResultError that names it.

    `portable`: for a notebook with another version of Python; no bytecode goes there.
    """
    try:
        return _pack(run, run.values, run.kept, run.failures, portable)
    except PackingError:
        values, kept, failures = _sendable(run, portable)
        return _pack(run, values, kept, failures, portable)


def pack_runs(run: FinishedRun, *, portable: bool = False) -> list[PackedRun]:
    """Packs a run like `pack_run`, but cut so that each item whose value cannot be packed is a run of its own."""
    try:
        return [_pack(run, run.values, run.kept, run.failures, portable)]
    except PackingError:
        if run.stop - run.start == 1 or len(run.values) < 2:
            return [pack_run(run, portable=portable)]
        first, second = _halves(run)
        return [*pack_runs(first, portable=portable), *pack_runs(second, portable=portable)]


def pack_part(runs: Sequence[PackedRun], tail: bytes = b"") -> list[Buffer]:
    """The part of these runs, in buffers that are to be written one after another. `tail`: what `tail_of` gives."""
    head = _COUNT.pack(len(runs)) + b"".join(
        _HEAD.pack(
            run.start,
            run.stop,
            run.seconds,
            -1 if run.stopped_at is None else run.stopped_at,
            sum(map(len, run.values)),
            len(run.extra),
        )
        for run in runs
    )
    pieces: list[Buffer] = [head]
    offset = len(head)
    for run in runs:
        padding = -offset % ALIGN_BYTES
        pieces += [_ZEROS[:padding], *run.values, run.extra]
        offset += padding + sum(map(len, run.values)) + len(run.extra)
    return [*pieces, tail] if tail else pieces


def tail_of(data: Buffer) -> bytes:
    """What is behind the runs of a part; empty if there is nothing, or the bytes are no part."""
    view = memoryview(data).cast("B")
    if len(view) < _COUNT.size or len(view) < _COUNT.size + _COUNT.unpack_from(view)[0] * _HEAD.size:
        return b""
    offset = _COUNT.size + _COUNT.unpack_from(view)[0] * _HEAD.size
    for *_, size, extra_size in _HEAD.iter_unpack(view[_COUNT.size : offset]):
        offset += -offset % ALIGN_BYTES + size + extra_size
    return bytes(view[offset:])


def unpack_part(data: Buffer) -> list[UnpackedRun]:
    """The runs of a part. Raises PackingError if the bytes are none, and whatever unpickling raises.

    Arrays in it are writable, and the caller's own; only `data` that is read-only and large is copied for that.
    """
    view = memoryview(data).cast("B")
    if len(view) < _COUNT.size or len(view) < _COUNT.size + _COUNT.unpack_from(view)[0] * _HEAD.size:
        raise PackingError("a packed part is cut short")
    offset = _COUNT.size + _COUNT.unpack_from(view)[0] * _HEAD.size
    runs = []
    for start, stop, seconds, stopped_at, size, extra_size in _HEAD.iter_unpack(view[_COUNT.size : offset]):
        offset += -offset % ALIGN_BYTES
        values = decode(view[offset : offset + size], writable=True)
        offset += size
        kept, failures = _read_extra(view[offset : offset + extra_size])
        offset += extra_size
        runs.append(UnpackedRun(start, stop, seconds, values, kept, failures, None if stopped_at < 0 else stopped_at))
    if offset > len(view):
        raise PackingError("a packed part is cut short")
    return runs


def _pack(
    run: FinishedRun,
    values: list[Any],
    kept: list[int] | None,
    failures: Sequence[tuple[int, BaseException]],
    portable: bool,
) -> PackedRun:
    pieces = encode(values, portable=portable)
    size = sum(map(len, pieces))
    if size < JOIN_BYTES and len(pieces) > 1:
        pieces = [b"".join(pieces)]
    rows: list[FailureRow] = [pack_failure(index, error, portable=portable) for index, error in failures]
    extra = b"" if kept is None and not rows else _write_extra(kept, rows)
    failed = tuple(index for index, _ in failures)
    stopped_at = None if run.stopped_at in failed else run.stopped_at
    total = _HEAD.size + ALIGN_BYTES + size + len(extra)
    return PackedRun(run.start, run.stop, run.seconds, total, failed, stopped_at, pieces, extra, _reasons(rows))


def _reasons(rows: Sequence[FailureRow]) -> tuple[str, ...]:
    return tuple(f"{kind}: {text}".partition("\n")[0][:MAX_REASON_CHARS] for _, kind, text, _, _ in rows[:MAX_REASONS])


def _write_extra(kept: list[int] | None, rows: list[FailureRow]) -> bytes:
    return pickle.dumps((None if kept is None else array("q", kept), rows), PROTOCOL)


def _read_extra(data: memoryview) -> tuple[Sequence[int] | None, list[Failure]]:
    if not data:
        return None, []
    kept, rows = pickle.loads(data)
    return kept, [Failure(*row) for row in rows]


def _sendable(run: FinishedRun, portable: bool) -> tuple[list[Any], list[int], list[tuple[int, BaseException]]]:
    """The values of a run that can be packed, the items that they belong to, and all failures."""
    indices = run.kept if run.kept is not None else range(run.start, run.stop)
    is_fold = len(indices) != len(run.values)
    values: list[Any] = []
    kept: list[int] = []
    failures = list(run.failures)
    for index, value in zip(indices, run.values, strict=False):
        try:
            encode(value, portable=portable)
        except PackingError as error:
            what = (
                f"the value of items {run.start} to {run.stop - 1}, folded,"
                if is_fold
                else f"the value of item {index}"
            )
            failures.append((index, ResultError(f"{what} cannot be sent: {error}")))
        else:
            values.append(value)
            kept.append(index)
    return values, kept, sorted(failures, key=lambda failure: failure[0])


@dataclass(frozen=True, slots=True)
class _Piece:
    start: int
    stop: int
    seconds: float
    values: list[Any]
    kept: list[int] | None
    failures: list[tuple[int, BaseException]]
    stopped_at: int | None


def _halves(run: FinishedRun) -> tuple[_Piece, _Piece]:
    """A run of several values as two; each gets the share of the time that its items have."""
    kept = run.kept if run.kept is not None else list(range(run.start, run.stop))
    middle = len(kept) // 2
    cut_at = kept[middle]
    share = (cut_at - run.start) / (run.stop - run.start)
    return (
        _Piece(
            run.start,
            cut_at,
            run.seconds * share,
            run.values[:middle],
            kept[:middle],
            [failure for failure in run.failures if failure[0] < cut_at],
            None,
        ),
        _Piece(
            cut_at,
            run.stop,
            run.seconds * (1 - share),
            run.values[middle:],
            kept[middle:],
            [failure for failure in run.failures if failure[0] >= cut_at],
            run.stopped_at,
        ),
    )
