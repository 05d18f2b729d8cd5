"""When a worker that is gone is started again, and when no more."""

from __future__ import annotations

from nbdist.engines.hub import tending
from nbdist.engines.hub.tending import Tender
from nbdist.errors import NbdistError


class World:
    """A worker that dies as soon as it is told to, and a clock."""

    def __init__(self) -> None:
        self.is_gone = True
        self.comes_up = True
        self.starts = 0
        self.now = 0.0
        self.tender = Tender(lambda: self.is_gone, self.start, lambda: self.now)

    def start(self) -> None:
        self.starts += 1
        self.is_gone = not self.comes_up

    def look(self) -> str:
        self.now += tending.TEND_SECONDS
        return self.tender.look()


def test_a_worker_that_is_gone_is_started_once() -> None:
    world = World()
    told = [world.look() for _ in range(20)]
    assert world.starts == 1
    assert [bool(text) for text in told].index(True) == tending.GONE_LOOKS - 1
    assert sum(map(bool, told)) == 1


def test_one_that_is_just_starting_is_left_alone() -> None:
    world = World()
    for _ in range(tending.GONE_LOOKS - 1):
        assert not world.look()
    world.is_gone = False
    assert not world.look()
    world.is_gone = True
    assert not world.look()
    assert world.starts == 0


def test_it_is_not_started_again_and_again() -> None:
    world = World()
    world.comes_up = False
    told = {world.look() for _ in range(50)}
    assert world.starts == tending.MAX_STARTS
    assert any("has ended 5 times within 60 s" in text for text in told)
    for _ in range(60):
        world.look()
    assert tending.MAX_STARTS < world.starts <= 2 * tending.MAX_STARTS


def test_a_start_that_fails_is_told() -> None:
    def fail() -> None:
        raise NbdistError("no room")

    tender = Tender(lambda: True, fail)
    assert "cannot be started: no room" in [tender.look() for _ in range(tending.GONE_LOOKS)][-1]
