"""`python -m benchmarks.soak [--minutes M] [--seed N]`: jobs of all kinds and kills, for as long as you like.

A hub and two workers, ended and started again at random; memory, open files, threads and child processes of each are
looked at after each round, and the verdict says whether they have stayed where they were after the warm-up.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil

import nbdist
from benchmarks import kinds

LIMIT_SECONDS = 120.0
WARM_UP_SHARE = 0.25
"""Of the time: what grows in it is not counted."""
KILL_SECONDS = (4.0, 12.0)
"""Between two kills."""
SPARE_MB = 12.0
"""Memory may differ by so much: allocators keep what they have had."""
SPARE_SHARE = 0.10
SPARE_COUNT = 6
"""Files, threads, children: connections come and go."""


@dataclass
class Series:
    """One figure over time."""

    values: list[float] = field(default_factory=list)

    def row(self) -> tuple[float, float, float]:
        """The first after the warm-up, the highest, and the last (the median of the last few)."""
        warm = self.values[int(len(self.values) * WARM_UP_SHARE) :] or self.values
        return _middle(warm[:5]), max(warm), _middle(warm[-5:])

    def is_flat(self, is_memory: bool) -> bool:
        """Whether the end is where the beginning was."""
        first, _, last = self.row()
        return last <= first + (max(SPARE_MB, SPARE_SHARE * first) if is_memory else SPARE_COUNT)


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


class Pool:
    """A hub and two workers in processes of their own. One of the workers is never killed: it is the one looked at."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.start_hub()
        self.steady = self._worker()
        self._other = self._worker()

    def disturb(self, chance: random.Random) -> str:
        """Kills a slot of the steady worker, or the other worker, which is started again; or lets one stand still."""
        what = chance.choice(["slot", "agent", "hub stands still", "worker stands still"])
        if what == "slot":
            slots = [p for p in psutil.Process(self.steady.pid).children(recursive=True) if not p.children()]
            if slots:
                chance.choice(slots).kill()
        elif what == "agent":
            self._other.kill()
            self._other.wait()
            self._other = self._worker()
        else:
            pid = self.hub.pid if what.startswith("hub") else self.steady.pid
            os.kill(pid, signal.SIGSTOP)
            time.sleep(chance.uniform(0.1, 1.0))
            os.kill(pid, signal.SIGCONT)
        return what

    def kill_worker(self) -> None:
        """The one that is not looked at; nobody takes its place."""
        self._other.kill()
        self._other.wait()

    def kill_hub(self) -> None:
        """The jobs go on with the next one, on the same directory."""
        self.end_hub()
        self.start_hub()

    def end_hub(self) -> None:
        """With -9."""
        self.hub.kill()
        self.hub.wait()

    @property
    def other_pid(self) -> int:
        """The worker that may be killed."""
        return self._other.pid

    def end(self) -> None:
        """Ends everything in order: a worker that leaves hands its last results to the hub."""
        for process in (self.steady, self._other, self.hub):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()

    def start_hub(self) -> None:
        """Returns when it is ready."""
        self.hub = self._start("hub", "--state", str(self._folder / "state"))
        assert self.hub.stdout is not None
        self.connect = self.hub.stdout.readline().split()[1]
        self._invite = self.hub.stdout.readline().split()[1]

    def _worker(self) -> subprocess.Popen[str]:
        return self._start("worker", "--quiet", "--slots", "1", NBDIST_INVITE=self._invite)

    def _start(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-m", "nbdist", *words]
        with open(self._folder / f"{words[0]}.log", "ab") as log:
            environment = {**os.environ, "PYTHONPATH": str(Path(nbdist.__file__).parents[1]), **variables}
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)


def look(process: psutil.Process, found: dict[str, Series]) -> None:
    """Adds one look at a process."""
    with process.oneshot():
        found["RSS MB"].values.append(process.memory_info().rss / 2**20)
        found["open files"].values.append(process.num_fds())
        found["threads"].values.append(process.num_threads())
    found["children"].values.append(len(process.children(recursive=True)))


FIGURES = ("RSS MB", "open files", "threads", "children")


def soak(minutes: float, seed: int) -> bool:
    """Runs for so long and prints the table; whether everything has stayed flat."""
    chance = random.Random(seed)
    print(f"seed {seed}, {minutes} minutes", flush=True)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        pool = Pool(Path(folder))
        try:
            with nbdist.connect(pool.connect) as notebook:
                notebook.wait(workers=2)
                found, rounds, kills = _rounds(pool, notebook, chance, minutes * 60.0)
            left = sorted(path.name for path in (Path(folder) / "state" / "results").iterdir())
        finally:
            pool.end()
    print(f"{rounds} jobs, {kills} disturbances")
    if left:
        print(f"results of {len(left)} jobs are left in the hub's directory")
    return _print_table(found)


def _rounds(
    pool: Pool, notebook: nbdist.Pool, chance: random.Random, seconds: float
) -> tuple[dict[str, dict[str, Series]], int, int]:
    """Jobs and disturbances. The hub is killed in the first half only: what is looked at is the last one."""
    processes = {"hub": pool.hub.pid, "agent": pool.steady.pid, "notebook": os.getpid()}
    found = {name: {figure: Series() for figure in FIGURES} for name in processes}
    rounds = kills = 0
    start = time.monotonic()
    next_kill = start + chance.uniform(*KILL_SECONDS)
    with Disturber(pool, chance) as disturber:
        while (passed := time.monotonic() - start) < seconds:
            if time.monotonic() > next_kill:
                kills += 1
                next_kill = time.monotonic() + chance.uniform(*KILL_SECONDS)
                disturber.soon(passed < seconds / 2)
            chance.choice(kinds.ALL)(notebook, LIMIT_SECONDS)
            rounds += 1
            disturber.done()
            if pool.hub.pid != processes["hub"]:
                processes["hub"] = pool.hub.pid
                found["hub"] = {figure: Series() for figure in FIGURES}
            gc.collect()
            for name, pid in processes.items():
                look(psutil.Process(pid), found[name])
    notebook.clear()
    return found, rounds, kills


class Disturber:
    """Disturbs the pool in the middle of a job, from a thread."""

    def __init__(self, pool: Pool, chance: random.Random) -> None:
        self._pool = pool
        self._chance = random.Random(chance.random())
        self._threads = ThreadPoolExecutor(1)
        self._last: Future[object] | None = None

    def __enter__(self) -> Disturber:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()

    def soon(self, hub_too: bool) -> None:
        """Something happens in a moment."""
        self._last = self._threads.submit(self._disturb, hub_too)

    def done(self) -> None:
        """Returns once that is over; raises what it has raised."""
        if self._last is not None:
            self._last.result()

    def _disturb(self, hub_too: bool) -> None:
        time.sleep(self._chance.uniform(0.0, 0.8))
        if hub_too and self._chance.random() < 0.3:
            self._pool.kill_hub()
        else:
            self._pool.disturb(self._chance)


def _print_table(found: dict[str, dict[str, Series]]) -> bool:
    """The table and the verdict."""
    print(f"\n{'':10} {'':12} {'first':>10} {'max':>10} {'last':>10}")
    grown = []
    for name, figures in found.items():
        for figure, series in figures.items():
            first, most, last = series.row()
            is_flat = series.is_flat(figure == "RSS MB")
            print(f"{name:10} {figure:12} {first:10.1f} {most:10.1f} {last:10.1f}{'' if is_flat else '   GROWS'}")
            if not is_flat:
                grown.append(f"{figure} of the {name}")
    print(f"\nnot flat: {', '.join(grown)}" if grown else "\nflat: nothing has grown since the warm-up")
    return not grown


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a connection was lost is what is wanted here
        yield


def main() -> int:
    """0: flat."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    return 0 if soak(options.minutes, options.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
