"""`__main__` in a slot: while items of a job run, it has the names that the job's function took along.

So what looks there, as pickle does for classes and functions of a notebook, finds them.
"""

from __future__ import annotations

import functools
import sys
from types import FunctionType, MethodType, ModuleType
from typing import Any


class MainNames:
    """A main module of its own, instead of the slot's program."""

    def __init__(self) -> None:
        self._names: dict[str, Any] = {}
        self._program = sys.modules["__main__"]  # lives on

    def use(self, function: Any) -> None:
        """From now on `__main__` has the names of this function."""
        names = _names_of(function)
        if names is self._names:
            return
        self._names = names
        main = sys.modules["__main__"] = ModuleType("__main__")
        vars(main).update({name: value for name, value in names.items() if name[:2] != "__"})


def _names_of(function: Any) -> dict[str, Any]:
    while isinstance(function, (functools.partial, MethodType)):
        function = function.func if isinstance(function, functools.partial) else function.__func__
    if not isinstance(function, FunctionType):
        function = getattr(type(function), "__call__", None)  # noqa: B004 - the function, not whether there is one
    is_theirs = isinstance(function, FunctionType) and function.__module__ == "__main__"
    return function.__globals__ if is_theirs else {}
