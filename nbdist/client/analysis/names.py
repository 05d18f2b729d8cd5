"""The names that a function takes from around it."""

from __future__ import annotations

import dis
import inspect
import sys
import types
from collections.abc import Iterator
from itertools import islice
from typing import Any

from nbdist.packing import mentioned_names


def captured(function: types.FunctionType) -> dict[str, Any]:
    """The values that a function refers to outside itself, by name: globals, of inner functions too, and closures.

    Names that have no value yet are left out, and so are built-ins.
    """
    found: dict[str, Any] = {}
    for name in sorted(global_names(function.__code__)):
        if name in function.__globals__:
            found[name] = function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue  # an empty cell: the name is bound later, or never
    return found


def global_names(code: types.CodeType) -> set[str]:
    """The names that code, and the code inside it, may look up in its globals (attributes' names are among them)."""
    names = {*code.co_names, *mentioned_names(code)}
    for inner in inner_codes(code):
        names |= set(inner.co_names)
    return names


def globals_read(code: types.CodeType) -> set[str]:
    """The names that code, and the code inside it, really looks up in its globals, or mentions in text that it runs."""
    return {*mentioned_names(code)} | {
        instruction.argval
        for one in (code, *inner_codes(code))
        for instruction in dis.get_instructions(one)
        if instruction.opname.endswith("_GLOBAL") or instruction.opname in _CLASS_LOADS
    }


_CLASS_LOADS = ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
"""What the body of a class inside a function uses."""


def inner_codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code of functions, classes and comprehensions inside this code."""
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from inner_codes(constant)


def functions_in(*roots: Any) -> Iterator[types.FunctionType]:
    """All functions that are reached from these values, each once: what they capture, the methods of classes of
    `__main__`, what partial functions call. Containers are looked into one level deep; what the standard library's
    functions capture is left out."""
    waiting = list(roots)
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, types.FunctionType):
            yield value
            if str(value.__module__).partition(".")[0] not in sys.stdlib_module_names:  # which others may have patched
                waiting += captured(value).values()
                waiting += value.__defaults__ or ()
        elif isinstance(value, (types.MethodType, staticmethod, classmethod)):
            waiting.append(value.__func__)
        elif isinstance(value, type):
            if value.__module__ == "__main__":
                waiting += [*vars(value).values(), *value.__bases__]
        elif isinstance(value, property):
            waiting += [value.fget, value.fset]
        else:
            waiting += _parts(value)


def _parts(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [part for part in value[:100] if callable(part)]
    if isinstance(value, dict):
        return [part for part in tuple(islice(value.values(), 100)) if callable(part)]
    inner = [_attribute(value, name) for name in ("func", "function", "__wrapped__")]
    return [*(part for part in inner if callable(part)), type(value)]


def _attribute(value: Any, name: str) -> Any:
    """An attribute that the value really has: a `__getattr__` that makes up one for every name would have no end."""
    found = inspect.getattr_static(value, name, None)
    return getattr(value, name, None) if isinstance(found, types.MemberDescriptorType) else found
