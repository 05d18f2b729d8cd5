"""Tasks to bytes and back: a function with all that it needs; large captured values are blobs of their own."""

from __future__ import annotations

import linecache
import mmap
import os
import pickle
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from types import FunctionType
from typing import Any

from nbdist.errors import PackingError
from nbdist.packing import culprit
from nbdist.packing import portable as portables
from nbdist.packing.container import Buffer, assemble
from nbdist.packing.copying import copy_of
from nbdist.packing.decoding import decode
from nbdist.packing.encoding import by_value
from nbdist.packing.hiding import Hidden

BLOB_BYTES = 256 * 1024
"""Captured values with buffers of this size travel as blobs, once, however many cells use them."""
MAX_BLOBS = 256
"""The largest so many of them; a message has room for the names of so many. Others ride in the packed task."""


def pack_task(
    task: Any, name_blob: Callable[[memoryview], str], blob_bytes: int = BLOB_BYTES
) -> tuple[list[Buffer], list[tuple[str, memoryview]]]:
    """Packs a task as a container, and names the buffers of at least `blob_bytes` that are left out of it.

    Raises PackingError, which names the captured value that cannot be packed, its type and the way out.
    """
    return _pack(task, name_blob, blob_bytes, by_value, portable=False)


def pack_portable(
    task: Any, name_blob: Callable[[memoryview], str], blob_bytes: int = BLOB_BYTES
) -> tuple[list[Buffer], list[tuple[str, memoryview]]]:
    """As `pack_task`, for every version and implementation of Python: functions and classes go as source.

    Their text is that of `task.sources` or of their files. `load_task` loads it like any other. Raises PackingError,
    which names what cannot go as source, and the way out.
    """
    sources = getattr(task, "sources", {})
    return _pack(
        task,
        name_blob,
        blob_bytes,
        lambda value, on_buffer, hidden: portables.by_value(value, on_buffer, sources, hidden),
        portable=True,
    )


def _pack(
    task: Any,
    name_blob: Callable[[memoryview], str],
    blob_bytes: int,
    dump: Callable[[Any, Callable[[pickle.PickleBuffer], Any], Hidden | None], bytes],
    *,
    portable: bool,
) -> tuple[list[Buffer], list[tuple[str, memoryview]]]:
    buffers: list[pickle.PickleBuffer] = []
    try:
        data = dump(task, buffers.append, hidden_of(task))
    except Exception as error:
        raise PackingError(_culprit(task, portable) or f"the function cannot be packed: {error}") from error
    views = [buffer.raw() for buffer in buffers]
    large = sorted((view.nbytes, at) for at, view in enumerate(views) if view.nbytes >= blob_bytes)[-MAX_BLOBS:]
    chosen = {at for _, at in large}
    names = [name_blob(view) if at in chosen else None for at, view in enumerate(views)]
    blobs = {name: view for name, view in zip(names, views, strict=True) if name is not None}
    if not blobs:
        return assemble([data, *views]), []
    return assemble([data, *views], [None, *names]), list(blobs.items())


def snapshot(function: FunctionType, hidden: Collection[str], name: str) -> tuple[FunctionType, bytes]:
    """A copy of a function with what it takes along as that is now, and bytes that are the same for the same values.

    What its namespace has for `hidden` names is left out. Raises PackingError, which calls the function by `name`.
    """
    left_out = Hidden(function.__globals__, hidden)
    try:
        copied = copy_of(function, left_out)
        taken = sorted(key for key in copied.__globals__ if not key.startswith("__"))
        return copied, by_value({key: copied.__globals__[key] for key in taken}, None, left_out)
    except Exception as error:
        raise PackingError(culprit.find(function, name, left_out) or f"{name} cannot be packed: {error}") from error


def fresh_setups(setups: Iterable[Any]) -> list[Any]:
    """The setups of a task as they would be elsewhere: what they bind when they run here stays in these copies."""
    return [
        replace(setup, function=copy_of(setup.function, Hidden(setup.function.__globals__, ()))) for setup in setups
    ]


def hidden_of(task: Any) -> Hidden | None:
    """What a task's setups define, the function finds where it runs."""
    names = frozenset(name for setup in getattr(task, "setups", ()) for name in setup.defines)
    function = getattr(task, "function", None)
    return Hidden(function.__globals__, names) if names and isinstance(function, FunctionType) else None


def without_names(function: Any, hidden: Collection[str]) -> Any:
    """The function, over a namespace that lacks the hidden names."""
    if not hidden or not isinstance(function, FunctionType):
        return function
    left = {name: value for name, value in function.__globals__.items() if name not in hidden}
    code, closure = function.__code__, function.__closure__
    return FunctionType(code, left, function.__name__, function.__defaults__, closure)


def _culprit(task: Any, portable: bool) -> str | None:
    """What in the task cannot be packed: in the function, or in another of the functions that go with it."""
    hidden = hidden_of(task)
    fields = {"function": "the function"} | {name: name for name in ("keep_if", "stop_when", "reduce")}
    found = (
        culprit.find(getattr(task, field, None), name, hidden, portable=portable) for field, name in fields.items()
    )
    return next(filter(None, found), None) or culprit.find(task, "the task", hidden, portable=portable)


def load_task(data: Buffer, files: Mapping[str, str]) -> Any:
    """The task of a container; `files` says where its blobs lie. Blobs are mapped, and read-only.

    The sources that travel with it are made known to `linecache`, so that tracebacks show the lines of its code. Raises
    PackingError, and whatever importing its modules raises.
    """
    task = decode(data, lambda name: _map(name, files))
    for filename, source in getattr(task, "sources", {}).items():
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    return task


def _map(name: str, files: Mapping[str, str]) -> Buffer:
    path = files.get(name)
    if path is None:
        raise PackingError(f"the task refers to blob {name[:12]}…, which is not at hand")
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return b""
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
