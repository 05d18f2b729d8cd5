"""What the pages show that nobody else keeps: the throughput of the last hour, and the end of what jobs have printed.

Pure: times come in.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import NamedTuple

SAMPLE_SECONDS = 2.0
MAX_SAMPLES = 900
"""Half an hour."""
MAX_TAIL_CHARS = 32 * 1024
"""Of what one job has printed …"""
MAX_TAILS = 50
"""… for so many jobs, those that printed last."""


class Sample(NamedTuple):
    """The pool over one interval."""

    at: float
    items_per_second: float
    busy: int
    slots: int


class Throughput:
    """How much the pool has done, sampled."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=MAX_SAMPLES)
        self._last: tuple[float, int] | None = None

    def note(self, now: float, items_done: int, busy: int, slots: int) -> None:
        """`items_done` counts from the hub's start. Called every `SAMPLE_SECONDS`, more or less."""
        if self._last is not None and now > self._last[0]:
            rate = (items_done - self._last[1]) / (now - self._last[0])
            self._samples.append(Sample(now, max(0.0, rate), busy, slots))
        self._last = now, items_done

    def rows(self, now: float) -> list[list[float]]:
        """Seconds ago, items a second, busy slots, slots; the oldest first."""
        return [[round(now - at, 1), round(rate, 3), busy, slots] for at, rate, busy, slots in self._samples]

    @property
    def latest(self) -> float:
        """Items a second in the last interval."""
        return self._samples[-1].items_per_second if self._samples else 0.0


@dataclass(slots=True)
class Tail:
    """The end of what a job has printed."""

    pieces: deque[tuple[str, int, str]] = field(default_factory=deque)
    """(machine, item, text)."""
    chars: int = 0
    is_cut: bool = False


class Tails:
    """What jobs print, the last of it."""

    def __init__(self) -> None:
        self._tails: OrderedDict[str, Tail] = OrderedDict()

    def add(self, job: str, worker: str, item: int, text: str) -> None:
        """A job has printed something."""
        tail = self._tails.setdefault(job, Tail())
        self._tails.move_to_end(job)
        while len(self._tails) > MAX_TAILS:
            self._tails.popitem(last=False)
        if len(text) > MAX_TAIL_CHARS:
            text, tail.is_cut = text[-MAX_TAIL_CHARS:], True
        tail.pieces.append((worker, item, text))
        tail.chars += len(text)
        while tail.chars > MAX_TAIL_CHARS:
            tail.chars -= len(tail.pieces.popleft()[2])
            tail.is_cut = True

    def of(self, job: str) -> dict[str, object]:
        """`pieces`: (machine, item, text), the oldest first; `is_cut`: there was more before."""
        tail = self._tails.get(job, Tail())
        return {"pieces": list(tail.pieces), "is_cut": tail.is_cut}
