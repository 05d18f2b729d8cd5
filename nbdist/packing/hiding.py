"""Pickles of tasks, whose functions may find some names where they run: what the notebook has for these stays there.

And copies of functions with what they take along, as that is now.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Collection
from contextvars import ContextVar
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from nbdist.packing.pickling import Pickler

_CLASS_PARTS = 6
"""What cloudpickle makes of a class that travels by value: the third is its state, the attributes first."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """Names that functions of this namespace do not take along."""

    namespace: dict[str, Any]
    names: Collection[str]

    def of(self, function: FunctionType) -> Collection[str]:
        """The names that this function does not take along."""
        return self.names if function.__globals__ is self.namespace else ()


def by_value(
    value: Any, protocol: int, on_buffer: Callable[[pickle.PickleBuffer], Any] | None, hidden: Hidden | None
) -> bytes:
    """The pickle that cloudpickle makes, without the hidden names; the same again as long as nothing has changed."""
    file = io.BytesIO()
    pickler = _Pickler(file, protocol, on_buffer)
    pickler.hidden = hidden
    pickler.dump(value)
    return file.getvalue()


class _Pickler(Pickler):
    """Leaves names out of the globals that functions take along, and out of classes what pickling puts into them."""

    hidden: Hidden | None = None

    def reducer_override(self, value: Any) -> Any:
        reduced = super().reducer_override(value)
        if isinstance(value, type) and type(reduced) is tuple and len(reduced) == _CLASS_PARTS:
            reduced[2][0].pop("__slotnames__", None)
        return reduced

    def _dynamic_function_reduce(self, function: FunctionType) -> Any:
        reduced = super()._dynamic_function_reduce(function)
        hidden = () if self.hidden is None else self.hidden.of(function)
        if not hidden:
            return reduced
        state = reduced[2][1]
        state["__globals__"] = {name: value for name, value in state["__globals__"].items() if name not in hidden}
        return reduced


def copy_of(function: FunctionType, protocol: int, hidden: Hidden) -> FunctionType:
    """A copy of a function, of the functions that it calls and of their values. Classes and code stay what they are.

    (Unpickling a class by value, where it came from, would give its methods the copied globals; a copy of code is not
    known to whoever asks for its source.) Raises whatever pickling and unpickling do.
    """
    file = io.BytesIO()
    pickler = _Copier(file, protocol)
    pickler.hidden = hidden
    pickler.dump(function)
    token = _kept.set(pickler.kept)
    try:
        copied: FunctionType = pickle.loads(file.getvalue())
    finally:
        _kept.reset(token)
    return copied


class _Copier(_Pickler):
    """Refers to classes and code by their numbers."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.kept: list[type | CodeType] = []

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type | CodeType):
            self.kept.append(value)
            return _kept_one, (len(self.kept) - 1,)
        return super().reducer_override(value)


_kept: ContextVar[list[type | CodeType]] = ContextVar("kept")


def _kept_one(number: int) -> type | CodeType:
    return _kept.get()[number]
