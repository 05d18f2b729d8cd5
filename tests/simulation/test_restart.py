"""A hub that is killed at any moment goes on where its journal ends."""

from __future__ import annotations

import random

import pytest
from simulation import Costs, SimJob, World, machine

from nbdist.wire import messages as m


def long_job(items: int = 200, **options: object) -> SimJob:
    return SimJob("job", Costs([0.1] * items), items, **options)  # type: ignore[arg-type]


def pool(seed: int, workers: int = 4, *, flush_seconds: float = 0.002) -> World:
    world = World(seed)
    world.flush_seconds = flush_seconds
    world.add_notebook()
    for number in range(workers):
        world.add_worker(f"w{number}", 2, 1.0)
    world.run(lambda: len(world.scheduler.state.idle) == 2 * workers)
    return world


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("flush_seconds", [0.002, 0.5])
def test_what_is_running_is_adopted_and_what_is_done_is_not_run_again(seed: int, flush_seconds: float) -> None:
    world = pool(seed, flush_seconds=flush_seconds)
    job = long_job()
    started = world.now
    world.submit(job)
    world.after(random.Random(seed).uniform(0.3, 2.0), lambda: world.restart_hub(0.4))
    world.run(lambda: job.finished is not None)
    world.check_job(job)
    assert world.hub_starts == 2
    assert sum(worker.items_run for worker in world.workers.values()) == job.total
    assert not world.disconnected
    assert job.finished_at - started <= 200 * 0.1 / 8 + 0.4 + 1.0


def test_a_worker_that_does_not_come_back_holds_up_the_others_for_two_seconds_at_most() -> None:
    world = pool(1)
    job = long_job()
    started = world.now
    world.submit(job)

    def both_die() -> None:
        world.workers["w0"].die(silently=True)
        world.restart_hub(0.1)

    world.after(1.0, both_die)
    world.run(lambda: job.finished is not None)
    world.check_job(job)
    assert job.finished_at - started <= 1.0 + 0.1 + 2.0 + (200 * 0.1 - 8) / 6 + 1.0


@pytest.mark.parametrize("seed", range(30))
def test_restart_after_restart(seed: int) -> None:
    rng = random.Random(seed)
    world = pool(seed, flush_seconds=0.05)
    job = long_job(arrives=[20] * 10)
    world.submit(job)

    def again() -> None:
        if job.finished is None:
            world.restart_hub(10 ** rng.uniform(-2, 0.3))
            world.after(rng.uniform(0.1, 1.5), again)

    world.after(rng.uniform(0.0, 0.5), again)
    world.run(lambda: job.finished is not None)
    world.check_job(job)
    assert not world.disconnected


def test_a_cancelled_job_does_not_come_to_life_again() -> None:
    world = pool(5, flush_seconds=0.0)
    job = long_job()
    world.submit(job)

    def cancel_and_die() -> None:
        world.step("notebook", m.CancelJob("job", "user"), 0)
        world.restart_hub(0.5)

    world.after(0.5, cancel_and_die)
    world.run(lambda: job.finished is not None)
    assert job.finished is not None
    assert job.finished.outcome == "cancelled"
    world.run(lambda: not any(any(worker.running) for worker in world.workers.values()))


def test_an_item_gets_no_new_attempts_by_a_restart() -> None:
    world = pool(7, flush_seconds=0.0)
    job = SimJob("job", Costs([0.1] * 40), 40, options=m.JobOptions(on_error="keep"), poison=frozenset({17}))
    crashes = 0

    def count_crashes() -> None:
        nonlocal crashes
        crashes += 1
        world.restart_hub(0.1)

    for worker in world.workers.values():
        say = worker.say

        def listen(message: m.Message, say=say) -> None:  # type: ignore[no-untyped-def]
            say(message)
            if isinstance(message, m.SlotCrashed):
                world.after(0.01, count_crashes)

        worker.say = listen  # type: ignore[method-assign]
    world.submit(job)
    world.run(lambda: job.finished is not None)
    world.check_job(job)
    assert crashes >= job.faults[17].attempts == 3  # one while the hub is away is not held against it


def test_each_machine_has_its_item_after_a_restart() -> None:
    world = pool(9, flush_seconds=0.0)
    job = SimJob("job", Costs([1.0] * 4), 4, options=m.JobOptions(on_error="keep"))
    world.jobs["job"] = job
    world.to_hub("notebook", m.SubmitJob("job", "job", machine(), job.options, each="machine"))
    world.after(0.3, lambda: world.workers["w3"].die(silently=True))
    world.after(0.35, lambda: world.restart_hub(0.2))
    world.run(lambda: job.finished is not None)
    assert sorted(job.got.values()) == ["w0", "w1", "w2", "w3"]
    assert [fault.kind for fault in job.faults.values()] == ["lost"]


@pytest.mark.parametrize("seed", range(20))
def test_the_hub_dies_again_and_again_between_a_job_and_the_one_that_resumes_it(seed: int) -> None:
    rng = random.Random(seed)
    world = World(seed, latency=0.001)
    world.flush_seconds = 0.01
    world.add_notebook()
    for number in range(3):
        world.add_worker(f"w{number}", 2, 1.0)
    jobs = [SimJob("a", Costs([0.05] * 300), 300)]
    world.submit(jobs[0])

    def cancel(job: SimJob) -> None:
        if job.finished is None:  # the word may go down with the hub
            world.to_hub("notebook", m.CancelJob(job.id, "user"))
            world.after(0.3, lambda: cancel(job))

    def die() -> None:
        world.restart_hub(rng.uniform(0.01, 0.5))

    for _ in range(3):
        world.after(rng.uniform(0.2, 0.7), lambda job=jobs[-1]: cancel(job))  # type: ignore[misc]
        world.after(rng.uniform(0.1, 1.5), die)
        world.run(lambda: jobs[-1].finished is not None and not world.hub_is_down)
        world.after(rng.uniform(0.0, 0.2), die)
        jobs.append(SimJob(jobs[-1].id + "+", jobs[0].costs, 300, resumes=jobs[-1].id))
        world.submit(jobs[-1])
    world.after(rng.uniform(0.1, 1.0), die)
    world.run(lambda: jobs[-1].finished is not None)
    world.check_job(jobs[-1])
    assert jobs[-1].finished is not None
    assert jobs[-1].finished.outcome == "done"
    assert sum(worker.items_run for worker in world.workers.values()) <= 300 + 3 * 6 * 12
    assert not world.disconnected
