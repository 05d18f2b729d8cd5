"""The engines that pass the contract suite. A new one is one more line in `POOLS`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest

import nbdist

POOLS: dict[str, Callable[[], nbdist.Pool]] = {
    "inline": lambda: nbdist.connect("inline"),
    "hub": lambda: nbdist.connect(workers=2),
}
IN_THIS_PROCESS = {"inline"}
"""These start no processes."""


def _parameters(names: Iterable[str]) -> list[object]:
    return [pytest.param(name, marks=() if name in IN_THIS_PROCESS else pytest.mark.real) for name in names]


@pytest.fixture(scope="module", params=_parameters(POOLS))
def pool(request: pytest.FixtureRequest) -> Iterator[nbdist.Pool]:
    """A pool of each engine, one after another; the tests of a module share it."""
    with POOLS[request.param]() as pool:
        yield pool


@pytest.fixture(scope="module", params=_parameters(POOLS.keys() - IN_THIS_PROCESS))
def parallel_pool(request: pytest.FixtureRequest) -> Iterator[nbdist.Pool]:
    """A pool of each engine that has processes of its own."""
    with POOLS[request.param]() as pool:
        yield pool
