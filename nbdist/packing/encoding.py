"""Values to bytes: plain pickle where it does, more (`portable.py`) where functions and classes must travel by value.

`portable=True` is for what other versions of Python read: functions and classes then travel as source (`portable.py`).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import cloudpickle

from nbdist.errors import PackingError
from nbdist.packing import culprit
from nbdist.packing import portable as portables
from nbdist.packing.container import Buffer, assemble
from nbdist.packing.hiding import Hidden

PROTOCOL = portables.PROTOCOL
LARGE_BYTES = 256 * 1024
"""Buffers of an item that have this size, or more, are left out of its pickle; as `wire.blocks.LARGE_BYTES`."""
MAX_ITEM_BUFFERS = 60
"""… and at most so many of them: a block of the wire names so many blobs. The others are copied into the pickle."""
_MAIN = b"__main__"
OnBuffer = Callable[[pickle.PickleBuffer], Any]


def encode(value: Any, *, portable: bool = False) -> list[Buffer]:
    """Packs a value as a container, in buffers that are to be written one after another.

    The memory of large arrays is referred to, not copied: write the buffers before the value changes. Raises
    PackingError, which names what cannot be packed.
    """
    buffers: list[pickle.PickleBuffer] = []
    data = dumps(value, buffers, portable=portable)
    if not buffers:
        return assemble([data])
    return assemble([data, *[buffer.raw() for buffer in buffers]])


def pack_chunk(items: Sequence[Any], first: int = 0, *, portable: bool = False) -> bytes | None:
    """Packs consecutive items, of which the first has index `first`.

    None: one of them has a buffer of `LARGE_BYTES` or more, which was not copied: it should be packed alone. Raises
    PackingError, which names the item.
    """
    items = items if isinstance(items, list) else list(items)
    large: list[pickle.PickleBuffer] = []

    def on_buffer(buffer: pickle.PickleBuffer) -> bool:
        """Whether it goes into the pickle."""
        is_small = buffer.raw().nbytes < LARGE_BYTES
        if not is_small:
            large.append(buffer)
        return is_small

    try:
        data = _dumps(items, on_buffer, portable=portable)
        return None if large else data
    except Exception as error:
        for index, item in enumerate(items, first):
            problem = culprit.find(item, f"item {index}", portable=portable)
            if problem is not None:
                raise PackingError(problem) from error
        raise PackingError(f"items {first} to {first + len(items) - 1} cannot be packed: {error}") from error


def pack_item(item: Any, index: int = 0, *, portable: bool = False) -> list[Buffer]:
    """Packs one item as the entries of a container: its pickle, and the buffers of `LARGE_BYTES` or more, not copied.

    Raises PackingError, which names the item.
    """
    buffers: list[pickle.PickleBuffer] = []

    def on_buffer(buffer: pickle.PickleBuffer) -> bool:
        """Whether it goes into the pickle."""
        is_small = buffer.raw().nbytes < LARGE_BYTES or len(buffers) >= MAX_ITEM_BUFFERS
        if not is_small:
            buffers.append(buffer)
        return is_small

    try:
        data = _dumps([item], on_buffer, buffers.clear, portable=portable)
    except Exception as error:
        problem = culprit.find(item, f"item {index}", portable=portable)
        raise PackingError(problem or f"item {index} cannot be packed: {error}") from error
    return [data, *[buffer.raw() for buffer in buffers]]


def item_chunk(entries: Sequence[Buffer], names: Sequence[str | None]) -> bytes:
    """The chunk of one packed item; `names[i]` is that of the blob which entry i travels as, or None."""
    return b"".join(assemble(entries, names))


def dumps(
    value: Any,
    buffers: list[pickle.PickleBuffer] | None = None,
    *,
    name: str = "the value",
    portable: bool = False,
) -> bytes:
    """The pickle of a value; out-of-band buffers go to `buffers`. Raises PackingError, which names it by `name`."""
    try:
        if buffers is None:
            return _dumps(value, None, portable=portable)
        return _dumps(value, buffers.append, buffers.clear, portable=portable)
    except Exception as error:
        problem = culprit.find(value, name, portable=portable)
        raise PackingError(problem or f"{name} cannot be packed: {error}") from error


def by_value(
    value: Any, on_buffer: OnBuffer | None = None, hidden: Hidden | None = None, *, portable: bool = False
) -> bytes:
    """The pickle of a value; functions and classes of a notebook or script travel by value."""
    return portables.by_value(value, on_buffer, hidden=hidden, portable=portable)


def is_by_value(module: str) -> bool:
    """Whether functions and classes of a module travel by value, although it can be imported: somebody said so."""
    parts = module.split(".")
    registered = cloudpickle.list_registry_pickle_by_value()
    return any(".".join(parts[: count + 1]) in registered for count in range(len(parts)))


def _dumps(
    value: Any, on_buffer: OnBuffer | None, again: Callable[[], None] = lambda: None, *, portable: bool = False
) -> bytes:
    """Plain pickle, unless it fails or refers to `__main__`, which is another module at the other end.

    `again` is called when all buffers are about to come a second time.
    """
    try:
        data = pickle.dumps(value, PROTOCOL, buffer_callback=on_buffer)
    except Exception:  # noqa: BLE001 - pickling runs user code, which may raise anything
        again()
        return by_value(value, on_buffer, portable=portable)
    if _MAIN in data or cloudpickle.list_registry_pickle_by_value() or (portable and portables.is_ours_alone(data)):
        again()
        return by_value(value, on_buffer, portable=portable)
    return data
