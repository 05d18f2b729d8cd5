"""What the pages show, as JSON data: the pool, a job, a machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbdist.hub.pages.recording import MAX_TAIL_CHARS, Tails, Throughput
from nbdist.hub.scheduling import Looking
from nbdist.wire.frames import Payload

MAX_WORKERS = 500
MAX_JOBS = 200


class View:
    """The pool for who looks at it."""

    def __init__(self, machine: Looking, describe: Callable[[], dict[str, Any]], clock: Callable[[], float]) -> None:
        self._machine = machine
        self._describe = describe
        self._clock = clock
        self.throughput = Throughput()
        self.tails = Tails()

    def sample(self) -> None:
        """Notes how much is done; called every `recording.SAMPLE_SECONDS`."""
        self.throughput.note(self._clock(), *self._machine.totals())

    def printed(self, job: str, worker: str, item: int, text: Payload) -> None:
        """A job has printed something."""
        self.tails.add(job, worker, item, bytes(text[-4 * MAX_TAIL_CHARS :]).decode("utf-8", "replace"))

    def pool(self) -> dict[str, Any]:
        """`hub`, `workers` and `jobs` as of `scheduler.history.describe`, the first of each; `more_workers` and
        `more_jobs`, how many others there are; `throughput` (`Throughput.rows`); `events`."""
        pool = self._describe()
        workers, jobs = pool.get("workers", []), pool.get("jobs", [])
        shown = sorted(jobs, key=lambda job: job["state"] not in ("running", "waiting", "paused", "stopping"))
        return {
            "hub": pool.get("hub", {}),
            "workers": workers[:MAX_WORKERS],
            "more_workers": max(0, len(workers) - MAX_WORKERS),
            "jobs": shown[:MAX_JOBS],
            "more_jobs": max(0, len(jobs) - MAX_JOBS),
            "throughput": self.throughput.rows(self._clock()),
            "events": self._machine.events(self._clock()),
        }

    def job(self, job: str) -> dict[str, Any]:
        """As of `scheduler.looking.look_at_job`, with `output` (`Tails.of`); empty if it is not known."""
        found = self._machine.look_at_job(job, self._clock())
        return {**found, "output": self.tails.of(job)} if found else {}

    def worker(self, worker: str) -> dict[str, Any]:
        """As of `scheduler.looking.look_at_worker`; empty if it is not here."""
        return self._machine.look_at_worker(worker, self._clock())
