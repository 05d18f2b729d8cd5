"""Folding: the built-ins, functions of two, fixed slices, and items on which a fold raises."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.execution.folding import fold_each, fold_once, merge, pairwise
from nbdist.execution.run import Run
from nbdist.execution.runs import Freely, execute
from nbdist.execution.task import Task
from nbdist.wire.messages import JobOptions


def folded(reduce: Callable[..., Any], values: list[Any], clock: Any, **options: Any) -> list[Run]:
    task = Task(values.__getitem__, reduce=reduce)
    return list(execute(task, JobOptions(reduce=True, **options), range, 0, len(values), Freely(), clock))


@pytest.mark.parametrize(
    ("reduce", "values", "expected"),
    [
        (sum, [True, True], 2),
        (min, [3, 1, 2], 1),
        (max, [3, 1, 2], 3),
        (any, [0, "x"], True),
        (any, [0, ""], False),
        (all, [1, "x"], True),
        (operator.add, ["a", "b", "c"], "abc"),
    ],
)
def test_partials_join_to_what_the_built_in_gives(reduce: Any, values: list[Any], expected: Any) -> None:
    runs = folded(reduce, values, lambda: 0.0)
    joined = functools.reduce(lambda a, b: merge(reduce, a, b), runs)
    assert joined.values == [expected]
    assert (joined.start, joined.stop) == (0, len(values))
    assert type(joined.values[0]) is type(expected)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=10), st.lists(st.floats(-1e9, 1e9), min_size=70, max_size=70))
def test_a_fixed_fold_does_not_depend_on_the_cuts(cuts: list[int], values: list[float]) -> None:
    runs, at = [], 0
    for size in cuts:
        runs.append(Run(at, at + size, 0.1, values[at : at + size]))
        at += size
    (one,) = fold_once(sum, runs)
    assert one.values == [functools.reduce(operator.add, values[:at], 0)]
    assert (one.start, one.stop) == (0, at)


def test_a_fixed_slice_is_one_run() -> None:
    ticks = iter(range(10_000))
    (one,) = folded(operator.add, ["x"] * 1000, lambda: next(ticks) * 0.01, task_size=1000)
    assert one.values == ["x" * 1000]


def test_an_item_on_which_the_fold_raises_fails_and_no_other() -> None:
    runs = fold_each(operator.add, Run(10, 15, 5.0, [1, 2, "x", 4, 5]))
    assert [(one.start, one.stop, one.values) for one in runs] == [(10, 12, [3]), (12, 13, []), (13, 15, [9])]
    assert [index for one in runs for index, _ in one.failures] == [12]
    assert sum(one.seconds for one in runs) == pytest.approx(5.0)


def test_a_fixed_fold_goes_on_behind_an_item_on_which_it_raises() -> None:
    runs = list(fold_once(operator.add, [Run(0, 2, 0.1, [1, 2]), Run(2, 4, 0.1, ["x", 4]), Run(4, 5, 0.1, [5])]))
    assert [(one.start, one.stop, one.values) for one in runs] == [(0, 2, [3]), (2, 3, []), (3, 4, [4]), (4, 5, [5])]


def test_a_range_without_values_folds_to_nothing() -> None:
    (one,) = fold_each(max, Run(0, 5, 0.1, [], kept=[]))
    assert (one.values, one.kept) == ([], None)


def test_failures_stay_with_a_fixed_fold() -> None:
    error = ValueError()
    runs = list(fold_once(sum, [Run(0, 3, 0.1, [1, 1], [0, 1], [(2, error)]), Run(3, 5, 0.1, [1, 1])]))
    assert [(one.start, one.stop, one.values, one.failures) for one in runs] == [(0, 5, [4], [(2, error)])]


def test_a_function_of_two_is_its_own_join() -> None:
    assert pairwise(operator.mul) is operator.mul
