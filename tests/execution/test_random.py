"""Random streams: one an item, whatever runs where."""

from __future__ import annotations

import random
from typing import Any

import numpy
import pytest

from nbdist.errors import NbdistError
from nbdist.execution.random import rng
from nbdist.execution.runs import Freely, execute
from nbdist.execution.task import Task
from nbdist.wire.messages import JobOptions


def values(function: Any, start: int, stop: int, **options: Any) -> list[Any]:
    runs = execute(Task(function), JobOptions(**options), range, start, stop, Freely(), lambda: 0.0)
    return [value for one in runs for value in one.values]


def test_values_do_not_depend_on_the_cut() -> None:
    whole = values(lambda x: rng().random(), 0, 20, seed=7)
    assert values(lambda x: rng().random(), 0, 9, seed=7) + values(lambda x: rng().random(), 9, 20, seed=7) == whole
    assert len(set(whole)) == 20
    assert values(lambda x: rng().random(), 0, 20, seed=8) != whole


def test_the_stream_is_that_of_seed_and_index() -> None:
    expected = numpy.random.Generator(numpy.random.PCG64(numpy.random.SeedSequence(7, spawn_key=(3,)))).random()
    assert values(lambda x: rng().random(), 3, 4, seed=7) == [expected]


def test_an_item_has_one_generator() -> None:
    assert values(lambda x: rng() is rng(), 0, 3, seed=1) == [True] * 3


def test_an_item_that_runs_again_draws_the_same() -> None:
    assert values(lambda x: rng().random(), 4, 5, seed=1) == values(lambda x: rng().random(), 4, 5, seed=1)


def test_outside_of_an_item_it_says_so() -> None:
    with pytest.raises(NbdistError, match="for the code of an item"):
        rng()
    values(lambda x: rng(), 0, 1)
    with pytest.raises(NbdistError, match="for the code of an item"):
        rng()


def test_a_given_seed_seeds_the_global_generators_too() -> None:
    def draw(item: int) -> tuple[float, float]:
        return random.random(), float(numpy.random.random())

    whole = values(draw, 0, 6, seed=3, seeded=True)
    random.seed(99)
    assert values(draw, 2, 6, seed=3, seeded=True) == whole[2:]
    assert len(set(whole)) == 6


def test_executions_can_be_nested() -> None:
    def outer(item: int) -> tuple[float, float]:
        before = rng().random()
        values(lambda x: rng().random(), 0, 3, seed=100)
        return before, rng().random()

    generator = numpy.random.Generator(numpy.random.PCG64(numpy.random.SeedSequence(5, spawn_key=(0,))))
    assert values(outer, 0, 1, seed=5) == [(generator.random(), generator.random())]
