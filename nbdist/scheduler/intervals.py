"""Sets of item indices as sorted, disjoint, half-open intervals."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Intervals:
    """A set of integers that is cheap when they come in runs.

    Adding and removing a range costs a search and the move of the list's tail; memory is two integers a run.
    """

    __slots__ = ("_starts", "_stops", "count")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.count = 0
        """How many integers are in the set."""
        for start, stop in ranges:
            self.add(start, stop)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._starts, self._stops, strict=True)))

    def __contains__(self, value: int) -> bool:
        return self.overlaps(value, value + 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Intervals) and self._starts == other._starts and self._stops == other._stops

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Intervals({list(self)})"

    @property
    def runs(self) -> int:
        """Number of intervals."""
        return len(self._starts)

    def first(self) -> tuple[int, int]:
        """The lowest interval. Raises IndexError if the set is empty."""
        return self._starts[0], self._stops[0]

    def add(self, start: int, stop: int) -> None:
        """Adds `[start, stop)`."""
        if start >= stop:
            return
        low = bisect_left(self._stops, start)
        high = bisect_right(self._starts, stop)
        if low < high:
            start = min(start, self._starts[low])
            stop = max(stop, self._stops[high - 1])
            self.count -= sum(self._stops[low:high]) - sum(self._starts[low:high])
        self._starts[low:high] = [start]
        self._stops[low:high] = [stop]
        self.count += stop - start

    def remove(self, start: int, stop: int) -> None:
        """Removes what it has of `[start, stop)`."""
        low, high = self._touched(start, stop)
        if low == high:
            return
        self.count -= sum(self._stops[low:high]) - sum(self._starts[low:high])
        left, right = self._starts[low], self._stops[high - 1]
        rest = [(a, b) for a, b in ((left, start), (stop, right)) if a < b]
        self._starts[low:high] = [a for a, _ in rest]
        self._stops[low:high] = [b for _, b in rest]
        self.count += sum(b - a for a, b in rest)

    def clear(self) -> None:
        """Removes everything."""
        self._starts.clear()
        self._stops.clear()
        self.count = 0

    def overlaps(self, start: int, stop: int) -> bool:
        """Whether any of `[start, stop)` is in the set."""
        low, high = self._touched(start, stop)
        return low < high

    def covers(self, start: int, stop: int) -> bool:
        """Whether all of `[start, stop)` is in the set."""
        low, high = self._touched(start, stop)
        return start >= stop or (high - low == 1 and self._starts[low] <= start and stop <= self._stops[low])

    def gaps(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The parts of `[start, stop)` that are not in the set."""
        low, high = self._touched(start, stop)
        gaps = []
        for index in range(low, high):
            if start < self._starts[index]:
                gaps.append((start, self._starts[index]))
            start = self._stops[index]
        if start < stop:
            gaps.append((start, stop))
        return gaps

    def within(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The parts of `[start, stop)` that are in the set."""
        low, high = self._touched(start, stop)
        ends = zip(self._starts[low:high], self._stops[low:high], strict=True)
        return [(max(a, start), min(b, stop)) for a, b in ends]

    def without(self, ranges: Iterable[tuple[int, int]]) -> Intervals:
        """Another set: this one less these ranges."""
        left = Intervals(self)
        for start, stop in ranges:
            left.remove(start, stop)
        return left

    def _touched(self, start: int, stop: int) -> tuple[int, int]:
        """Indices [low, high) of the intervals that share an integer with `[start, stop)`."""
        if start >= stop:
            return 0, 0
        low = bisect_right(self._stops, start)
        return low, max(low, bisect_left(self._starts, stop))
