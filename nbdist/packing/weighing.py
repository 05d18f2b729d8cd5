"""How much of a packed task is which captured value, by the names that the reader knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from cloudpickle.cloudpickle import _should_pickle_by_reference

from nbdist.packing.culprit import in_function
from nbdist.packing.hiding import Hidden
from nbdist.packing.portable import NativePickler
from nbdist.packing.tasks import hidden_of

MAX_VALUES = 1_000
"""So many captured values are weighed."""


def weigh(
    task: Any, functions: Sequence[Any], blobs: Sequence[tuple[str, memoryview]]
) -> list[tuple[str, tuple[str, ...], int]]:
    """Of each value that the functions of a packed task capture: what it is called, which of the task's blobs it is,
    and how many bytes of it are in the packed task itself.

    Takes as long as packing what is no blob. What cannot be weighed is left out.
    """
    hidden = hidden_of(task)
    names = {(id(view.obj), view.nbytes): name for name, view in blobs}
    found = []
    sink = _Counter()
    buffers: list[memoryview] = []
    pickler = NativePickler(sink, lambda buffer: buffers.append(buffer.raw()), {}, hidden)
    for called, value in _values(functions, hidden):
        before = sink.count
        buffers.clear()
        try:
            pickler.dump(value)  # what was in an earlier one is not counted again
        except Exception:  # noqa: BLE001 - it has been packed, so this is not the place to complain
            continue
        keys = [(id(view.obj), view.nbytes) for view in buffers]
        apart = tuple(dict.fromkeys(names[key] for key in keys if key in names))
        inside = sum(size for key in keys if key not in names for _, size in [key])
        found.append((called, apart, sink.count - before + inside))
        if len(found) >= MAX_VALUES:
            break
    return found


class _Counter:
    """A file that keeps nothing."""

    def __init__(self) -> None:
        self.count = 0

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self.count += size
        return size


def _values(functions: Sequence[Any], hidden: Hidden | None) -> Iterator[tuple[str, Any]]:
    """What the functions capture, and those that they call, each value once."""
    waiting: list[tuple[str, Any]] = [("the function", function) for function in reversed(functions)]
    seen = set()
    while waiting:
        called, value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, FunctionType):
            if not _should_pickle_by_reference(value):
                waiting += in_function(value, () if hidden is None else hidden.of(value))
        elif isinstance(value, partial):
            waiting += [(called, inner) for inner in (value.func, *value.args, *value.keywords.values())]
        elif isinstance(value, MethodType):
            waiting.append((called, value.__self__))
        else:
            yield called.removeprefix("the captured name "), value
