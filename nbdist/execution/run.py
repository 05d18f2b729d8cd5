"""What an execution yields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Run:
    """Items `[start, stop)`, done."""

    start: int
    stop: int
    seconds: float
    """Execution time of all its items."""
    values: list[Any] = field(default_factory=list)
    """With `reduce`: the one folded value, or empty."""
    kept: list[int] | None = None
    """The index of each value, if some items have none. None: `values[i]` is that of item `start + i`, or folded."""
    failures: list[tuple[int, BaseException]] = field(default_factory=list)
    stopped_at: int | None = None
    """The item whose value met `stop_when`; the last of the run."""
