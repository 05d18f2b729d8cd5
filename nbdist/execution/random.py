"""Random numbers that belong to an item: the same wherever, whenever and beside whatever else it runs.

Item `i` of a job with seed `s` draws from the stream (s, i). A stream is made when the item first asks for it, so
that items that draw nothing pay nothing.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nbdist.errors import NbdistError

if TYPE_CHECKING:
    import numpy


class Streams:
    """The streams of the items of one execution; `position[0]` is the index of the item that runs."""

    __slots__ = ("_generator", "_index", "_position", "_seed")

    def __init__(self, seed: int, position: Sequence[int]) -> None:
        self._seed = seed
        self._position = position
        self._index: int | None = None
        self._generator: Any = None

    def generator(self) -> numpy.random.Generator:
        """The running item's generator, always the same object within an item."""
        index = self._position[0]
        if index != self._index:
            self._generator = _generator(self._seed, index)
            self._index = index
        generator: numpy.random.Generator = self._generator
        return generator

    def seed_globals(self) -> None:
        """Seeds `random`, and `numpy.random` if it is loaded, for the running item."""
        index = self._position[0]
        random.seed(f"nbdist {self._seed} {index}")
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            sequence = numpy.random.SeedSequence(self._seed, spawn_key=(index, 1))
            numpy.random.seed(sequence.generate_state(4))


_current: Streams | None = None


def enter(streams: Streams | None) -> Streams | None:
    """Makes these the streams that `rng` draws from; gives those that were."""
    global _current
    previous, _current = _current, streams
    return previous


def rng() -> numpy.random.Generator:
    """The random generator of the item that runs: `numpy.random.Generator`, seeded from (job's seed, item's index).

    Two items never share a stream, and a job with a fixed `seed` draws the same numbers on any number of machines.
    Raises NbdistError outside of an item.
    """
    if _current is None:
        raise NbdistError(
            "nbdist.rng() is for the code of an item: call it in a distributed cell or in a function that "
            "pool.map runs. Anywhere else use numpy.random.default_rng()"
        )
    return _current.generator()


def _generator(seed: int, index: int) -> numpy.random.Generator:
    try:
        import numpy
    except ImportError as error:
        raise NbdistError("nbdist.rng() needs NumPy on every machine: python -m pip install numpy") from error
    sequence = numpy.random.SeedSequence(seed, spawn_key=(index,))
    return numpy.random.Generator(numpy.random.PCG64(sequence))
