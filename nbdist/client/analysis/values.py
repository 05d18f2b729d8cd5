"""The modules of the values that go to other machines: an instance of a class arrives only where its class is."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from nbdist.client.analysis.modules import home
from nbdist.client.items import Items, SequenceItems

MAX_LOOKED_AT = 100
"""Of each container, so many values are looked at."""
MAX_DEPTH = 3


def of_items(items: Items) -> set[str]:
    """The modules that a job's items may need. Of items that come one by one, those of all that the notebook holds."""
    if isinstance(items, SequenceItems):
        return of_values(items.sequences)
    return held_by_main() if items.is_stream else set()


def held_by_main() -> set[str]:
    """The modules of all that the notebook, or the script, has a name for."""
    main = sys.modules.get("__main__")
    found: set[str] = set()
    for value in list(vars(main).values()) if main is not None else ():
        found |= home(value)
    return found


def of_values(values: Iterable[Any], depth: int = MAX_DEPTH) -> set[str]:
    """The modules of these values, and of what is in them as far as containers go."""
    found: set[str] = set()
    for value in islice(values, MAX_LOOKED_AT):
        if isinstance(value, (str, bytes, bytearray, int, float, complex, range, memoryview)):
            continue
        found |= home(value)
        if depth and isinstance(value, (list, tuple, set, frozenset, deque)):
            found |= of_values(value, depth - 1)
        elif depth and isinstance(value, Mapping):
            found |= of_values(value.values(), depth - 1) | of_values(value, depth - 1)
    return found
