"""A job that takes over what an earlier one has done: when it may, and what of that it runs again.

Hub and notebook decide by the same rules from the same headers, so that both know the same items as done.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from nbdist.errors import FrameError
from nbdist.wire import frames
from nbdist.wire.frames import Payload
from nbdist.wire.messages import Each, JobOptions, Result

MAX_CHAIN = 100
"""A job may have taken over what so many jobs before it have done, each from the one before."""
STOPPING = "stopping"
"""In place of the outcome of a job that is cancelled, and of which something runs."""
BATCH_BYTES = 128 * 1024
"""The answer to `ReadResults` has results until they come to so much, the last one included."""

_SIZE = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a job decides whether its results can stand in another."""

    options: JobOptions
    ranges: tuple[tuple[int, int, int], ...]
    total: int | None
    available: int
    """So many items have come."""
    each: Each = ""
    items_key: str = ""
    """Another one means other items; empty: that is not known (`SubmitJob.items_key`)."""


def again(result: Result, *, folds: bool) -> tuple[tuple[int, int], ...]:
    """What of a result is run again: items that failed; of a fold all, if one failed inside, for it cannot be split."""
    if result.fault is not None or (folds and result.failed):
        return ((result.start, result.stop),)
    return tuple((item, item + 1) for item in result.failed)


def unknown(job: str) -> str:
    """Why a job cannot be resumed of which nothing is known."""
    return f"no job {job[:64]!r} is known here (any more): `%distribute jobs` lists those that are"


def refusal(new: Shape, old: Shape, job: str, outcome: str, left: int | None) -> str:
    """Why the new job cannot resume the old one, called `job`, and what to do; empty if it can."""
    if outcome in ("", STOPPING):
        return f"job {job} still runs: `%distribute attach {job}` shows it, `%distribute cancel {job}` ends it"
    if new.each or old.each:
        return "a job for each machine or slot cannot be resumed: run it again"
    if outcome == "stopped":
        return (
            f"job {job} has found the value that met its stop_when: nothing of it is missing. `%distribute attach "
            f"{job}` shows it; without --resume the cell looks again"
        )
    for name in ("reduce", "stop_when"):
        mine, its = getattr(new.options, name), getattr(old.options, name)
        if mine != its:
            has, has_not = ("this one", f"job {job}") if mine else (f"job {job}", "this one")
            return f"{has} has {name} and {has_not} has not: their results cannot be put together; leave out --resume"
    other = _other_items(new, old, job)
    if not other and left == 0:
        return f"job {job} is finished, it has nothing left to do: `%distribute attach {job}` shows it"
    return other


def _other_items(new: Shape, old: Shape, job: str) -> str:
    """Why the jobs cannot have the same items."""
    todo = "it can be resumed with its own items only; leave out --resume to run all of these"
    if new.ranges != old.ranges:
        return f"job {job} ran over {_items(old)}, this one runs over {_items(new)}: {todo}"
    if None not in (new.total, old.total) and new.total != old.total:
        return f"job {job} had {old.total:,} items, this one has {new.total:,}: {todo}"
    if new.items_key and old.items_key and new.items_key != old.items_key:
        return f"job {job} ran over other items than this one: {todo}"
    if new.total is not None and new.total < old.available:
        return f"job {job} had {old.available:,} items or more, this one has {new.total:,}: {todo}"
    return ""


def _items(shape: Shape) -> str:
    if not shape.ranges:
        return "items that are no range"
    return " x ".join(repr(range(*numbers)) for numbers in shape.ranges)


def pack(result: Result, payload: Payload) -> bytes:
    """A result for the payload of an answer; several follow on each other."""
    frame = frames.encode(result, payload)
    return _SIZE.pack(len(frame)) + frame


def split(data: Payload) -> Iterator[tuple[Result, memoryview]]:
    """The results in the payload of an answer. Raises FrameError if there is anything else in it."""
    view = memoryview(data)
    at = 0
    while at < len(view):
        if at + _SIZE.size > len(view):
            raise FrameError("results are cut short")
        size: int = _SIZE.unpack_from(view, at)[0]
        message, payload = frames.decode(view[at + _SIZE.size : at + _SIZE.size + size])
        if not isinstance(message, Result):
            raise FrameError(f"a {type(message).__name__} among results")
        yield message, payload
        at += _SIZE.size + size
