"""Values of the standard library that pickle leaves out, in forms that every version of Python reads."""

from __future__ import annotations

import io
import pickle
import struct
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from nbdist.packing.functions import Reduced


def reduce_view(view: memoryview) -> Reduced:
    data = bytes(view) if view.readonly else bytearray(view)
    return make_view, (data, view.format, view.shape)


def make_view(data: bytes | bytearray, kind: str, shape: tuple[int, ...]) -> memoryview:
    flat = memoryview(data)
    return flat if kind == "B" and len(shape) == 1 else flat.cast(kind, shape)  # type: ignore[call-overload]


def reduce_file(file: io.TextIOWrapper) -> Reduced:
    """cloudpickle would send a copy of what is in the file."""
    raise pickle.PicklingError("an open file")


def reduce_struct(layout: struct.Struct) -> Reduced:
    return struct.Struct, (layout.format,)


class _Reference(weakref.ref[Any]):
    """A weak reference that keeps what it refers to: who keeps that where it comes from may have stayed there."""

    __slots__ = ("kept",)
    kept: Any


def reduce_reference(reference: weakref.ref[Any]) -> Reduced:
    return make_reference, (reference(),)


def make_reference(value: Any) -> weakref.ref[Any]:
    if value is None:  # it is gone
        return weakref.ref(type("Gone", (), {})())
    made = _Reference(value)
    made.kept = value
    return made


def reduce_weak(container: Any) -> Reduced:
    """A weak dictionary or set."""
    kind = type(container)
    is_mapping = kind is not weakref.WeakSet
    return make_weak, (kind, list(container.items() if is_mapping else container))


def make_weak(kind: Callable[[], Any], content: Iterable[Any]) -> Any:
    made = kind()
    made.update(content)
    made._nbdist_kept = content  # as a `_Reference` does
    return made


REDUCERS: dict[type, Callable[[Any], Reduced]] = {
    io.TextIOWrapper: reduce_file,
    memoryview: reduce_view,
    struct.Struct: reduce_struct,
    weakref.ref: reduce_reference,
    _Reference: reduce_reference,
    weakref.WeakKeyDictionary: reduce_weak,
    weakref.WeakSet: reduce_weak,
    weakref.WeakValueDictionary: reduce_weak,
}
"""Type -> what gives `__reduce__` of a value of exactly this type."""
