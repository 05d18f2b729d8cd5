"""Which slot worked on a job when: bars for a Gantt chart, joined where they are too fine to be seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

MAX_BARS = 2_000
"""Of one job. With more of them neighbours are joined: a chart has fewer pixels."""
MAX_SLOTS = 1_000
"""Slots that have a line of bars; the work of further ones is counted, not drawn."""
FINEST_SECONDS = 0.002
"""Bars of one slot that follow each other within this time are joined from the beginning."""

BarOutcome: TypeAlias = Literal["done", "failed", "cancelled", "crashed", "lost"]
"""How it ended: all its items have results; some raised; it was stopped, or done elsewhere before its end; its process
died; its machine vanished."""
Line: TypeAlias = tuple[str, int]
"""A slot: the machine's name and the slot's number."""


class Bar(NamedTuple):
    """Work of one slot. Times are in seconds since the job was submitted."""

    start: int
    stop: int
    """The items that it has done: `[start, stop)`, or all between them if several slices were joined."""
    began: float
    ended: float
    busy: float
    """Of this time, what was work."""
    slices: int
    outcome: BarOutcome
    copies: int = 0
    """So many of its slices were copies of others."""


@dataclass(slots=True, eq=False)
class Timeline:
    """The bars of a job, each line in the order of time."""

    lines: dict[Line, list[Bar]] = field(default_factory=dict)
    resolution: float = FINEST_SECONDS
    """Seconds; pauses between bars that are shorter are not shown."""
    count: int = 0
    left_out: int = 0
    """Slices of slots that have no line."""

    def add(self, line: Line, bar: Bar) -> None:
        """A slice is over."""
        bars = self.lines.get(line)
        if bars is None:
            if len(self.lines) >= MAX_SLOTS:
                self.left_out += 1
                return
            bars = self.lines[line] = []
        if bars and self._belong_together(bars[-1], bar):
            bars[-1] = _joined(bars[-1], bar)
            return
        bars.append(bar)
        self.count += 1
        if self.count > MAX_BARS:
            self._coarsen()

    def clear(self) -> None:
        """Forgets all bars."""
        self.lines.clear()
        self.count = 0

    def bars(self) -> Iterator[tuple[Line, Bar]]:
        """All bars, slot by slot."""
        for line, bars in self.lines.items():
            for bar in bars:
                yield line, bar

    def _belong_together(self, one: Bar, next_one: Bar) -> bool:
        return one.outcome == next_one.outcome and next_one.began - one.ended <= self.resolution

    def _coarsen(self) -> None:
        """Joins neighbours, the closest first, until half of the room is free, or each slot has a bar for each outcome
        that follows another."""
        while self.count > MAX_BARS // 2:
            before = self.resolution
            self.resolution *= 2
            for line, bars in self.lines.items():
                kept = bars[:1]
                for bar in bars[1:]:
                    if self._belong_together(kept[-1], bar):
                        kept[-1] = _joined(kept[-1], bar)
                    else:
                        kept.append(bar)
                self.lines[line] = kept
            self.count = sum(map(len, self.lines.values()))
            if before > self._span():
                self._cut()
                return

    def _span(self) -> float:
        return max((bars[-1].ended for bars in self.lines.values() if bars), default=0.0)

    def _cut(self) -> None:
        """Outcomes alternate so often that nothing can be joined: each slot keeps its newest bars."""
        most = max(1, MAX_BARS // 2 // max(1, len(self.lines)))
        for line, bars in self.lines.items():
            self.left_out += sum(bar.slices for bar in bars[:-most])
            self.lines[line] = bars[-most:]
        self.count = sum(map(len, self.lines.values()))


def _joined(one: Bar, other: Bar) -> Bar:
    return Bar(
        min(one.start, other.start),
        max(one.stop, other.stop),
        min(one.began, other.began),
        max(one.ended, other.ended),
        one.busy + other.busy,
        one.slices + other.slices,
        one.outcome,
        one.copies + other.copies,
    )
