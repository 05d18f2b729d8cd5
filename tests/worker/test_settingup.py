"""Slots in setups, as a supervisor sees them: nobody's items are blamed, and a job that cannot be set up is refused."""

from __future__ import annotations

from typing import Any

import pytest

from nbdist.wire import messages as m
from nbdist.worker import orders
from nbdist.worker.records import WorkerPolicy
from nbdist.worker.supervisor import Supervisor

HUB, SLOT = orders.HUB, "slot:0"


class World:
    """A supervisor of one slot with a job in place; time stands still unless it is told to pass."""

    def __init__(self) -> None:
        self.now = 100.0
        self.machine = Supervisor(1, WorkerPolicy())
        self.said = list(self.machine.start(self.now))
        self.number = 0
        self.hear(SLOT, m.SlotReady(1))
        self.hear(HUB, m.Welcome(1, "h1", 1, "box", "0.1.0"), m.PrepareJob("j", m.JobOptions(), ranges=((0, 100, 1),)))
        self.hear(orders.LOCAL, orders.JobInPlace("j"))
        self.said.clear()

    def hear(self, peer: str, *heard: m.Message) -> None:
        for message in heard:
            self.said += self.machine.receive(peer, message, self.now)

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.machine.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.said += self.machine.tick(self.now)
        self.now = end

    def told(self, *kinds: type[m.Message], peer: str = HUB) -> list[Any]:
        said, self.said = self.said, []
        return [send.message for send in said if send.peer == peer and isinstance(send.message, kinds)]

    def run(self) -> m.Attempt:
        """A slice is given to the slot, which begins a setup before it."""
        self.number += 1
        attempt = (1, self.number)
        self.hear(HUB, m.RunSlice("j", attempt, 0, 0, 10))
        self.hear(SLOT, m.SetupBegun(attempt, "model"))
        return attempt

    def die(self, reason: str = "killed by SIGKILL", stderr: str = "") -> None:
        self.hear(orders.LOCAL, orders.SlotDied(0, 0, reason, stderr))
        self.hear(SLOT, m.SlotReady(1))


@pytest.fixture
def world() -> World:
    return World()


def test_the_hub_hears_of_the_setup_and_of_its_end(world: World) -> None:
    attempt = world.run()
    world.hear(SLOT, m.SliceBegun(attempt))
    assert world.told(m.SetupBegun, m.SliceBegun) == [m.SetupBegun(attempt, "model"), m.SliceBegun(attempt)]


def test_after_a_reconnect_the_items_of_a_setup_count_as_not_begun(world: World) -> None:
    attempt = world.run()
    for is_early in (True, False):
        world.hear(orders.LOCAL, orders.HubLost("gone"))
        world.told()
        world.hear(HUB, m.Welcome(1, "h1", 1, "box", "0.1.0"))
        (facts,) = world.told(m.WorkerFacts)
        assert facts.held == (m.HeldAttempt("j", attempt, 0, 0, 10, True, is_early),)
        world.hear(SLOT, m.SliceBegun(attempt))


def test_a_slot_that_dies_in_a_setup_gives_its_slice_back_and_blames_no_item(world: World) -> None:
    attempt = world.run()
    world.die()
    assert world.told(m.SliceEnded, m.SlotCrashed, m.JobRefused) == [
        m.SliceEnded(attempt, "its slot died in setup 'model': killed by SIGKILL")
    ]


def test_after_the_setup_the_item_is_to_blame(world: World) -> None:
    attempt = world.run()
    world.hear(SLOT, m.SliceBegun(attempt))
    world.die()
    assert world.told(m.SliceEnded, m.SlotCrashed) == [m.SlotCrashed(attempt, 0, "killed by SIGKILL")]


def test_a_job_whose_setup_ends_the_process_again_and_again_is_refused(world: World) -> None:
    for _ in range(world.machine.policy.max_setup_crashes):
        assert not world.told(m.JobRefused)
        world.run()
        world.die(stderr="loading\nout of memory")
    (refused,) = world.told(m.JobRefused)
    reason = "setup 'model' has ended its process 3 times in a row: killed by SIGKILL\nout of memory"
    assert refused == m.JobRefused("j", reason, setup=True)


def test_one_that_gets_through_makes_good_for_those_before(world: World) -> None:
    for number in range(5):
        attempt = world.run()
        if number % 2:
            world.hear(SLOT, m.SliceBegun(attempt), m.SliceEnded(attempt))
        else:
            world.die()
    assert not world.told(m.JobRefused)


def test_one_that_was_killed_because_nobody_wants_it_does_not_count(world: World) -> None:
    for _ in range(4):
        world.hear(HUB, m.CancelAttempt(world.run()))
        world.pass_time(world.machine.policy.grace_seconds)
        assert world.told(orders.KillSlot, peer=orders.LOCAL)
        world.die()
    assert not world.told(m.JobRefused)


def test_a_setup_that_fails_is_told_with_its_reason(world: World) -> None:
    attempt = world.run()
    world.told()
    world.hear(SLOT, m.TaskRefused("j", attempt, "setup 'model', line 3: OSError", setup=True))
    assert world.told(m.JobRefused, m.SliceEnded) == [
        m.JobRefused("j", "setup 'model', line 3: OSError", setup=True),
        m.SliceEnded(attempt, "setup 'model', line 3: OSError"),
    ]


def test_a_worker_that_leaves_does_not_wait_for_a_setup(world: World) -> None:
    attempt = world.run()
    world.hear(orders.LOCAL, orders.UserLeaves("bye"))
    assert world.told(orders.CutClaim, peer=orders.LOCAL) == [orders.CutClaim(0, attempt, 1.0)]
    world.hear(orders.LOCAL, orders.ClaimCut(0, attempt, 0))
    assert world.told(orders.InterruptSlot, peer=orders.LOCAL) == [orders.InterruptSlot(0, attempt)]


def test_its_time_is_no_items_time(world: World) -> None:
    world.hear(HUB, m.PrepareJob("k", m.JobOptions(time_limit=1.0), ranges=((0, 100, 1),)))
    world.hear(orders.LOCAL, orders.JobInPlace("k"))
    world.hear(HUB, m.RunSlice("k", (1, 9), 0, 0, 10))
    world.hear(SLOT, m.SetupBegun((1, 9), "model"))
    for _ in range(20):
        world.pass_time(1.0)
        for _ in world.told(orders.LookAtItem, peer=orders.LOCAL):
            world.hear(orders.LOCAL, orders.ItemSeen(0, (1, 9), 0, 0.0))
    assert not world.told(orders.KillSlot, orders.NudgeSlot, peer=orders.LOCAL)
