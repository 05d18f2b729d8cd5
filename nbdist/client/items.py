"""What the items of a job are: numbers, a sequence, or a stream that is read once."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Sequence, ValuesView
from typing import Any, Protocol

MAX_NUMBER = 2**62
"""Ranges of integers below this travel as numbers."""
MAX_REMEMBERED_ITEMS = 100_000
"""Of a stream, so many items that are not finished are remembered, to be named if they fail."""

_CONTAINERS = (dict, set, frozenset, deque, KeysView, ValuesView, ItemsView)
"""Their elements are at hand, but not by their numbers: what they hold now is what is mapped over."""

Ranges = tuple[tuple[int, int, int], ...]


class Items(Protocol):
    """The items of one job."""

    ranges: Ranges
    total: int | None
    is_stream: bool
    """They are read once, as they come; the others can be read again."""

    def at(self, index: int) -> Any:
        """Item `index`. Raises LookupError if it is no longer known."""

    def read(self) -> Iterator[Any]:
        """All items."""

    def finished(self, reached: int) -> None:
        """No item below `reached` will be asked for any more."""


class NoItems:
    """A job that runs once on each machine or slot has none, and the pool says how often that is."""

    ranges: Ranges = ()
    total: int | None = None
    is_stream = False

    def at(self, index: int) -> Any:
        raise LookupError(index)

    def read(self) -> Iterator[Any]:
        return iter(())

    def finished(self, reached: int) -> None:
        """There are none."""


class UnknownItems(NoItems):
    """The items of a job that another client has submitted: only their number is known."""

    def __init__(self, total: int | None) -> None:
        self.total = total


class RangeItems:
    """The numbers of a range, or the tuples of a product of ranges, the last one fastest."""

    is_stream = False

    def __init__(self, ranges: Sequence[range]) -> None:
        self._ranges = tuple(ranges)
        self.ranges: Ranges = tuple((part.start, part.stop, part.step) for part in ranges)
        self.total: int | None = math.prod(map(len, ranges))

    def at(self, index: int) -> Any:
        if not 0 <= index < (self.total or 0):
            raise LookupError(index)
        if len(self._ranges) == 1:
            return self._ranges[0][index]
        picked = []
        for part in reversed(self._ranges):
            index, rest = divmod(index, len(part))
            picked.append(part[rest])
        return tuple(reversed(picked))

    def read(self) -> Iterator[Any]:
        if len(self._ranges) == 1:
            return iter(self._ranges[0])
        return map(self.at, range(self.total or 0))

    def finished(self, reached: int) -> None:
        """Numbers are not remembered."""


class SequenceItems:
    """Items of sequences that keep their lengths: one sequence, or several side by side, as tuples."""

    ranges: Ranges = ()
    is_stream = False

    def __init__(self, sequences: Sequence[Sequence[Any]], *, star: bool) -> None:
        self.sequences = sequences
        self.are_zipped = star
        self.total: int | None = min(map(len, sequences))

    def at(self, index: int) -> Any:
        if not 0 <= index < (self.total or 0):
            raise LookupError(index)
        picked = tuple(sequence[index] for sequence in self.sequences)
        return picked if self.are_zipped else picked[0]

    def read(self) -> Iterator[Any]:
        return zip(*self.sequences, strict=False) if self.are_zipped else iter(self.sequences[0])

    def finished(self, reached: int) -> None:
        """The sequences are there as a whole."""


class StreamItems:
    """Items that come one by one and are remembered only while they are not finished, and then not all of them."""

    ranges: Ranges = ()
    is_stream = True

    def __init__(self, iterables: Sequence[Iterable[Any]], *, star: bool, total: int | None) -> None:
        # iter() here, in the caller's thread, so that what is no iterable is found out at once
        self._source: Iterator[Any] = zip(*map(iter, iterables), strict=False) if star else iter(iterables[0])
        self.total = total
        self._remembered: dict[int, Any] = {}
        self._order: deque[int] = deque()
        self._next = self._reached = 0

    def at(self, index: int) -> Any:
        return self._remembered[index]

    def read(self) -> Iterator[Any]:
        for item in self._source:
            if self._next >= self._reached and len(self._remembered) < MAX_REMEMBERED_ITEMS:
                self._remembered[self._next] = item
                self._order.append(self._next)
            self._next += 1
            yield item

    def finished(self, reached: int) -> None:
        self._reached = reached
        while self._order and self._order[0] < reached:
            self._remembered.pop(self._order.popleft(), None)


def items_of(iterables: Sequence[Iterable[Any]], *, star: bool, total: int | None = None) -> Items:
    """The items of a map over one iterable, or over several side by side. Raises TypeError if one is none."""
    for number, iterable in enumerate(iterables, 1):
        _check_iterable(iterable, f"argument {number}" if len(iterables) > 1 else "the iterable")
    single = iterables[0]
    if not star and isinstance(single, range) and max(abs(single.start), abs(single.stop)) < MAX_NUMBER:
        return RangeItems([single])
    if all(map(_is_sequence, iterables)):
        return SequenceItems([_as_it_is(one) for one in iterables], star=star)
    if total is None and all(hasattr(iterable, "__len__") for iterable in iterables):
        total = min(len(iterable) for iterable in iterables)  # type: ignore[arg-type]
    return StreamItems(iterables, star=star, total=total)


def _check_iterable(iterable: Any, name: str) -> None:
    if isinstance(iterable, type) or not (hasattr(iterable, "__iter__") or hasattr(iterable, "__getitem__")):
        hint = f"; did you mean range({iterable})?" if isinstance(iterable, int) else ""
        raise TypeError(f"{name} of map is no iterable but of type {type(iterable).__name__!r}{hint}")
    if getattr(iterable, "shape", None) == ():
        raise TypeError(f"{name} of map is an array without dimensions")


def _is_sequence(iterable: Any) -> bool:
    if isinstance(iterable, (list, tuple, str, bytes, bytearray, range, *_CONTAINERS)):
        return True
    return type(iterable).__module__ == "numpy" and hasattr(iterable, "shape")


def _as_it_is(sequence: Any) -> Sequence[Any]:
    """The sequence, or a copy if it can grow and shrink: it is read while the job runs. Arrays, which may be files, are
    not copied."""
    if isinstance(sequence, _CONTAINERS):
        return list(sequence)
    return sequence.copy() if isinstance(sequence, (list, bytearray)) else sequence
