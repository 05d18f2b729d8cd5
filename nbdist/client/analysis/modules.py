"""The modules that a function needs on the machine that runs it."""

from __future__ import annotations

import dis
import sys
import types
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any

from nbdist.client.analysis import names, places
from nbdist.client.analysis.origins import absolute

OURS = "nbdist"
MAX_MODULES = 200
MAX_PARTS = 100
"""Of each captured container, so many values are looked at."""


def required(*roots: Any) -> tuple[str, ...]:
    """The top-level modules that these functions import, or that hold what they refer to, in alphabetical order.

    Without those of the standard library, which every machine has, and without nbdist.
    """
    return top_level(needed(*roots))


def top_level(modules: Iterable[str]) -> tuple[str, ...]:
    """The top-level modules of these that not every machine has, in alphabetical order."""
    return tuple(sorted({top for name in modules if _counts(top := _top(name))}))[:MAX_MODULES]


def needed(*roots: Any) -> set[str]:
    """The modules that these functions import, or that hold what they refer to, by their full names.

    What is imported from a module is among them too: it may be a module itself.
    """
    found: set[str] = set()
    for root in roots:
        found |= home(root)
        if isinstance(root, types.FunctionType) and _by_reference(root) and places.find(_top(root.__module__)):
            found |= _imports(root)  # it surely runs, wherever it was written
    for function in names.functions_in(*roots):
        if _by_reference(function):
            found |= home(function)  # its module is imported there, and brings what it needs
            continue
        found |= _imports(function)
        for value in names.captured(function).values():
            found |= home(value)
            for part in _parts(value):
                found |= home(part)
    return found


def imported(code: types.CodeType, package: str = "") -> Iterable[str]:
    """The modules that code imports when it runs: the targets of its import statements, inner functions included.

    `package` is that in which its relative imports begin.
    """
    for one in (code, *names.inner_codes(code)):
        module, before = "", deque[Any]([0, None], maxlen=2)
        for instruction in dis.get_instructions(one):
            if instruction.opname == "IMPORT_NAME" and isinstance(instruction.argval, str):
                level = before[0] if isinstance(before[0], int) else 0
                module = absolute(instruction.argval, level, package)
                yield module
            elif instruction.opname == "IMPORT_FROM" and module:
                yield f"{module}.{instruction.argval}"
            if instruction.opname != "EXTENDED_ARG":
                before.append(instruction.argval)


def _parts(value: Any) -> tuple[Any, ...]:
    """What is in a container, as far as it is looked at: it is pickled with it."""
    if type(value) is dict:
        return tuple(islice(value.values(), MAX_PARTS))
    return tuple(islice(value, MAX_PARTS)) if type(value) in (list, tuple, set, frozenset) else ()


def _imports(function: types.FunctionType) -> set[str]:
    return set(imported(function.__code__, function.__globals__.get("__package__") or ""))


def home(value: Any) -> set[str]:
    """The module that a value is, or that it is pickled by reference to: none for what travels by value.

    So does what a module holds that nothing here could import: it was loaded from its file by hand, or made.
    """
    if isinstance(value, types.ModuleType):
        return {value.__name__} & sys.modules.keys()
    if isinstance(value, types.FunctionType):
        return {value.__module__} if _by_reference(value) else set()
    if value is sys.stdout or value is sys.stderr:
        return set()  # every process has its own
    named = value if isinstance(value, (type, types.BuiltinFunctionType)) else type(value)
    return set() if "<" in named.__qualname__ else {str(named.__module__ or "")} & sys.modules.keys()


def _by_reference(function: types.FunctionType) -> bool:
    module = sys.modules.get(function.__module__ or "")
    if module is None or function.__module__ == "__main__" or "<" in function.__qualname__:
        return False
    return getattr(module, function.__name__, None) is function or "." in function.__qualname__


def _top(name: str) -> str:
    return name.partition(".")[0]


def _counts(name: str) -> bool:
    if not name or name in ("__main__", OURS) or name.startswith("__"):
        return False
    return name not in sys.stdlib_module_names and name not in sys.builtin_module_names
