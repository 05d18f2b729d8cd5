"""Parts in, values in order out. Pure: no clock, no thread, no I/O.

Parts come in any order, sometimes twice. A part is taken if no item of its range has been, else it is dropped whole, as
the hub does. Parts that follow on what is there are joined to it at once; the others wait.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Piece:
    """The results of items `[start, stop)`.

    `values[i]` belongs to item `kept[i]`, or to item `start + i` where `kept` is None. Of a job that folds, `values`
    is the one folded value of the range, or empty.
    """

    start: int
    stop: int
    values: list[Any]
    kept: Sequence[int] | None = None
    worker: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Segment:
    """Where the results of items `[start, stop)` are: `count` values from `position` on."""

    start: int
    stop: int
    position: int
    count: int
    kept: Sequence[int] | None
    worker: str
    seconds: float

    @property
    def indices(self) -> Sequence[int]:
        """The items that have a value."""
        return range(self.start, self.stop) if self.kept is None else self.kept


class Ordering(Generic[T]):
    """Puts ranges that come in any order into their own, and drops those that overlap what has come.

    `merge` makes one of two neighbours that both wait, so that no more wait than there are gaps.
    """

    def __init__(self, merge: Callable[[T, T], T] | None = None) -> None:
        self._merge = merge
        self.reached = 0
        """All items below this have been given out."""
        self._waiting: dict[int, tuple[int, T]] = {}
        self._starts: list[int] = []

    def takes(self, start: int, stop: int) -> bool:
        """Whether no item of the range has come yet."""
        if start < self.reached or stop <= start:
            return False
        at = bisect_right(self._starts, start)
        if at and self._waiting[self._starts[at - 1]][0] > start:
            return False
        return at == len(self._starts) or self._starts[at] >= stop

    def add(self, start: int, stop: int, value: T) -> Iterator[T]:
        """Takes a range that `takes` accepts; gives all that follow on what was given before, in order."""
        if start != self.reached:
            self._keep(start, stop, value)
            return
        self.reached = stop
        yield value
        joined = 0
        while joined < len(self._starts) and self._starts[joined] == self.reached:
            self.reached, value = self._waiting.pop(self._starts[joined])
            joined += 1
            yield value
        del self._starts[:joined]

    def _keep(self, start: int, stop: int, value: T) -> None:
        """Lets a range wait, as one with its neighbours."""
        at = bisect_left(self._starts, start)
        first, end = at, at
        if self._merge is not None:
            if at < len(self._starts) and self._starts[at] == stop:
                stop, right = self._waiting[stop]
                value, end = self._merge(value, right), at + 1
            if at and self._waiting[self._starts[at - 1]][0] == start:
                first, start = at - 1, self._starts[at - 1]
                value = self._merge(self._waiting[start][1], value)
        for joined in self._starts[first:end]:
            del self._waiting[joined]
        self._starts[first:end] = [start]
        self._waiting[start] = (stop, value)

    def rest(self) -> list[T]:
        """What still waits, in order: there are gaps before and between."""
        return [self._waiting[start][1] for start in self._starts]


class ListAssembly:
    """Makes one list of the values of all items."""

    def __init__(self, values: list[Any] | None = None) -> None:
        self.values: list[Any] = [] if values is None else values
        """The values of all items up to the first that is missing."""
        self.arrivals: list[Piece | Segment] = []
        """Every range in the order in which it came; a Piece while it waits for those before it."""
        self.segments: list[Segment] = []
        self._order: Ordering[tuple[int, Piece]] = Ordering()

    @property
    def reached(self) -> int:
        """The first item that is missing."""
        return self._order.reached

    def add(self, piece: Piece) -> bool:
        """Takes results; False if they came before."""
        if not self._order.takes(piece.start, piece.stop):
            return False
        self.arrivals.append(piece)
        for arrival, ready in self._order.add(piece.start, piece.stop, (len(self.arrivals) - 1, piece)):
            self.arrivals[arrival] = self._join(ready)
        return True

    def count_before(self, item: float) -> int:
        """How many values the items below this one have, up to the first item that is missing."""
        count = reached = 0
        for segment in self.segments:
            if segment.start != reached or segment.start >= item:
                break
            count += segment.count if segment.stop <= item else bisect_left(segment.indices, item)
            reached = segment.stop
        return count

    def arrived(self, number: int) -> list[tuple[int, Any]]:
        """The (item, value) pairs of the range that came as `number`-th, from 0."""
        found = self.arrivals[number]
        if isinstance(found, Piece):
            return list(zip(_indices(found), found.values, strict=True))
        return list(zip(found.indices, self.values[found.position : found.position + found.count], strict=True))

    def close(self) -> None:
        """No more comes: joins what waits behind gaps, in order."""
        numbers = {id(piece): number for number, piece in enumerate(self.arrivals)}
        for _, piece in self._order.rest():
            self.arrivals[numbers[id(piece)]] = self._join(piece)
        self._order = Ordering()

    def _join(self, piece: Piece) -> Segment:
        count = len(piece.values)
        segment = Segment(piece.start, piece.stop, len(self.values), count, piece.kept, piece.worker, piece.seconds)
        list.extend(self.values, piece.values)  # not as a change by the user, which `Values` takes note of
        self.segments.append(segment)
        return segment


class FoldAssembly:
    """Folds the partial values of ranges in the order of their items.

    With `is_strict` strictly from left to right, whatever comes first: then the last bits of floats depend on the
    ranges alone. Else ranges that wait behind a gap are folded with their neighbours: no more wait than there are gaps.
    """

    def __init__(self, function: Callable[[Any, Any], Any], *, is_strict: bool = False) -> None:
        self._function = function
        self._order: Ordering[Piece] = Ordering(None if is_strict else self._merge)
        self.value: list[Any] = []
        """The folded value so far, in a list; an empty list as long as there is none."""
        self.segments: list[Segment] = []
        """What has been folded: one range, and after `close` one more behind each gap. `worker` is empty where several
        machines had a part in it."""

    @property
    def reached(self) -> int:
        """The first item that is missing."""
        return self._order.reached

    def add(self, piece: Piece) -> bool:
        """Takes a partial value; False if it came before. Raises what the function raises."""
        if not self._order.takes(piece.start, piece.stop):
            return False
        for ready in self._order.add(piece.start, piece.stop, piece):
            self._fold(ready)
        return True

    def close(self) -> None:
        """No more comes: folds what waits behind gaps, in order."""
        for piece in self._order.rest():
            self._fold(piece)
        self._order = Ordering()

    def _fold(self, piece: Piece) -> None:
        values = self._combine(self.value, piece.values)
        last = self.segments[-1] if self.segments else None
        start, worker, seconds = piece.start, piece.worker, piece.seconds
        if last is not None and last.stop == start:
            start, seconds = last.start, last.seconds + seconds
            worker = worker if worker == last.worker else ""
            self.segments.pop()
        self.segments.append(Segment(start, piece.stop, 0, 0, None, worker, seconds))
        self.value = values

    def _merge(self, left: Piece, right: Piece) -> Piece:
        worker = left.worker if left.worker == right.worker else ""
        values = self._combine(left.values, right.values)
        return Piece(left.start, right.stop, values, None, worker, left.seconds + right.seconds)

    def _combine(self, left: list[Any], right: list[Any]) -> list[Any]:
        return [self._function(left[0], right[0])] if left and right else left or right


def place(
    start: int, stop: int, values: list[Any], kept: Sequence[int] | None, extra: Sequence[tuple[int, Any]]
) -> tuple[list[Any], Sequence[int] | None]:
    """The values of a range with further (item, value) pairs in their places, and the items that all belong to."""
    if not extra:
        return values, kept
    indices = kept if kept is not None else range(start, stop)
    merged = dict(zip(indices, values, strict=False))
    merged.update(extra)
    items = sorted(merged)
    return [merged[item] for item in items], None if len(items) == stop - start else items


def part_of(piece: Piece, start: int, stop: int) -> Piece:
    """Of the results of a range those of `[start, stop)`, which lies in it; not for folds."""
    indices = range(piece.start, piece.stop) if piece.kept is None else piece.kept
    chosen = [(item, value) for item, value in zip(indices, piece.values, strict=False) if start <= item < stop]
    items = None if len(chosen) == stop - start else [item for item, _ in chosen]
    seconds = piece.seconds * (stop - start) / (piece.stop - piece.start)
    return Piece(start, stop, [value for _, value in chosen], items, piece.worker, seconds)


def _indices(piece: Piece) -> Sequence[int]:
    return range(piece.start, piece.stop) if piece.kept is None else piece.kept
