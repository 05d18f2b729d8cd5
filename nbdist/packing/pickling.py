"""cloudpickle, but that open files do not travel: it would read them to their end, and give the other side a copy of
that text in place of each."""

from __future__ import annotations

import io
import sys
from collections import ChainMap
from typing import Any, ClassVar

import cloudpickle


def _reduce_file(file: io.TextIOWrapper) -> tuple[Any, ...]:
    for name in ("stdout", "stderr"):
        if file in (getattr(sys, name), getattr(sys, f"__{name}__")):
            return getattr, (sys, name)
    raise TypeError("cannot pickle an open file")


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """What packs all that plain pickle does not."""

    dispatch_table: ClassVar[ChainMap[type, Any]] = ChainMap(
        {io.TextIOWrapper: _reduce_file}, cloudpickle.Pickler.dispatch_table
    )


def dumps(value: Any, protocol: int) -> bytes:
    """The pickle of a value."""
    file = io.BytesIO()
    Pickler(file, protocol).dump(value)
    return file.getvalue()
