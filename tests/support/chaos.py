"""Rounds of chaos: a job with a known answer, and trouble at random moments from a seed while it runs."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import psutil

import nbdist
from benchmarks import kinds

SEED_VARIABLE = "NBDIST_CHAOS_SEED"
ROUNDS_VARIABLE = "NBDIST_CHAOS_ROUNDS"
ROUNDS = 50
LIMIT_SECONDS = 60.0
"""For one job."""
FIRST_SECONDS = 0.8
"""The first trouble of a round comes within this time, each further one within the same time again."""
MAX_TROUBLES = 3
"""In one round: an item that was running in five lost machines would rightly fail."""

HUB_IS_KILLED = "the hub is killed"
KERNEL_WEIGHT = 3
"""Against those of `kinds.WEIGHTS`."""
ROOT = Path(__file__).resolve().parents[2]
KERNEL = """
import sys, time, nbdist
_, address, items, steps = sys.argv
steps = int(steps)
def work(x):
    return x, sum(range(x % steps))
def connect():
    deadline = time.monotonic() + 60
    while True:
        try:
            return nbdist.connect(address or None)
        except nbdist.NbdistError:  # its hub has just been killed: a person would try again, too
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
job = connect().map(work, range(int(items)))
while not job.progress.done:
    job.wait(0.01)
print(job.id, flush=True)
time.sleep(600)
"""
"""A notebook's process: it says its job's id once the hub has results of it."""

Fault: TypeAlias = Callable[[random.Random], None]

_seed = int(os.environ.get(SEED_VARIABLE) or random.SystemRandom().randrange(10**6))


def seed() -> int:
    """Of this run."""
    return _seed


def rounds() -> int:
    """How many, of all worlds together."""
    return int(os.environ.get(ROUNDS_VARIABLE) or ROUNDS)


# --- trouble ----------------------------------------------------------------------------------------------------------


@dataclass
class Trouble:
    """What happens during one round, drawn beforehand; it happens on a thread of its own."""

    faults: dict[str, Fault]
    chance: random.Random
    told: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def during(self) -> Iterator[None]:
        """Things happen inside; behind it everything is mended."""
        over = threading.Event()
        plan = [
            (self.chance.uniform(0.0, FIRST_SECONDS), self.chance.choice(list(self.faults)))
            for _ in range(self.chance.randint(1, MAX_TROUBLES))
        ]
        thread = threading.Thread(target=self._happen, args=(plan, over))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        assert not self.errors, "\n".join(self.errors)

    def _happen(self, plan: list[tuple[float, str]], over: threading.Event) -> None:
        for after_seconds, name in plan:
            if over.wait(after_seconds):
                return
            self.told.append(f"{name} after {after_seconds:.2f} s")
            try:
                self.faults[name](self.chance)
            except Exception:  # noqa: BLE001 - the test tells it
                self.errors.append(f"{name}: {traceback.format_exc()}")
                return


def play(pool: nbdist.Pool, faults: dict[str, Fault], name: str, count: int, address: str = "") -> list[str]:
    """So many rounds; each has a chance of its own, so that a single one can be seen again. Gives what happened.

    `address`: where kernels find the pool; empty: they look for it themselves.
    """
    told = []
    faults = one_at_a_time(faults)
    for number in range(count):
        chance = random.Random(f"{seed()}/{name}/{number}")

        def a_killed_kernel(pool: nbdist.Pool, limit_seconds: float, chance: random.Random = chance) -> None:
            kill_kernel(pool, limit_seconds, random.Random(chance.random()), address, faults[HUB_IS_KILLED])

        kind = chance.choices([*kinds.ALL, a_killed_kernel], [*kinds.WEIGHTS, KERNEL_WEIGHT])[0]
        trouble = Trouble(faults, chance)
        print(f"{name}, round {number}: {kind.__name__}")  # of a test that fails
        try:
            with trouble.during():
                kind(pool, LIMIT_SECONDS)
        finally:
            told += trouble.told
            print(f"  {'; '.join(trouble.told) or 'nothing happened in time'}")
    return told


def one_at_a_time(faults: dict[str, Fault]) -> dict[str, Fault]:
    """The same, for several threads."""
    lock = threading.Lock()

    def guarded(fault: Fault) -> Fault:
        def happen(chance: random.Random) -> None:
            with lock:
                fault(chance)

        return happen

    return {name: guarded(fault) for name, fault in faults.items()}


def kill_kernel(pool: nbdist.Pool, limit_seconds: float, chance: random.Random, address: str, kill_hub: Fault) -> None:
    """The notebook's process of a job dies, sometimes with the hub; another one takes the job over."""
    words = [sys.executable, "-c", KERNEL, address, str(kinds.ITEMS), str(kinds.MOST_STEPS)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as kernel:
        try:
            assert kernel.stdout is not None
            job = kernel.stdout.readline().strip()
            assert job, "the kernel has ended before it had results"
            pause(chance, 0.0, 1.0)
        finally:
            kernel.kill()
    if chance.random() < 0.5:
        kill_hub(chance)
    assert list(attach(pool, job, limit_seconds).result(limit_seconds)) == kinds.ANSWER


def attach(pool: nbdist.Pool, job: str, limit_seconds: float) -> nbdist.Job:
    """Once the hub has noticed that the job's notebook is gone."""
    deadline = time.monotonic() + limit_seconds
    while True:
        try:
            return pool.attach(job)
        except nbdist.NbdistError as error:
            if time.monotonic() > deadline or "still open" not in str(error):
                raise
        threading.Event().wait(0.05)


def pause(chance: random.Random, least_seconds: float, most_seconds: float) -> None:
    """How long a trouble lasts."""
    threading.Event().wait(chance.uniform(least_seconds, most_seconds))


def stand_still(pid: int, chance: random.Random) -> None:
    """Stops a process for a moment, as a swapping machine or a closed lid does."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        try:
            pause(chance, 0.05, 1.5)
        finally:
            os.kill(pid, signal.SIGCONT)


def kill(process: psutil.Process) -> None:
    """At once, and returns when it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()
        psutil.wait_procs([process], timeout=LIMIT_SECONDS)


def slots_below(agent: psutil.Process) -> list[psutil.Process]:
    """The slots' processes: those below the agent that have none below themselves."""
    try:
        return [process for process in agent.children(recursive=True) if not process.children()]
    except psutil.NoSuchProcess:
        return []
