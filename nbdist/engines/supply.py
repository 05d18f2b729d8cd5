"""The items of a job that this process runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSequence
from itertools import islice, product
from typing import Any

from nbdist.engines.base import JobSpec

ENDLESS = 2**62
"""More items than any iterable has."""


class Supply:
    """The items of a job, taken from their iterator as they are claimed (`execution.Claim`)."""

    def __init__(self, source: Iterator[Any], *, at_once: int) -> None:
        self.position: MutableSequence[int] = [0]
        self._source = source
        self._at_once = at_once
        self._held: list[Any] = []
        self._start = 0

    @property
    def stop(self) -> int:
        """The index behind the last item that was taken from the iterator."""
        return self._start + len(self._held)

    def has(self, index: int) -> bool:
        """Whether there is an item of this index."""
        self.take(index, 1)
        return self.stop > index

    def take(self, start: int, count: int) -> int:
        """Claims up to `count` items from `start` on; fewer, where the iterator may make one wait for each."""
        count = min(count, self._at_once)
        missing = start + count - self.stop
        if missing > 0:
            self._held += islice(self._source, missing)
        return max(start, min(start + count, self.stop))

    def between(self, start: int, stop: int) -> Iterable[Any]:
        """Claimed items."""
        return self._held[start - self._start : stop - self._start]

    def extend(self, values: Iterable[Any]) -> None:
        """Appends items."""
        self._held += values

    def forget(self, stop: int) -> None:
        """Items below `stop` are done."""
        del self._held[: stop - self._start]
        self._start = max(self._start, stop)


def supply_of(spec: JobSpec) -> Supply:
    """The items of this job."""
    if spec.each:
        return Supply(iter([()]), at_once=1)
    if spec.ranges and spec.items is None:
        ranges = [range(*numbers) for numbers in spec.ranges]
        return Supply(iter(ranges[0] if len(ranges) == 1 else product(*ranges)), at_once=ENDLESS)
    return Supply(spec.items or iter(()), at_once=1 if spec.total is None and not spec.is_open else ENDLESS)
