"""Jobs that run at the same time share the pool, whatever their items are like."""

from __future__ import annotations

import pytest
from simulation import EvenCosts, SimJob, World

SLOTS = 4
JOIN_SECONDS = 0.01


def pool() -> World:
    world = World(1)
    world.add_notebook()
    world.add_worker("w0", SLOTS // 2, 1.0)
    world.add_worker("w1", SLOTS // 2, 1.0)
    world.run(lambda: len(world.scheduler.state.workers) == 2 and world.now > JOIN_SECONDS)
    return world


def submitted(world: World, name: str, items: int, cost: float) -> SimJob:
    job = SimJob(name, EvenCosts(cost), items)
    world.submit(job)
    return job


def share_of(world: World, job: SimJob, other: SimJob, seconds: float) -> float:
    """What part of the pool's work for two jobs is the first one's, over so many seconds."""
    records = [world.scheduler.state.jobs[each.id] for each in (job, other)]
    before = [record.finished_items for record in records]
    until = world.now + seconds
    world.run(lambda: world.now >= until)
    work = [
        (record.finished_items - first) * each.costs.between(0, 1)
        for record, first, each in zip(records, before, (job, other), strict=True)
    ]
    return work[0] / sum(work)


@pytest.mark.parametrize("cost", [0.0001, 0.01, 0.2, 0.7, 3.0])
@pytest.mark.parametrize("other_cost", [0.0001, 0.02, 0.7, 3.0])
def test_a_job_that_comes_later_gets_half_of_the_pool(cost: float, other_cost: float) -> None:
    world = pool()
    first = submitted(world, "first", int(10_000 / other_cost), other_cost)
    world.run(lambda: world.now > 20.0)
    second = submitted(world, "second", int(10_000 / cost), cost)
    world.run(lambda: world.now > 40.0)  # both speeds are known, and what the first had begun is over
    assert 0.42 < share_of(world, second, first, 120.0) < 0.58


@pytest.mark.parametrize("cost", [0.01, 0.7, 3.0])
def test_a_job_of_which_nothing_is_known_begins_soon_and_does_not_take_everything(cost: float) -> None:
    world = pool()
    first = submitted(world, "first", 10_000_000, 0.001)
    world.run(lambda: world.now > 20.0)
    submitted(world, "second", int(1_000 / cost), cost)
    begun = world.now
    record = world.scheduler.state.jobs
    world.run(lambda: bool(record.get("second") and record["second"].attempts))
    assert world.now - begun < 0.6  # one slice of the first
    done = record["first"].finished_items
    until = world.now + 2.5
    world.run(lambda: world.now >= until)
    assert (record["first"].finished_items - done) * 0.001 > 0.3 * SLOTS * 2.5
    assert first.finished is None


def test_an_old_job_goes_on_while_short_ones_come_and_go() -> None:
    world = pool()
    submitted(world, "old", 10_000_000, 0.01)
    world.run(lambda: world.now > 20.0)
    record = world.scheduler.state.jobs["old"]
    done, begun = record.finished_items, world.now
    for number in range(30):
        short = submitted(world, f"short {number}", 40, 0.1)
        world.run(lambda short=short: short.finished is not None)
    worked = (record.finished_items - done) * 0.01
    assert worked > 0.4 * SLOTS * (world.now - begun)
    assert world.now - begun < 30 * 4.0
