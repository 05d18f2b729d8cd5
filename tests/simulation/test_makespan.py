"""The scheduler's cost: makespan against (total work / total speed), and no healthy worker lost."""

from __future__ import annotations

import random
from typing import TypeAlias

import pytest
from simulation import Costs, SimJob, World

Speed: TypeAlias = float | tuple[float, ...]


def makespan_over_ideal(seed: int, speeds: list[tuple[int, Speed]], costs: list[float], **options: object) -> float:
    """Runs one job on machines of (slots, speed, or that of each slot) and gives makespan / ideal."""
    world = World(seed)
    world.add_notebook()
    for number, (slots, speed) in enumerate(speeds):
        world.add_worker(f"w{number}", slots, speed)
    world.run(lambda: len(world.scheduler.state.workers) == len(speeds) and world.now > 0.01)
    job = SimJob("job", Costs(costs), len(costs), **options)  # type: ignore[arg-type]
    started = world.now
    world.submit(job)
    world.run(lambda: job.finished is not None)
    world.check_job(job)
    assert not world.disconnected
    return (job.finished_at - started) / (sum(costs) / total_speed(speeds))


def total_speed(speeds: list[tuple[int, Speed]]) -> float:
    return sum(slots * speed if isinstance(speed, float) else sum(speed) for slots, speed in speeds)


def even(seed: int, items: int, cost: float) -> list[float]:
    return [cost] * items


def growing(seed: int, items: int, cost: float) -> list[float]:
    return [2 * cost * (index + 0.5) / items for index in range(items)]


def hundredfold(seed: int, items: int, cost: float) -> list[float]:
    """From cost / 10 to cost * 10, as many of each magnitude."""
    rng = random.Random(seed)
    return [cost * 10 ** rng.uniform(-1, 1) for _ in range(items)]


MACHINES = {
    "one": [(2, 1.0)],
    "two alike": [(4, 1.0), (4, 1.0)],
    "eightfold": [(4, 8.0), (4, 1.0), (2, 4.0), (8, 2.0)],
    "one slow": [(1, 1.0), (1, 1.0), (1, 1.0), (1, 0.125)],
    "one slow slot": [(4, (1.0, 1.0, 1.0, 0.125))],
}


@pytest.mark.parametrize("machines", MACHINES)
@pytest.mark.parametrize("shape", [even, growing, hundredfold])
@pytest.mark.parametrize("seed", range(3))
def test_divisible_work_ends_within_five_percent_of_ideal(machines: str, shape: object, seed: int) -> None:
    speeds = MACHINES[machines]
    costs = shape(seed, 4000, 0.01 * total_speed(speeds) / 4)  # type: ignore[operator]
    assert makespan_over_ideal(seed, speeds, costs) <= 1.05


@pytest.mark.parametrize("speeds", [[(1, 1.0), (1, 0.125)], [(2, (1.0, 0.125))]], ids=["two machines", "one machine"])
@pytest.mark.parametrize("seed", range(12))
def test_one_slot_eight_times_slower_with_items_from_a_millisecond_to_a_second(
    seed: int, speeds: list[tuple[int, Speed]]
) -> None:
    rng = random.Random(seed)
    costs = [10 ** rng.uniform(-3, 0) for _ in range(200)]
    assert makespan_over_ideal(seed, speeds, costs) <= 1.05


def test_a_frozen_machine_costs_its_silence_and_no_healthy_worker_is_lost() -> None:
    world = World(3)
    world.add_notebook()
    for number in range(4):
        world.add_worker(f"w{number}", 2, 1.0)
    world.run(lambda: len(world.scheduler.state.idle) == 8)
    job = SimJob("job", Costs([0.01] * 16_000), 16_000)
    started = world.now
    world.submit(job)
    world.after(5.0, lambda: world.workers["w2"].freeze(60.0))
    world.run(lambda: job.finished is not None)
    world.check_job(job)
    assert [peer for peer, _ in world.disconnected] == ["w2"]
    ideal = 5.0 + (160.0 - 5.0 * 8) / 6
    assert (job.finished_at - started) / ideal <= 1.05
