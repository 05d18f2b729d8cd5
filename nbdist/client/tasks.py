"""Functions to tasks, and tasks to the bytes that engines send."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, TypeAlias

import xxhash

from nbdist.client import bundling
from nbdist.client.analysis.files import named_in
from nbdist.client.analysis.sources import sources_of
from nbdist.client.blobnames import name_of
from nbdist.engines.base import Buffer, PackedBlob, PackedTask, Repack, Weight
from nbdist.errors import PackingError
from nbdist.execution.task import Task
from nbdist.filing.here import home
from nbdist.filing.inputs import Collected, check_number, collecting
from nbdist.packing import pack_task, repack, weigh, without_names

Stage: TypeAlias = Callable[[memoryview], Callable[[str], None]]
"""`engines.base.Engine.stage`."""
WEIGH_BYTES = 100_000_000
"""Of a task that takes more than this along, somebody may want to know what that is."""
MAX_WEIGHED = 64
_weighed: dict[bytes, tuple[Weight, ...]] = {}
"""By a fingerprint of the packed task, which names its blobs."""


def packer(task: Task, stage: Stage, certain: Iterable[str], possible: Iterable[str] = ()) -> Callable[[], PackedTask]:
    """A function that packs the task when it is first called, as `pack` does. It raises PackingError."""
    return cache(lambda: pack(task, stage, certain, possible))


def pack(task: Task, stage: Stage | None, certain: Iterable[str], possible: Iterable[str] = ()) -> PackedTask:
    """The task as bytes, with the sources of its code and the local modules that it needs. Raises PackingError.

    `certain`: the modules that it imports (`analysis.modules.needed`); `possible`: those that its items may need.
    """
    with collecting() as files:
        pieces, blobs = pack_task(_placed(task), lambda view: name_of(view, stage))
    check_number(files)
    packed = PackedTask(pieces, [*_arrays(blobs), *_files(files)])
    if packed.size + sum(blob.size for blob in packed.blobs) > WEIGH_BYTES:
        packed = replace(packed, weights=_weights(task, pieces, blobs))
    return bundling.add(packed, certain, possible)


def repacker(task: Task) -> Repack:
    """Packs a task that was packed here for other versions of Python: as it was then, whatever has changed since."""

    def pack_again(data: Buffer, sent: Mapping[str, Buffer]) -> PackedTask:
        with collecting() as files:
            pieces, blobs = repack(_placed(task), data, sent, name_of)
        return PackedTask(pieces, [*_arrays(blobs), *_files(files)])

    return pack_again


def _placed(task: Task) -> Task:
    """The task with what it takes along: its texts, and where its notebook is at home."""
    return replace(with_sources(task), home=home())


def _arrays(blobs: Iterable[tuple[str, memoryview]]) -> list[PackedBlob]:
    return [PackedBlob(name, len(view), [view]) for name, view in blobs]


def _files(files: Collected) -> list[PackedBlob]:
    return [PackedBlob(name, file.size, file) for name, file in files.by_name.items()]


def _weights(task: Task, pieces: Sequence[Buffer], blobs: Sequence[tuple[str, memoryview]]) -> tuple[Weight, ...]:
    """Whose data it is that the task takes along. Of the same task it is not found out again."""
    digest = xxhash.xxh3_128()
    for piece in pieces:
        digest.update(piece)
    key = digest.digest()
    if key not in _weighed:
        _weighed[key] = tuple(Weight(*found) for found in weigh(task, functions_of(task), blobs))
        while len(_weighed) > MAX_WEIGHED:
            del _weighed[next(iter(_weighed))]
    return _weighed[key]


def functions_of(task: Task) -> list[Any]:
    """All code that a task takes along, or None for what it has not; what its setups define it finds there."""
    set_up = {name for setup in task.setups for name in setup.defines}
    own = (without_names(task.function, set_up), task.keep_if, task.stop_when, task.reduce)
    return [*own, *(setup.function for setup in task.setups)]


def with_sources(task: Task) -> Task:
    """The task with the text of the code that has no file elsewhere."""
    if task.sources:
        return task
    return replace(task, sources=sources_of(*functions_of(task)))


def with_files(task: Task) -> Task:
    """The task with the files that its code names itself. Raises PackingError for one that cannot go along."""
    if task.given:
        return task
    try:
        given = named_in(*functions_of(task))
    except OSError as error:
        raise PackingError(f"{error.strerror}: {error.filename}") from error
    return replace(task, given=given) if given else task


def name_of_function(function: Any) -> str:
    """What a job of this function is called."""
    inner = getattr(function, "func", function)
    name = getattr(inner, "__name__", type(inner).__name__)
    return "lambda" if name == "<lambda>" else str(name)


def check_callable(function: Any, what: str) -> None:
    """Raises TypeError if it cannot be called."""
    if not callable(function):
        raise TypeError(f"{what} is a function; {function!r} of type {type(function).__name__} cannot be called")
