"""Pickles of what has code, for this version of Python or for others, to which it goes as source, never as bytecode.

Both have the same form of functions, classes and of what decorators made; only code itself differs.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import pathlib
import pickle
import sys
import typing
from collections.abc import Callable, Mapping
from types import CellType, CodeType, FunctionType
from typing import Any, Protocol

import cloudpickle
from cloudpickle.cloudpickle import (
    _class_reduce,
    _is_registered_pickle_by_value,
    _lookup_module_and_qualname,
    _should_pickle_by_reference,
)

from nbdist.errors import PackingError
from nbdist.packing import codes, functions, odd
from nbdist.packing.classes import reduce_class
from nbdist.packing.functions import Reduced
from nbdist.packing.hiding import Hidden


class Sink(Protocol):
    """What a pickle is written to."""

    def write(self, data: Any, /) -> object: ...


PROTOCOL = 5
"""The newest that every supported version reads."""
_MOVED = {"pathlib._local": pathlib}
"""Modules that only some versions have -> where all of them have what is in there."""


def is_ours_alone(data: bytes) -> bool:
    """Whether a plain pickle refers to modules that other versions do not have."""
    return any(name.encode() in data for name in _MOVED)


def by_value(
    value: Any,
    on_buffer: Callable[[pickle.PickleBuffer], Any] | None = None,
    sources: Mapping[str, str] | None = None,
    hidden: Hidden | None = None,
    *,
    portable: bool = True,
) -> bytes:
    """The pickle of a value; functions and classes of a notebook or script travel by value, without `hidden` names.

    `portable`: for every version of Python; PackingError is raised for code whose source is not known. `sources`: file
    name -> text, of files that travel beside it.
    """
    file = io.BytesIO()
    kind = Pickler if portable else NativePickler
    kind(file, on_buffer, sources or {}, hidden).dump(value)
    return file.getvalue()


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle, which writes functions and classes by value in a form that other versions read."""

    def __init__(
        self,
        file: Sink,
        on_buffer: Callable[..., Any] | None,
        sources: Mapping[str, str],
        hidden: Hidden | None,
    ) -> None:
        super().__init__(file, PROTOCOL, on_buffer)
        self._sources = sources
        self._hidden = hidden
        self._bases: dict[int, dict[str, Any]] = {}

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if kind is FunctionType:
            return self._function(value)
        if issubclass(kind, type):
            return self._class(value)
        if kind is CodeType:
            return self._code(value)
        if value is sys.stdout or value is sys.stderr:
            return getattr, (sys, "stdout" if value is sys.stdout else "stderr")
        reducer = _REDUCERS.get(kind)
        return NotImplemented if reducer is None else reducer(value)

    def _function(self, function: FunctionType) -> Any:
        if _should_pickle_by_reference(function):
            return NotImplemented
        hidden = () if self._hidden is None else self._hidden.of(function)
        return functions.reduce_decorated(function) or functions.reduce_function(function, self._bases, hidden)

    def _class(self, cls: type) -> Any:
        if cls.__module__ in _MOVED:
            return getattr, (_MOVED[cls.__module__], cls.__name__)
        if cls.__module__ == "builtins" or _should_pickle_by_reference(cls):
            return _class_reduce(cls)
        return reduce_class(cls)

    def _code(self, code: CodeType) -> Any:
        recipe = codes.recipe_of(code, self._sources)
        if code.co_filename in self._sources:
            recipe = recipe._replace(lines="")
        return codes.build_code, tuple(recipe)


class NativePickler(Pickler):
    """The same for this version of Python alone: code goes as bytecode, whether its text is known or not."""

    def _class(self, cls: type) -> Any:
        try:
            return super()._class(cls)
        except PackingError:  # no form of it is known that all versions read
            return _class_reduce(cls)

    def _code(self, code: CodeType) -> Any:
        return NotImplemented  # cloudpickle's


def _cached(value: Any) -> Any:
    return NotImplemented if _is_importable(value) else functions.reduce_cached(value)


def _is_importable(value: Any) -> bool:
    found = _lookup_module_and_qualname(value)
    return found is not None and not _is_registered_pickle_by_value(found[0])


def _type_parameter(value: Any) -> Any:
    return NotImplemented if _is_importable(value) else (type(value), (value.__name__,))


def _type_alias(value: Any) -> Any:
    return NotImplemented if _is_importable(value) else (make_type_alias, (value.__name__, value.__value__))


def make_type_alias(name: str, value: Any) -> Any:
    kind = getattr(typing, "TypeAliasType", None)
    if kind is None:
        raise PackingError(f"the type {name!r} needs Python 3.12 or later")
    return kind(name, value)


def _forward(value: Any) -> Reduced:
    return typing.ForwardRef, (value.__forward_arg__,)


_REDUCERS: dict[type, Callable[[Any], Any]] = odd.REDUCERS | {
    CellType: functions.reduce_cell,
    functools._lru_cache_wrapper: _cached,
    functools.cached_property: functions.reduce_cached_property,
    functools.singledispatchmethod: functions.reduce_method_dispatcher,
    type(dataclasses.KW_ONLY): lambda _: "KW_ONLY",
    typing.ForwardRef: _forward,
    typing.ParamSpec: _type_parameter,
    typing.TypeVarTuple: _type_parameter,
}
if hasattr(typing, "TypeAliasType"):
    _REDUCERS[typing.TypeAliasType] = _type_alias
