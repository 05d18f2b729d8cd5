"""A scheduler with workers that are driven by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nbdist.driver import Send
from nbdist.scheduler import invariants
from nbdist.scheduler.machine import Scheduler
from nbdist.scheduler.orders import STORES, BlobsReady
from nbdist.scheduler.policy import Policy
from nbdist.wire import messages as m

HOST = m.Machine("host", "linux", "x86_64", "3.11.7", "cpython", "0.1.0", cores=2)


class Hand:
    """Says things to a scheduler, one at a time, and collects what it answers."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.scheduler = Scheduler(1, policy)
        self.now = 0.0
        self.said: list[Send] = []
        """Everything that was said since the last `take`."""

    def say(self, peer: str, message: m.Message, size: int = 0) -> list[Send]:
        answer = self.scheduler.receive(peer, message, self.now, size)
        invariants.check(self.scheduler.state)
        self.said += answer
        return answer

    def wait(self, seconds: float) -> list[Send]:
        """Lets time pass, ticking whenever the scheduler wants it."""
        end = self.now + seconds
        answers: list[Send] = []
        while (deadline := self.scheduler.deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            answers += self.scheduler.tick(self.now)
            invariants.check(self.scheduler.state)
        self.now = end
        self.said += answers
        return answers

    def take(self, kind: type[m.Message], peer: str | None = None) -> list[m.Message]:
        """The messages of this kind (to this peer) that were said, which are taken off the list."""
        found = [s for s in self.said if isinstance(s.message, kind) and peer in (None, s.peer)]
        self.said = [s for s in self.said if s not in found]
        return [s.message for s in found]

    def one(self, kind: type[m.Message], peer: str | None = None) -> m.Message:
        found = self.take(kind, peer)
        assert len(found) == 1, found
        return found[0]

    def notebook(self, name: str = "notebook") -> None:
        self.say(name, m.Hello("notebook", 1, 1, HOST, name))

    def worker(self, name: str = "w", slots: int = 1, machine: m.Machine = HOST) -> None:
        self.say(name, m.Hello("worker", 1, 1, machine, name, name, slots))
        self.say(name, m.WorkerFacts())

    def job(self, job: str = "job", total: int | None = 10, notebook: str = "notebook", **fields: object) -> None:
        """Submits a job whose items are a range, and whose task has arrived."""
        options = m.JobOptions(**fields.pop("options", {}))  # type: ignore[arg-type]
        ranges = ((0, total, 1),) if total is not None else ()
        self.say(notebook, m.SubmitJob(job, job, HOST, options, ranges=ranges, **fields))  # type: ignore[arg-type]
        self.say(STORES, BlobsReady(job))

    def ready(self, worker: str = "w", job: str = "job") -> None:
        self.say(worker, m.JobReady(job))

    def part(self, worker: str, run: m.RunSlice, **fields: object) -> list[Send]:
        """The worker reports the whole slice, or `[start, stop)` of it."""
        values = {"start": run.start, "stop": run.stop, "seconds": 0.01, "final": True, **fields}
        return self.say(worker, m.Part(run.job, run.attempt, **values))  # type: ignore[arg-type]

    def finish(self, worker: str = "w", seconds_per_item: float = 0.01) -> int:
        """The worker runs everything that it is given until nothing more comes. Gives the number of slices."""
        slices = 0
        while runs := self.take(m.RunSlice, worker):
            for run in runs:
                assert isinstance(run, m.RunSlice)
                self.now += 0.001
                self.part(worker, run, seconds=(run.stop - run.start) * seconds_per_item)
                slices += 1
        return slices


@pytest.fixture
def hand() -> Iterator[Hand]:
    hand = Hand()
    hand.notebook()
    yield hand
    invariants.check(hand.scheduler.state)


@pytest.fixture
def make_hand() -> type[Hand]:
    return Hand
