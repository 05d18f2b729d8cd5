"""What a plot keeps of the values that stream in: a bounded number of points, however many values there are.

Everything is NumPy; one pass over each value, amortised.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]


class Envelope:
    """The least and the greatest of each bucket of consecutive numbers; buckets double when there are too many."""

    def __init__(self, limit: int = 2048) -> None:
        self._limit = limit
        self.width = 1
        """Values in a bucket."""
        self.count = 0
        self._low: Floats = np.empty(0)
        self._high: Floats = np.empty(0)
        self._rest: Floats = np.empty(0)
        """Values of the bucket that is not full yet."""

    def add(self, numbers: Floats) -> None:
        self.count += len(numbers)
        while self.count / self.width > self._limit:
            self._widen()
        pending = np.concatenate([self._rest, numbers])
        whole = len(pending) // self.width * self.width
        buckets = pending[:whole].reshape(-1, self.width)
        self._low = np.concatenate([self._low, np.fmin.reduce(buckets, axis=1)])
        self._high = np.concatenate([self._high, np.fmax.reduce(buckets, axis=1)])
        self._rest = pending[whole:]

    def _widen(self) -> None:
        """Joins the buckets by twos; an odd one's extremes stand for it among the values that wait."""
        odd = len(self._low) % 2
        if odd:
            last = np.array([self._low[-1], self._high[-1]])
            filler = np.full(max(0, self.width - 2), last[0])
            waiting = np.concatenate([last[: self.width], filler])
            self._rest = np.concatenate([waiting, self._rest])
        even = len(self._low) - odd
        self._low = np.fmin(self._low[0:even:2], self._low[1:even:2])
        self._high = np.fmax(self._high[0:even:2], self._high[1:even:2])
        self.width *= 2

    def points(self) -> tuple[Floats, Floats, Floats]:
        """Positions (the number of a bucket's first value), least and greatest values; the last bucket may be short."""
        low, high = self._low, self._high
        if len(self._rest):
            low = np.append(low, np.fmin.reduce(self._rest))
            high = np.append(high, np.fmax.reduce(self._rest))
        return np.arange(len(low), dtype=np.float64) * self.width, low, high


class Sample:
    """Every k-th row of what streams in, at most `limit` of them; k doubles when there are too many."""

    def __init__(self, limit: int = 20_000) -> None:
        self._limit = limit
        self.stride = 1
        self.count = 0
        self.rows: npt.NDArray[Any] | None = None

    def add(self, rows: npt.NDArray[Any]) -> None:
        first = -self.count % self.stride
        self.count += len(rows)
        chosen = rows[first :: self.stride]
        self.rows = chosen if self.rows is None else np.concatenate([self.rows, chosen])
        while len(self.rows) > self._limit:
            self.rows = self.rows[::2]
            self.stride *= 2


class Grid:
    """Numbers over a product of two ranges: their means in at most `limit` x `limit` cells; NaN where none is yet."""

    def __init__(self, height: int, width: int, limit: int = 512) -> None:
        self._width = width
        self._rows_per_cell = -(-height // limit)
        self._columns_per_cell = -(-width // limit)
        shape = (-(-height // self._rows_per_cell), -(-width // self._columns_per_cell))
        self._sum = np.zeros(shape)
        self._number = np.zeros(shape)
        self.count = 0

    def add(self, numbers: Floats) -> None:
        index = np.arange(self.count, self.count + len(numbers))
        self.count += len(numbers)
        cell = (index // self._width // self._rows_per_cell, index % self._width // self._columns_per_cell)
        known = np.isfinite(numbers)
        np.add.at(self._sum, (cell[0][known], cell[1][known]), numbers[known])
        np.add.at(self._number, (cell[0][known], cell[1][known]), 1.0)

    def means(self) -> Floats:
        means: Floats = np.full(self._sum.shape, np.nan)
        np.divide(self._sum, self._number, out=means, where=self._number > 0)
        return means


class RunningMean:
    """The mean of all numbers so far and its standard error, at no more than about `limit` moments."""

    def __init__(self, limit: int = 1000) -> None:
        self._sample = Sample(limit)
        self._shift = 0.0
        self._sum = 0.0
        self._squares = 0.0
        self.count = 0
        self.last: tuple[float, float, float] | None = None
        """(number of values, mean, standard error) after the last value."""

    def add(self, numbers: Floats) -> None:
        numbers = numbers[np.isfinite(numbers)]
        if not len(numbers):
            return
        if self.count == 0:
            self._shift = float(numbers[0])  # keeps the squares small: no digits are lost when the spread is small
        shifted = numbers - self._shift
        n = np.arange(self.count + 1, self.count + len(numbers) + 1, dtype=np.float64)
        sums = self._sum + np.cumsum(shifted)
        squares = self._squares + np.cumsum(shifted * shifted)
        variance = np.maximum(0.0, (squares - sums * sums / n) / np.maximum(1.0, n - 1))
        moments = np.column_stack([n, self._shift + sums / n, np.sqrt(variance / n)])
        self._sample.add(moments)
        self.last = (float(moments[-1, 0]), float(moments[-1, 1]), float(moments[-1, 2]))
        self.count, self._sum, self._squares = self.count + len(numbers), float(sums[-1]), float(squares[-1])

    def points(self) -> tuple[Floats, Floats, Floats]:
        """Numbers of values, means, standard errors."""
        rows = self._sample.rows
        if rows is None or self.last is None:
            return np.empty(0), np.empty(0), np.empty(0)
        if rows[-1, 0] != self.last[0]:
            rows = np.vstack([rows, self.last])
        return rows[:, 0], rows[:, 1], rows[:, 2]
