"""Functions to tasks, and tasks to the bytes that engines send."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, TypeAlias

from nbdist.client import bundling
from nbdist.client.analysis.modules import needed
from nbdist.client.analysis.sources import sources_of
from nbdist.client.blobnames import name_of
from nbdist.engines.base import Buffer, PackedBlob, PackedTask, Repack
from nbdist.execution.task import Task
from nbdist.packing import pack_task, repack, without_names

Stage: TypeAlias = Callable[[memoryview], Callable[[str], None]]
"""`engines.base.Engine.stage`."""


def packer(task: Task, stage: Stage, possible: Iterable[str] = ()) -> Callable[[], PackedTask]:
    """A function that packs the task when it is first called. It raises PackingError."""
    return cache(lambda: pack(task, stage, needed(*functions_of(task)), possible))


def pack(task: Task, stage: Stage | None, certain: Iterable[str], possible: Iterable[str] = ()) -> PackedTask:
    """The task as bytes, with the sources of its code and the local modules that it needs. Raises PackingError.

    `certain`: the modules that it imports (`analysis.modules.needed`); `possible`: those that its items may need.
    """
    pieces, blobs = pack_task(with_sources(task), lambda view: name_of(view, stage))
    packed = PackedTask(pieces, [PackedBlob(name, len(view), [view]) for name, view in blobs])
    return bundling.add(packed, certain, possible)


def repacker(task: Task) -> Repack:
    """Packs a task that was packed here for other versions of Python: as it was then, whatever has changed since."""

    def pack_again(data: Buffer, sent: Mapping[str, Buffer]) -> PackedTask:
        pieces, blobs = repack(with_sources(task), data, sent, name_of)
        return PackedTask(pieces, [PackedBlob(name, len(view), [view]) for name, view in blobs])

    return pack_again


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


def name_of_function(function: Any) -> str:
    """What a job of this function is called."""
    inner = getattr(function, "func", function)
    name = getattr(inner, "__name__", type(inner).__name__)
    return "lambda" if name == "<lambda>" else str(name)


def check_callable(function: Any, what: str) -> None:
    """Raises TypeError if it cannot be called."""
    if not callable(function):
        raise TypeError(f"{what} is a function; {function!r} of type {type(function).__name__} cannot be called")
