"""Values to bytes: plain pickle where it does, cloudpickle where functions and classes must travel by value."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import cloudpickle

from nbdist.errors import PackingError
from nbdist.packing import culprit
from nbdist.packing.container import Buffer, assemble

PROTOCOL = 5
_MAIN = b"__main__"
OnBuffer = Callable[[pickle.PickleBuffer], Any]


def encode(value: Any) -> list[Buffer]:
    """Packs a value as a container, in buffers that are to be written one after another.

    The memory of large arrays is referred to, not copied: write the buffers before the value changes. Raises
    PackingError, which names what cannot be packed.
    """
    buffers: list[pickle.PickleBuffer] = []
    data = dumps(value, buffers.append)
    if not buffers:
        return assemble([data])
    return assemble([data, *[buffer.raw() for buffer in buffers]])


def pack_chunk(items: Sequence[Any], first: int = 0) -> bytes:
    """Packs consecutive items, of which the first has index `first`. Raises PackingError, which names the item."""
    items = items if isinstance(items, list) else list(items)
    try:
        return _dumps(items, None)
    except Exception as error:
        for index, item in enumerate(items, first):
            problem = culprit.find(item, f"item {index}")
            if problem is not None:
                raise PackingError(problem) from error
        raise PackingError(f"items {first} to {first + len(items) - 1} cannot be packed: {error}") from error


def dumps(value: Any, on_buffer: OnBuffer | None = None, *, name: str = "the value") -> bytes:
    """The pickle of a value; out-of-band buffers go to `on_buffer`. Raises PackingError, which names it by `name`."""
    try:
        return _dumps(value, on_buffer)
    except Exception as error:
        raise PackingError(culprit.find(value, name) or f"{name} cannot be packed: {error}") from error


def by_value(value: Any, on_buffer: OnBuffer | None = None) -> bytes:
    """The pickle that cloudpickle makes; functions and classes of a notebook or script travel by value."""
    file = io.BytesIO()
    cloudpickle.Pickler(file, PROTOCOL, on_buffer).dump(value)
    return file.getvalue()


def _dumps(value: Any, on_buffer: OnBuffer | None) -> bytes:
    """Plain pickle, unless it fails or refers to `__main__`, which is another module at the other end."""
    taken: list[pickle.PickleBuffer] = []
    try:
        data = pickle.dumps(value, PROTOCOL, buffer_callback=None if on_buffer is None else taken.append)
    except Exception:  # noqa: BLE001 - pickling runs user code, which may raise anything
        return by_value(value, on_buffer)
    if _MAIN in data or cloudpickle.list_registry_pickle_by_value():
        return by_value(value, on_buffer)
    for buffer in taken:
        assert on_buffer is not None
        on_buffer(buffer)
    return data
