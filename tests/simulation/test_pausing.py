"""Results pour in faster than a notebook takes them: what waits is bounded, others run on, all of it arrives."""

from __future__ import annotations

import random

import pytest
from simulation import Costs, SimJob, World

from nbdist.scheduler.policy import Policy

MB = 10**6
LIMIT = 50 * MB
POLICY = Policy(results_bytes=LIMIT)
WORKERS, SLOTS = 3, 2


def pool(seed: int) -> World:
    world = World(seed, policy=POLICY)
    world.add_notebook()
    for number in range(WORKERS):
        world.add_worker(f"w{number}", SLOTS, 1.0)
    world.run(lambda: len(world.scheduler.state.idle) == WORKERS * SLOTS)
    return world


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("restarts", [False, True])
def test_what_waits_is_bounded_and_everything_arrives(seed: int, restarts: bool) -> None:
    world, rng = pool(seed), random.Random(seed)
    poured = SimJob("poured", Costs([0.02] * 1500), 1500, result_bytes=MB, take_seconds=rng.choice([5.0, 60.0]))
    other = SimJob("other", Costs([0.02] * 1500), 1500)
    world.submit(poured)
    world.submit(other)
    if restarts:
        world.flush_seconds = 0.01
        world.after(rng.uniform(0.5, 6.0), lambda: world.restart_hub(0.3))
    started = world.now
    world.run(lambda: poured.finished is not None and other.finished is not None)
    for job in (poured, other):
        world.check_job(job)
    in_flight = WORKERS * SLOTS * 2 * 0.5 / 0.02 * MB  # one runs and one waits at each slot, half a second each
    assert LIMIT < poured.most_waiting_bytes <= LIMIT + in_flight
    assert other.finished_at < poured.finished_at
    assert other.finished_at - started < 2 * 1500 * 0.02 / (WORKERS * SLOTS) + 3.0


def test_a_job_whose_notebook_takes_nothing_stays_paused_and_runs_nothing() -> None:
    world = pool(1)
    job = SimJob("poured", Costs([0.02] * 5000), 5000, result_bytes=MB, take_seconds=1e6)
    world.submit(job)
    world.run(lambda: world.scheduler.state.jobs.get("poured") is not None)
    world.run(lambda: world.scheduler.state.jobs["poured"].paused)
    state = world.scheduler.state
    world.run(lambda: not state.attempts)
    done, until = state.jobs["poured"].done.count, world.now + 60.0
    world.run(lambda: world.now >= until)
    assert state.jobs["poured"].done.count == done < 500
