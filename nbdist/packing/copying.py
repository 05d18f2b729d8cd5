"""Copies of functions with what they take along, as that is now."""

from __future__ import annotations

import io
import pickle
from contextvars import ContextVar
from types import CodeType, FunctionType
from typing import Any

from nbdist.packing.functions import Reduced
from nbdist.packing.hiding import Hidden
from nbdist.packing.portable import NativePickler


def copy_of(function: FunctionType, hidden: Hidden) -> FunctionType:
    """A copy of a function, of the functions that it calls and of their values. Classes and code stay what they are.

    (What is known of code, its source for example, is not known of a copy.) Raises whatever pickling and unpickling do.
    """
    file = io.BytesIO()
    pickler = _Copier(file, None, {}, hidden)
    pickler.dump(function)
    token = _kept.set(pickler.kept)
    try:
        copied: FunctionType = pickle.loads(file.getvalue())
    finally:
        _kept.reset(token)
    return copied


class _Copier(NativePickler):
    """Refers to classes and code by their numbers."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.kept: list[type | CodeType] = []

    def _class(self, cls: type) -> Reduced:
        return self._keep(cls)

    def _code(self, code: CodeType) -> Reduced:
        return self._keep(code)

    def _keep(self, value: type | CodeType) -> Reduced:
        self.kept.append(value)
        return _kept_one, (len(self.kept) - 1,)


_kept: ContextVar[list[type | CodeType]] = ContextVar("kept")


def _kept_one(number: int) -> type | CodeType:
    return _kept.get()[number]
