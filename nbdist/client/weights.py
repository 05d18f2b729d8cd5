"""About how large an item is before it is packed: large ones are not copied, and few of them are read ahead."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import islice
from typing import Any

MAX_PARTS = 100
"""Of an item that is a container so many elements are looked at."""
_LIGHT = frozenset({int, float, complex, bool, type(None)})


def size_of(value: Any) -> int:
    """About how many bytes a value has, without looking deeper than into its elements; 0 for a number."""
    kind = type(value)
    if kind in _LIGHT:
        return 0
    if issubclass(kind, (list, tuple, set, frozenset)):
        return _own_size(value) + _sum(value)
    if issubclass(kind, dict):
        return _own_size(value) + _sum(value.values())
    return _own_size(value)


def _sum(values: Iterable[Any]) -> int:
    return sum(_own_size(value) for value in islice(values, MAX_PARTS) if type(value) not in _LIGHT)


def _own_size(value: Any) -> int:
    try:
        nbytes = getattr(value, "nbytes", None)
        return nbytes if isinstance(nbytes, int) else sys.getsizeof(value)
    except Exception:  # noqa: BLE001 - a user's __sizeof__ or __getattr__ may raise anything
        return 0
