"""The files that distributed code names itself: `nbdist.file("data.csv")` inside a cell or function.

Such a call cannot wait until the code runs, which is on another machine: it is found in the code, and its file goes
along.
"""

from __future__ import annotations

import dis
import types
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from nbdist.client.analysis import names
from nbdist.client.analysis.modules import OURS
from nbdist.filing import inputs
from nbdist.filing.inputs import InputFile

_NAME = "file"
_BETWEEN = frozenset({"CACHE", "EXTENDED_ARG", "NOP", "PRECALL", "PUSH_NULL"})


def named_in(*roots: Any) -> dict[str, InputFile]:
    """Path as it stands in the code -> the file. Raises OSError for one that is not here or cannot be read."""
    found: dict[str, InputFile] = {}
    for function in names.functions_in(*roots):
        for code in (function.__code__, *names.inner_codes(function.__code__)):
            if _NAME in code.co_names:
                for path in _calls(code, function.__globals__):
                    found.setdefault(path, inputs.file(path))
    return found


def _calls(code: types.CodeType, namespace: dict[str, Any]) -> Iterator[str]:
    """The constants with which code calls `nbdist.file`."""
    steps = [step for step in dis.get_instructions(code) if step.opname not in _BETWEEN]
    imported = {
        str(after.argval)
        for step, after in pairwise(steps)
        if step.opname == "IMPORT_NAME" and step.argval == OURS and after.opname.startswith("STORE_")
    }
    for before, loaded, constant, call in zip(steps, steps[1:], steps[2:], steps[3:], strict=False):
        if not (call.opname.startswith("CALL") and call.argval == 1 and isinstance(constant.argval, str)):
            continue
        if constant.opname != "LOAD_CONST" or loaded.argval != _NAME:
            continue
        if loaded.opname == "LOAD_GLOBAL":
            is_ours = namespace.get(_NAME) is inputs.file
        elif before.opname == "LOAD_GLOBAL":
            is_ours = _is_nbdist(namespace.get(str(before.argval)))
        else:
            is_ours = before.opname.startswith("LOAD_") and before.argval in imported
        if is_ours:
            yield constant.argval


def _is_nbdist(value: Any) -> bool:
    return isinstance(value, types.ModuleType) and value.__name__ == OURS
