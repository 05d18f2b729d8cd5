"""Ten thousand workers, and runs that can be replayed."""

from __future__ import annotations

import random

from simulation import Costs, EvenCosts, SimJob, World

from nbdist.scheduler import invariants
from nbdist.scheduler.machine import Scheduler


def test_ten_thousand_workers() -> None:
    world = World(7, latency=0.02)
    world.check_always = False
    world.add_notebook()
    rng = random.Random(7)
    speeds = [2 ** rng.uniform(-1, 1) for _ in range(10_000)]
    for number, speed in enumerate(speeds):
        world.add_worker(f"w{number}", 1, speed)
    world.run(lambda: len(world.scheduler.state.idle) == 10_000)
    job = SimJob("job", EvenCosts(0.01), 1_000_000)
    started = world.now
    world.submit(job)
    doomed = rng.sample(sorted(world.workers), 50)
    for name in doomed:
        world.after(rng.uniform(0.5, 2), lambda name=name: world.workers[name].die(silently=False))  # type: ignore[misc]
    world.run(lambda: job.finished is not None)
    world.check_job(job)
    invariants.check(world.scheduler.state)
    ideal = job.total * 0.01 / sum(speeds)
    took = job.finished_at - started
    print(f"{world.steps} steps, {took / ideal:.3f} of ideal")
    assert took / ideal < 1.4
    assert not world.disconnected


def test_recorded_inputs_replay_to_identical_outputs() -> None:
    world = World(11)
    world.record = True
    world.add_notebook()
    for number in range(4):
        world.add_worker(f"w{number}", 2, 1.0 + number)
    costs = [random.Random(11).paretovariate(1.2) * 0.001 for _ in range(2_000)]
    job = SimJob("job", Costs(costs), len(costs), poison=frozenset({77}), failing={5: 1})
    job.options = type(job.options)(on_error="keep", retries=1)
    world.submit(job)
    world.after(0.3, lambda: world.workers["w1"].die(silently=False))
    world.after(0.5, lambda: world.workers["w2"].freeze(10))
    world.run(lambda: job.finished is not None)
    again = Scheduler(1)
    outputs = [
        again.tick(entry) if isinstance(entry, float) else again.receive(*entry)  # type: ignore[arg-type]
        for entry in world.inputs
    ]
    assert len(outputs) > 50
    assert outputs == world.outputs
