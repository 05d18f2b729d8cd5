"""Nothing leaves the hub before it is kept, whatever leads to what while a turn ends."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from nbdist.hub.turns import Turn
from nbdist.wire import messages as m


class World:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.soon: list[Callable[[], None]] = []
        self.later: list[Callable[[], None]] = []
        self.tidy: list[bool] = []
        self.fails = False
        self.turn = Turn(
            self.flush,
            lambda to, message: self.told.append(to),
            self.send_results,
            lambda is_full, reason: self.changed(is_full),
            lambda: bool(self.tidy and self.tidy.pop(0)),
            call_soon=self.soon.append,
            call_later=lambda seconds, callback: self.later.append(callback),
        )

    def flush(self) -> None:
        if self.fails:
            raise OSError("no space left on device")
        self.told.append("flush")

    def send_results(self, record: Any) -> None:
        self.told.append(record.job)
        self.turn.hold("because of results", m.Acknowledge(()))

    def changed(self, is_full: bool) -> None:
        self.told.append("full" if is_full else "room")
        if not is_full:
            self.turn.hold("because of room", m.Acknowledge(()))

    def run(self) -> None:
        while self.soon:
            self.soon.pop(0)()


@pytest.fixture
def world() -> World:
    return World()


def test_what_results_lead_to_waits_for_the_next_flush(world: World) -> None:
    world.turn.deliver(SimpleNamespace(job="j"))  # type: ignore[arg-type]
    world.turn.hold("w", m.Acknowledge(()))
    world.run()
    assert world.told == ["flush", "j", "w", "flush", "because of results"]


def test_what_new_room_leads_to_waits_too(world: World) -> None:
    world.fails = True
    world.turn.hold("w", m.Acknowledge(()))
    world.run()
    assert (world.told, world.turn.is_full) == (["full"], True)
    world.fails = False
    world.later.pop()()
    world.run()
    assert world.told == ["full", "flush", "room", "w", "flush", "because of room"]
    assert not world.turn.is_full


def test_tidying_up_goes_on_as_long_as_there_is_something_and_all_of_it_is_kept(world: World) -> None:
    world.tidy = [True, True, False]
    world.turn.ends()
    world.run()
    while world.later:
        world.later.pop()()
        world.run()
    assert world.told == ["flush"] * 3
