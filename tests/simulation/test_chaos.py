"""Whatever happens to workers and connections, each item of each job has exactly one result.

One seed makes one world. To look into a failure: `pytest tests/simulation/test_chaos.py -k "seed_123]"`.
"""

from __future__ import annotations

import random
from itertools import accumulate, pairwise

import pytest
from simulation import Costs, SimJob, SimWorker, World

from nbdist.wire import messages as m
from nbdist.wire.resuming import again

SEEDS = range(1_000)
SEEDS_A_TEST = 50
MAX_RESUMED = 4
"""A job is resumed so often."""
REGRESSIONS = [283, 727, 761]
"""Seeds that once found a bug."""


class Chaos:
    """One random world: machines of all kinds, jobs of all kinds, and faults until the jobs are done."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.world = World(seed, latency=10 ** self.rng.uniform(-4, -1.3), codec=seed % 20 == 0)
        self.world.add_notebook()
        for number in range(self.rng.randint(1, 5)):
            self.add_worker(number)
        self.steady = self.world.add_worker("steady", 1, 1.0)
        """One worker stays well, so that the jobs can end."""
        self.jobs = [self.make_job(number) for number in range(self.rng.choice([1, 1, 1, 2, 3]))]
        self.liars = seed % 7 == 0
        self.faults_left = self.rng.randint(0, 12)
        self.hub_dies = self.rng.random() < 0.5
        if self.hub_dies:
            self.world.flush_seconds = self.rng.choice([0.0, 0.002, 0.1])
        self.next_worker = 100

    def add_worker(self, number: int) -> None:
        self.world.add_worker(f"w{number}", self.rng.randint(1, 4), 2 ** self.rng.uniform(-2, 2))

    def make_job(self, number: int) -> SimJob:
        rng = self.rng
        total = int(10 ** rng.uniform(0, 2.7))
        cost = 10 ** rng.uniform(-3.5, -0.7)
        costs = [min(20.0, cost * rng.paretovariate(1.3)) for _ in range(total)]
        items = range(total)
        some = lambda chance: frozenset(i for i in items if rng.random() < chance / total)  # noqa: E731
        keep = rng.random() < 0.7
        options = m.JobOptions(
            on_error="keep" if keep else "stop",
            retries=rng.choice([0, 0, 1, 3]),
            task_size=rng.choice([0, 0, 0, 1, 7]),
            speculate=rng.random() < 0.8,
        )
        blocks = None
        if rng.random() < 0.4:
            cuts = sorted({0, total, *(rng.randrange(total + 1) for _ in range(rng.randint(0, 20)))})
            blocks = [b - a for a, b in pairwise(cuts)]
        large: frozenset[int] = frozenset()
        if blocks is not None and self.seed % 2:
            starts = [0, *accumulate(blocks)][:-1]
            large = frozenset(start for start in starts if start % 3)
        return SimJob(
            f"job{number}",
            Costs(costs),
            total,
            options=options,
            arrives=blocks,
            large=large,
            fetch_seconds=1.0 if self.seed % 3 else 0.01,
            lost_fetches=100.0 if self.seed % 5 == 0 else 0.0,
            poison=some(1.0) if rng.random() < 0.3 else frozenset(),
            failing={i: rng.randint(1, 3) for i in some(2.0)} if rng.random() < 0.4 else {},
            stuck=self.seed % 4 == 0,
            result_bytes=200_000_000 if self.seed % 3 == 1 else 0,
            take_seconds=3.0,
            stop_at=some(0.5) if rng.random() < 0.2 else frozenset(),
            prepare_seconds=rng.choice([0.0, 0.01, 2.0]),
            refused_by=frozenset({"w0"}) if rng.random() < 0.2 else frozenset(),
            setup_seconds=(0.0, 0.3, 0.0, 8.0)[self.seed % 4],
            setup_fails_on=frozenset({"w0", "w1"}) if self.seed % 8 == 1 else frozenset(),
        )

    def run(self) -> None:
        for job in self.jobs:
            self.world.after(self.rng.uniform(0, 1), lambda job=job: self.world.submit(job))  # type: ignore[misc]
            if self.rng.random() < 0.1:
                self.world.after(self.rng.uniform(0, 3), lambda job=job: self.cancel(job))  # type: ignore[misc]
        self.plan_fault()
        self.world.run(lambda: all(job.finished is not None for job in self.jobs))
        for job in self.jobs:
            self.check(job)
        if not self.liars:
            assert not [order for _, order in self.world.disconnected if order.code == "protocol"]

    def cancel(self, job: SimJob) -> None:
        self.world.to_hub("notebook", m.CancelJob(job.id, "user"))

    def plan_fault(self) -> None:
        if self.faults_left:
            self.faults_left -= 1
            self.world.after(self.rng.expovariate(1.5), self.fault)

    def fault(self) -> None:
        rng = self.rng
        if self.hub_dies and rng.random() < 0.3:
            self.world.restart_hub(10 ** rng.uniform(-2, 1.3))
        alive = [w for w in self.world.workers.values() if not w.dead and w is not self.steady]
        if alive:
            worker = rng.choice(alive)
            action = rng.choice(["die", "vanish", "cut", "freeze", "long freeze", "drop", "leave", "lie"])
            self.do(action, worker)
        if rng.random() < 0.4:
            self.next_worker += 1
            self.add_worker(self.next_worker)
        self.plan_fault()

    def do(self, action: str, worker: SimWorker) -> None:
        rng = self.rng
        if action == "die":
            worker.die(silently=False)
        elif action == "vanish":
            worker.die(silently=True)
        elif action == "cut":
            worker.cut_cable(10 ** rng.uniform(-1, 1.3))
        elif action == "freeze":
            worker.freeze(rng.uniform(0.01, 7))
        elif action == "long freeze":
            worker.freeze(rng.uniform(7, 30))
        elif action == "drop":
            worker.drop_connection()
        elif action == "leave":
            worker.leave()
        elif self.liars:
            self.lie(worker)

    def lie(self, worker: SimWorker) -> None:
        """Sends something that no honest worker sends."""
        rng = self.rng
        worker.lied = True
        job = rng.choice(self.jobs)
        number = rng.randint(1, 60)
        attempt = (rng.choice([1, 1, 1, 2]), number)
        start = rng.randint(-2, job.total)
        stop = start + rng.randint(-1, 50)
        lie = rng.choice(
            [
                m.Part(job.id, attempt, start, stop, rng.uniform(-1, 1), rng.random() < 0.5),
                m.SliceCut(attempt, start),
                m.SliceEnded(attempt),
                m.SlotCrashed(attempt, start, "lie"),
                m.Heartbeat((m.RunningItem(7, attempt, start),)),
                m.WorkerFacts((m.HeldAttempt(job.id, attempt, 0, 0, 5, True),)),
                m.JobReady(job.id),
                m.JobReady("no such job"),
                m.SubmitJob("evil", "evil", m.Machine("h", "linux", "x", "3.11", "cpython", "0"), m.JobOptions()),
            ]
        )
        connection = self.world._connection.get(worker.name)
        self.world._arrive(worker.name, connection, lie, 0) if connection is not None else None

    def check(self, job: SimJob) -> None:
        self.world.check_job(job)
        assert job.finished is not None
        outcome = job.finished.outcome
        allowed = {"done", "cancelled"}
        if job.options.on_error == "stop":
            allowed.add("failed")
        if job.stop_at:
            allowed.add("stopped")
        assert outcome in allowed
        if outcome == "done":
            assert not job.held, "blobs of finished items are still at the hub"
        if outcome == "done" and not self.liars:
            assert set(job.faults) >= job.poison
            for item, fault in job.faults.items():
                assert fault.kind in ("crashed" if item in job.poison else "lost", "timeout" if job.stuck else "lost")
                if fault.kind == "timeout":
                    assert fault.attempts == job.options.retries + 1


class FrozenHub(Chaos):
    """A random world in which the hub stands still now and then; its machines are well, or have all their faults."""

    def __init__(self, seed: int, *, with_faults: bool) -> None:
        super().__init__(seed)
        self.freezes_left = 4
        if not with_faults:
            self.faults_left = 0

    def plan_fault(self) -> None:
        super().plan_fault()
        if self.freezes_left:
            self.freezes_left -= 1
            self.world.after(self.rng.expovariate(0.3), lambda: self.world.freeze_hub(10 ** self.rng.uniform(-1, 1.7)))


class Resuming(Chaos):
    """A random world whose jobs are cancelled often, and resumed until they are whole or it was often enough."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.resumed = 0
        self.waiting: set[str] = set()
        """Jobs that may still be resumed."""
        for job in self.jobs:
            self.spoil(job)

    def make_job(self, number: int) -> SimJob:
        job = super().make_job(number)
        options = m.JobOptions(
            reduce=self.rng.random() < 0.3,
            on_error=job.options.on_error,
            retries=job.options.retries,
            task_size=job.options.task_size,
        )
        job.options, job.stop_at = options, frozenset()
        return job

    def spoil(self, job: SimJob) -> None:
        """It may be cancelled at any time, also before it is there; and may be resumed once it has ended."""
        self.waiting.add(job.id)
        if self.rng.random() < 0.7:
            whole = job.costs.between(0, job.total) / sum(sum(w.speeds) for w in self.world.workers.values())
            self.world.after(self.rng.uniform(0, 1 + 1.5 * whole), lambda: self.cancel(job))
        self.world.after(0.5, lambda: self.look(job))

    def look(self, job: SimJob) -> None:
        if job.finished is None or self.world.hub_is_down:
            self.world.after(0.5, lambda: self.look(job))
            return
        self.waiting.discard(job.id)
        if self.rng.random() < 0.3:
            self.world.drop_results(job, self.rng.randrange(len(job.results) + 1))
        if len(job.leaves()) < job.total and job.id.count("+") < MAX_RESUMED:
            self.resume(job)

    def resume(self, job: SimJob) -> None:
        """With other code, which fails elsewhere, and items that come in other blocks."""
        fixed = SimJob(
            job.id + "+",
            job.costs,
            job.total,
            options=job.options,
            arrives=None if job.arrives is None else self.other_cuts(job.total),
            poison=frozenset(item for item in job.poison if self.rng.random() < 0.3),
            failing={item: 2 for item in range(job.total) if self.rng.random() < 0.3 / job.total},
            resumes=job.id,
        )
        self.jobs.append(fixed)
        self.resumed += 1
        self.world.submit(fixed)
        self.spoil(fixed)

    def other_cuts(self, total: int) -> list[int]:
        cuts = sorted({0, total, *(self.rng.randrange(total + 1) for _ in range(5))})
        return [b - a for a, b in pairwise(cuts)]

    def run(self) -> None:
        super().run()
        self.world.run(lambda: not self.waiting and all(job.finished is not None for job in self.jobs))
        for job in self.jobs:
            self.check(job)

    def check(self, job: SimJob) -> None:
        super().check(job)
        assert job.taken.isdisjoint(job.got)
        if job.resumes:
            self.check_chain(job)

    def check_chain(self, job: SimJob) -> None:
        """What its notebook puts together from the logs of the chain is what the hub counts as done."""
        before = self.world.jobs[job.resumes]
        found: list[int] = []
        while True:
            for result in before.results[before.dropped_results :]:
                left_out = {i for a, b in again(result, folds=job.options.reduce) for i in range(a, b)}
                found += [item for item in range(result.start, result.stop) if item not in left_out]
            if not before.resumes:
                break
            before = self.world.jobs[before.resumes]
        assert len(found) == len(set(found))
        assert set(found) == job.taken


class MixedVersions(Chaos):
    """A random world of several versions of Python; notebooks are slow to pack, refuse, and are away now and then."""

    def __init__(self, seed: int) -> None:
        self.more = random.Random(f"versions {seed}")
        super().__init__(seed)
        for job in self.jobs:
            job.pack_seconds = self.more.choice([0.0, 0.0, 0.01, 2.0, 10_000.0])
            job.refuses_source = self.more.random() < 0.2
            if job.arrives and self.more.random() < 0.2:
                job.native_from = self.more.choice([0, *accumulate(job.arrives)])
        self.absences = self.more.choice([0, 0, 1, 3])

    def add_worker(self, number: int) -> None:
        python = self.more.choice(["3.11.2", "3.12.1", "3.12.9", "3.13.0"])
        self.world.add_worker(f"w{number}", self.rng.randint(1, 4), 2 ** self.rng.uniform(-2, 2), python)

    def run(self) -> None:
        for _ in range(self.absences):
            when, seconds = self.more.uniform(0, 6), 10 ** self.more.uniform(-1, 1.5)
            self.world.after(when, lambda seconds=seconds: self.world.lose_notebook("notebook", seconds))  # type: ignore[misc]
        super().run()


@pytest.mark.parametrize("first", range(0, 300, SEEDS_A_TEST))
def test_each_item_has_exactly_one_result_on_machines_of_several_versions(first: int) -> None:
    elsewhere = 0
    for seed in range(first, first + SEEDS_A_TEST):
        chaos = MixedVersions(seed)
        try:
            chaos.run()
        except BaseException as error:
            error.add_note(f"world of seed {seed}")
            raise
        elsewhere += sum(job.ran_elsewhere > 0 for job in chaos.jobs)
    assert elsewhere >= SEEDS_A_TEST // 4


@pytest.mark.parametrize("first", range(0, 200, SEEDS_A_TEST))
def test_a_hub_that_stood_still_loses_no_healthy_worker(first: int) -> None:
    for seed in range(first, first + SEEDS_A_TEST):
        chaos = FrozenHub(seed, with_faults=False)
        for _ in range(3):
            chaos.plan_fault()
        chaos.run()
        assert chaos.world.disconnected == [], f"world of seed {seed}"
        assert set(chaos.world.scheduler.state.workers) == set(chaos.world.workers)
        assert all(fault.kind != "lost" for job in chaos.jobs for fault in job.faults.values())


@pytest.mark.parametrize("first", range(1_000, 1_200, SEEDS_A_TEST))
def test_each_item_has_exactly_one_result_although_the_hub_stands_still(first: int) -> None:
    for seed in range(first, first + SEEDS_A_TEST):
        try:
            FrozenHub(seed, with_faults=True).run()
        except BaseException as error:
            error.add_note(f"world of seed {seed}")
            raise


@pytest.mark.parametrize("first", SEEDS[::SEEDS_A_TEST])
def test_each_item_has_exactly_one_result(first: int) -> None:
    for seed in range(first, first + SEEDS_A_TEST):
        try:
            Chaos(seed).run()
        except BaseException as error:
            error.add_note(f"world of seed {seed}")
            raise


@pytest.mark.parametrize("first", range(0, 400, SEEDS_A_TEST))
def test_what_is_done_never_runs_again_and_the_rest_once(first: int) -> None:
    resumed = 0
    for seed in range(first, first + SEEDS_A_TEST):
        chaos = Resuming(seed)
        try:
            chaos.run()
        except BaseException as error:
            error.add_note(f"world of seed {seed}")
            raise
        resumed += chaos.resumed
    assert resumed >= SEEDS_A_TEST


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_seeds_that_once_found_a_bug(seed: int) -> None:
    Chaos(seed).run()
