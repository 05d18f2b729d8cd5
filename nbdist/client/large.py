"""Items so large that they do not fit a message: they travel as captured values of the function, which become blobs.

That needs a sequence, which is there as a whole; each machine gets all of it, and on this machine it is only mapped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Any

from nbdist.client.items import SequenceItems
from nbdist.execution.shipped import WithItems
from nbdist.execution.task import Task

LARGE_BYTES = 256 * 1024
"""As in the frames of the wire: what is larger is a blob."""
MAX_LOOKED_AT = 10_000
"""So many items are looked at, from the beginning."""
MAX_PARTS = 100
"""… and of an item that is a container so many elements."""


def with_large_items(task: Task, items: SequenceItems) -> Task | None:
    """The task that takes indices instead of items, if one of the items is large."""
    if not any(size_of(item) >= LARGE_BYTES for item in islice(items.read(), MAX_LOOKED_AT)):
        return None
    function = WithItems(task.function, items.sequences, items.are_zipped, task.star)
    return replace(task, function=function, star=False)


def size_of(value: Any) -> int:
    """About how many bytes a value has, without looking deeper than into its elements."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return _own_size(value) + _sum(value)
    if isinstance(value, dict):
        return _own_size(value) + _sum(value.values())
    return _own_size(value)


def _sum(values: Iterable[Any]) -> int:
    return sum(map(_own_size, islice(values, MAX_PARTS)))


def _own_size(value: Any) -> int:
    nbytes = getattr(value, "nbytes", None)
    if isinstance(nbytes, int):
        return nbytes
    try:
        return sys.getsizeof(value)
    except Exception:  # noqa: BLE001 - a user's __sizeof__ may raise anything
        return 0
