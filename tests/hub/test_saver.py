"""Changes are saved soon, and many of them together."""

from __future__ import annotations

from collections.abc import Callable

from nbdist.hub.saver import Saver


class World:
    def __init__(self) -> None:
        self.saves = 0
        self.later: list[Callable[[], None]] = []
        self.saver = Saver(self.save, lambda seconds, callback: self.later.append(callback))

    def save(self) -> None:
        self.saves += 1

    def pause_over(self) -> None:
        callbacks, self.later = self.later, []
        for callback in callbacks:
            callback()


def test_the_first_change_is_saved_at_once_and_the_others_together() -> None:
    world = World()
    for _ in range(5):
        world.saver.changed()
    assert world.saves == 1
    world.pause_over()
    assert world.saves == 2
    world.pause_over()
    assert (world.saves, world.later) == (2, [])
    world.saver.changed()
    assert world.saves == 3


def test_what_is_not_saved_is_saved_at_the_end() -> None:
    world = World()
    world.saver.changed()
    world.saver.flush()
    assert world.saves == 1
    world.saver.changed()
    world.saver.flush()
    assert world.saves == 2
