"""The innermost loops: for each item, publish its index and call the function.

An exception passes through; `values` then holds the values of the items before. Nothing here costs more than it must:
the plain loop adds some 35 ns to an item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableSequence
from typing import Any, TypeAlias

from nbdist.execution.task import SKIP, StopHere, Task

Function: TypeAlias = Callable[[Any], Any]
Loop: TypeAlias = Callable[[Function, Iterable[Any], range, MutableSequence[int], list[Any]], bool]
"""(function, items, their indices, position, values) -> whether the last value is the one that was looked for."""


def choose_loop(task: Task, *, is_checked: bool) -> Loop:
    """The cheapest loop that does what the task needs. `is_checked`: its function may return SKIP or StopHere."""
    if not is_checked and task.keep_if is None and task.stop_when is None:
        return _plain
    return _checked(task.keep_if, task.stop_when)


def _plain(
    function: Function, items: Iterable[Any], indices: range, position: MutableSequence[int], values: list[Any]
) -> bool:
    append = values.append
    for position[0], item in zip(indices, items):  # noqa: B905 - strict costs time; the caller compares the lengths
        append(function(item))
    return False


def _checked(keep_if: Function | None, stop_when: Function | None) -> Loop:
    def loop(
        function: Function, items: Iterable[Any], indices: range, position: MutableSequence[int], values: list[Any]
    ) -> bool:
        append = values.append
        for position[0], item in zip(indices, items):  # noqa: B905 - as above
            value = function(item)
            if type(value) is StopHere:
                append(value.value)
                return True
            if value is not SKIP:
                if keep_if is not None and not keep_if(value):
                    value = SKIP
                elif stop_when is not None and stop_when(value):
                    append(value)
                    return True
            append(value)
        return False

    return loop
