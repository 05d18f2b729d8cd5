"""When a machine is kept awake: a pure decision, by a clock of our own."""

from __future__ import annotations

from nbdist.awake.holding import HOLD_AFTER_SECONDS, RELEASE_AFTER_SECONDS, Holding


def test_short_work_keeps_nothing_awake() -> None:
    holding = Holding()
    assert not holding.look(True, 10.0)
    assert not holding.look(False, 10.0 + HOLD_AFTER_SECONDS)
    assert not holding.look(False, 10.0 + RELEASE_AFTER_SECONDS)
    assert holding.is_over


def test_work_that_lasts_is_held_until_a_while_after_it() -> None:
    holding = Holding()
    holding.look(True, 10.0)
    assert holding.look(True, 10.0 + HOLD_AFTER_SECONDS)
    assert holding.look(False, 12.0)
    assert holding.look(False, 10.0 + HOLD_AFTER_SECONDS + RELEASE_AFTER_SECONDS - 0.1)
    assert not holding.is_over
    assert not holding.look(False, 10.0 + HOLD_AFTER_SECONDS + RELEASE_AFTER_SECONDS)
    assert holding.is_over


def test_many_short_jobs_are_one_stretch() -> None:
    holding = Holding()
    held = [holding.look(second % 2 == 0, float(second)) for second in range(100)]
    changes = [second for second in range(1, 100) if held[second] != held[second - 1]]
    assert changes == [2]


def test_the_next_stretch_begins_anew() -> None:
    holding = Holding()
    holding.look(True, 0.0)
    holding.look(True, 2.0)
    holding.look(False, 100.0)
    assert not holding.look(True, 200.0)
    assert holding.look(True, 200.0 + HOLD_AFTER_SECONDS)
