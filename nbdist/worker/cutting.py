"""Where a slice is cut when some of it is given to another."""

from __future__ import annotations

import math


def cut_at(claimed: int, limit: int, give: float) -> int:
    """Where a slice ends that gives away this share of what it has not claimed (at least one item, if there is one)."""
    free = max(0, limit - claimed)
    return limit - min(free, max(1, math.floor(free * give)))
