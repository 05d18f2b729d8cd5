"""Folding values with a job's `reduce`: the values of a run to one, and runs to larger ones.

`sum` begins at 0, and `any` and `all` give a bool, as the built-ins do.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from nbdist.execution.run import Run

Reducer: TypeAlias = Callable[..., Any]

_WHOLE: tuple[Reducer, ...] = (sum, min, max, any, all)
"""Built-ins that take all values at once."""


def pairwise(reduce: Reducer) -> Callable[[Any, Any], Any]:
    """The function of two values that joins two folded values of this reduction."""
    if reduce is sum:
        return operator.add
    if reduce is any:
        return lambda a, b: bool(a) or bool(b)
    if reduce is all:
        return lambda a, b: bool(a) and bool(b)
    return reduce


def fold_each(reduce: Reducer, run: Run) -> list[Run]:
    """The run with its values folded. An item on which `reduce` raises fails; it is then a run of its own."""
    try:
        return [_folded(run, _fold(reduce, run.values))]
    except Exception:  # noqa: BLE001 - user code; it is met again, item by item, below
        return list(_fold_carefully(reduce, run))


def fold_once(reduce: Reducer, runs: Iterable[Run]) -> Iterator[Run]:
    """All runs as one, folded strictly from left to right: it does not matter how they were cut.

    (The built-in `sum` of Python 3.12 and later keeps a correction of its own for floats, so that for it, it would.)
    Failures that are runs of their own stay so.
    """
    held: Run | None = None
    for run in runs:
        if run.failures and not run.values:
            yield from [run] if held is None else [held, run]
            held = None
            continue
        try:
            values = _extend(reduce, held.values if held is not None else [], run.values)
        except Exception:  # noqa: BLE001 - user code; it is met again, item by item, below
            yield from _fold_carefully(reduce, run, held)
            held = None
            continue
        held = _folded(run if held is None else _joined(held, run), values)
    if held is not None:
        yield held


def merge(reduce: Reducer, first: Run, second: Run) -> Run:
    """Two neighbouring folded runs as one. Raises whatever `reduce` raises."""
    values = [*first.values, *second.values]
    if len(values) > 1:
        values = [pairwise(reduce)(*values)]
    return _folded(_joined(first, second), values)


def _fold(reduce: Reducer, values: Sequence[Any]) -> list[Any]:
    if not values:
        return []
    return [reduce(values) if reduce in _WHOLE else functools.reduce(reduce, values)]


def _extend(reduce: Reducer, folded: Sequence[Any], values: Iterable[Any]) -> list[Any]:
    step = pairwise(reduce)
    held = list(folded)
    for value in values:
        held = [step(held[0], value)] if held else _fold(reduce, [value])
    return held


def _fold_carefully(reduce: Reducer, run: Run, before: Run | None = None) -> Iterator[Run]:
    """Folds `run` onto what is before it, up to an item on which `reduce` raises, and goes on behind that item."""
    indices = run.kept if run.kept is not None else range(run.start, run.stop)
    each = run.seconds / (run.stop - run.start)
    held = before if before is not None else Run(run.start, run.start, 0.0)
    for index, value in zip(indices, run.values, strict=False):
        try:
            values = _extend(reduce, held.values, [value])
        except Exception as error:  # noqa: BLE001 - user code: whatever it raises is the item's failure
            held = _stretched(held, index, each)
            yield from [held] if held.start < index else []
            yield Run(index, index + 1, each, failures=[(index, error)])
            held = Run(index + 1, index + 1, 0.0)
        else:
            held = _folded(_stretched(held, index + 1, each), values)
    rest = _stretched(held, run.stop, each)
    if rest.start < rest.stop:
        yield Run(rest.start, rest.stop, rest.seconds, rest.values, None, rest.failures + run.failures, run.stopped_at)


def _stretched(run: Run, stop: int, each: float) -> Run:
    """The run up to `stop`, for items without values of their own that took `each` seconds."""
    return Run(run.start, stop, run.seconds + each * (stop - run.stop), run.values, None, run.failures)


def _folded(run: Run, values: list[Any]) -> Run:
    return Run(run.start, run.stop, run.seconds, values, None, run.failures, run.stopped_at)


def _joined(first: Run, second: Run) -> Run:
    return Run(
        first.start,
        second.stop,
        first.seconds + second.seconds,
        failures=first.failures + second.failures,
        stopped_at=second.stopped_at,
    )
