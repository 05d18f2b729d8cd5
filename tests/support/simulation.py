"""A simulated pool: one scheduler, notebooks and workers, a clock, and whatever can go wrong, all from one seed.

Workers behave like the real supervisor: they run one slice a slot, report in parts, claim short runs of items, answer
trims from the claim, keep parts until they are acknowledged, and state what they hold after a reconnect. They check
that nothing unexpected is said to them.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, count

from nbdist.driver import Send
from nbdist.scheduler import invariants
from nbdist.scheduler.intervals import Intervals
from nbdist.scheduler.kept import Kept, failed_items
from nbdist.scheduler.machine import Scheduler
from nbdist.scheduler.orders import (
    AFTER_KEEPING,
    STORES,
    BlobsReady,
    Disconnect,
    DropItems,
    KeptJob,
    PeerClosed,
    Restarted,
    ResultsDropped,
    ResultsWait,
    Resumption,
)
from nbdist.scheduler.policy import Policy
from nbdist.scheduler.records import Phase, State
from nbdist.wire import frames
from nbdist.wire import messages as m
from nbdist.wire.resuming import again
from nbdist.worker.stating import FACTS_PER_MESSAGE, state_facts, state_life

CLAIM_SECONDS = 0.005
PART_SECONDS = 0.25
HEARTBEAT_SECONDS = 2.0


class Costs:
    """How long items take at speed 1, in seconds."""

    def __init__(self, costs: list[float]) -> None:
        self.sums = list(accumulate(costs, initial=0.0))

    def between(self, start: int, stop: int) -> float:
        return self.sums[stop] - self.sums[start]

    def reached(self, start: int, work: float, stop: int) -> int:
        """The first item from `start` on that is not finished after so much work."""
        return min(stop, bisect_right(self.sums, self.sums[start] + work + 1e-12) - 1)


class EvenCosts:
    """Items that all take the same time: any number of them, without a list."""

    def __init__(self, cost: float) -> None:
        self.cost = cost

    def between(self, start: int, stop: int) -> float:
        return (stop - start) * self.cost

    def reached(self, start: int, work: float, stop: int) -> int:
        return min(stop, start + int(work / self.cost + 1e-9))


@dataclass
class SimJob:
    """A job and what is known of its truth."""

    id: str
    costs: Costs | EvenCosts
    total: int
    options: m.JobOptions = field(default_factory=m.JobOptions)
    arrives: list[int] | None = None
    """Sizes of the blocks in which items arrive; None: a range."""
    large: frozenset[int] = frozenset()
    """First items of the blocks that have a blob."""
    fetch_seconds: float = 0.0
    lost_fetches: float = 0.0
    """How many of a thousand fetches fail, and the slice goes back."""
    poison: frozenset[int] = frozenset()
    """Items that end their process."""
    failing: dict[int, int] = field(default_factory=dict)
    """Items that raise so many times …"""
    stuck: bool = False
    """… or take too long, and are killed for it."""
    stop_at: frozenset[int] = frozenset()
    result_bytes: int = 0
    """Of each item, waiting at the hub until the notebook takes them …"""
    take_seconds: float = 0.0
    """… after so long at most."""
    prepare_seconds: float = 0.0
    refused_by: frozenset[str] = frozenset()
    resumes: str = ""
    taken: frozenset[int] = frozenset()
    """Items that it has from the job that it resumes, and that must not run for it."""
    pack_seconds: float = 0.0
    """Until the notebook has packed it as source, for other versions of Python …"""
    refuses_source: bool = False
    """… or says that it cannot."""
    native_from: int | None = None
    """The first item of the block from which on items are for the notebook's version alone."""
    source_asked: int = 0
    ran_elsewhere: int = 0
    """Slices that went to other versions."""
    setup_seconds: float = 0.0
    """What each slot does before its first items of the job …"""
    setup_fails_on: frozenset[str] = frozenset()
    """… and what fails on these machines."""
    # what came of it
    got: dict[int, str] = field(default_factory=dict)
    faults: dict[int, m.ItemFault] = field(default_factory=dict)
    results: list[m.Result] = field(default_factory=list)
    dropped_results: int = 0
    """The oldest so many are not kept any more."""
    seqs: list[int] = field(default_factory=list)
    finished: m.JobFinished | None = None
    finished_at: float = 0.0
    waiting_bytes: int = 0
    most_waiting_bytes: int = 0
    granted: int = 0
    submitted: bool = False
    held: dict[int, tuple[int, m.BlobRef]] = field(default_factory=dict)
    """Blobs at the hub: first item of a block -> its end, and the blob."""
    dropped: set[int] = field(default_factory=set)
    """First items of blocks that are finished."""

    def leaves(self) -> frozenset[int]:
        """Items that a job which resumes this one takes over."""
        found = set(self.taken)
        for result in self.results[self.dropped_results :]:
            found.update(range(result.start, result.stop))
            for start, stop in again(result, folds=self.options.reduce):
                found.difference_update(range(start, stop))
        return frozenset(found)

    def blobs(self, start: int, stop: int) -> set[m.BlobRef]:
        """Those that items need."""
        return {ref for first, (end, ref) in self.held.items() if first < stop and start < end}


@dataclass
class Running:
    """A slice that a simulated slot runs."""

    run: m.RunSlice
    since: float
    at: int
    """Items below are finished; `since` is when item `at` began."""
    sent: int
    stop: int
    speed: float


class World:
    """The pool, its clock and its network."""

    def __init__(
        self, seed: int, *, policy: Policy | None = None, latency: float = 0.0005, codec: bool = False
    ) -> None:
        self.random = random.Random(seed)
        self.scheduler = Scheduler(1, policy)
        self.kept = Kept()
        """The hub's journal."""
        self.flush_seconds = 0.0
        """How long it takes at most until something is in the journal."""
        self._unkept: list[Send] = []
        """What goes into the journal next, and what waits for that before it may leave the hub."""
        self.hub_is_down = False
        self.hub_starts = 1
        self._policy = policy
        self.now = 0.0
        self.latency = latency
        self.codec = codec
        self.check_always = True
        self.stated_at_once = self.random.choice([1, 2, 3, FACTS_PER_MESSAGE])
        """Workers state their facts and heartbeats in messages of so many entries."""
        self.inputs: list[tuple[str, m.Message, float, int] | float] = []
        self.outputs: list[list[Send]] = []
        self.record = False
        self.workers: dict[str, SimWorker] = {}
        self.connected: set[str] = set()
        """Peers for which the hub has an open connection."""
        self.jobs: dict[str, SimJob] = {}
        self.disconnected: list[tuple[str, Disconnect]] = []
        self.steps = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._last: dict[tuple[str, str], float] = {}
        self._connection: dict[str, int] = {}
        self._greeted: dict[str, int] = {}
        """The connection on which the hub sends to each worker: the newest from which a hello has been dealt with."""
        self._tick_at: float | None = None
        self._hub_waiting: list[Callable[[], None]] | None = None
        """What came to the hub while it stands still; None: it does not."""

    # --- the clock ---

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), action))

    def after(self, delay: float, action: Callable[[], None]) -> None:
        self.at(self.now + delay, action)

    def run(self, until: Callable[[], bool], limit: float = 10_000.0) -> None:
        """Goes on until the condition holds. Fails if that takes longer than `limit` simulated seconds."""
        while not until():
            assert self._events, f"nothing happens any more at {self.now:.3f} s"
            self.now, _, action = heapq.heappop(self._events)
            assert self.now < limit, f"not done after {limit} simulated seconds"
            action()

    # --- the network ---

    def _arrival(self, sender: str, receiver: str) -> float:
        delay = self.latency * (0.5 + self.random.random())
        when = max(self.now + delay, self._last.get((sender, receiver), 0.0))
        self._last[sender, receiver] = when
        return when

    def close_all(self) -> None:
        """The hub is gone: everybody hears of it."""
        self.connected.clear()
        for peer in list(self._connection):
            del self._connection[peer]
            worker = self.workers.get(peer)
            if worker is None:
                self._redial(peer)
            else:
                self.at(self._arrival("hub", peer), lambda worker=worker: worker.awake(worker.lost_hub))  # type: ignore[misc]

    def to_hub(self, peer: str, message: m.Message, size: int = 0) -> None:
        connection = self._connection.get(peer)
        if self.codec:
            message, _ = frames.decode(frames.encode(message))
        self.at(self._arrival(peer, "hub"), lambda: self._at_hub(lambda: self._arrive(peer, connection, message, size)))

    def _arrive(self, peer: str, connection: int | None, message: m.Message, size: int) -> None:
        if peer in self.connected and self._connection.get(peer) == connection:
            self.step(peer, message, size)
            if isinstance(message, m.SubmitJob) and message.job in self.jobs:
                start = self.hub_starts
                came = lambda: self._blobs_came(message.job) if self.hub_starts == start else None  # noqa: E731
                self.after(0.002, lambda: self._at_hub(came))

    def _blobs_came(self, job: str) -> None:
        if not self.hub_is_down:
            self.step(STORES, BlobsReady(job), 0)

    def connect(self, peer: str, hello: m.Hello) -> None:
        """A new connection; an older one of the same peer is dropped without a word."""
        self._connection[peer] = next(self._numbers)
        connection = self._connection[peer]

        def arrive() -> None:
            if self._connection.get(peer) != connection:
                return
            if self.hub_is_down:
                del self._connection[peer]
                self.workers[peer].awake(self.workers[peer].lost_hub)
                return
            self.connected.add(peer)
            self._greeted[peer] = connection
            self.step(peer, hello, 0)

        self.at(self._arrival(peer, "hub"), lambda: self._at_hub(arrive))

    def cut(self, peer: str) -> None:
        """The connection is gone, and the hub does not know."""
        self._connection.pop(peer, None)

    def close(self, peer: str) -> None:
        """The connection is closed, and the hub hears of it."""
        self._connection.pop(peer, None)
        self.at(self._arrival(peer, "hub"), lambda: self._at_hub(lambda: self._closed(peer)))

    def _closed(self, peer: str) -> None:
        if peer in self.connected and peer not in self._connection and not self.hub_is_down:
            self.connected.discard(peer)
            self.step(peer, PeerClosed("connection closed"), 0)

    # --- the hub ---

    def restart_hub(self, down_seconds: float) -> None:
        """The hub is killed, and started again later. Of what was on its way into the journal, some came there."""
        if self.hub_is_down:
            return
        self.hub_is_down = True
        for send in self._unkept[: self.random.randint(0, len(self._unkept))]:
            if send.peer == STORES:
                self.kept.add(send.message)
                self._store(send.message)
        self._unkept.clear()
        self._tick_at = self._hub_waiting = None
        self.close_all()
        self.after(down_seconds, self._start_hub)

    def _start_hub(self) -> None:
        self.hub_is_down = False
        self.hub_starts += 1
        self.scheduler = Scheduler(self.hub_starts, self._policy)
        for kept in self.kept.jobs():
            self.step(STORES, kept, 0)
            self._restore_blobs(kept)
        if not self._unkept:
            assert_same_jobs(self.kept, self.scheduler.state)
        for kept in self.kept.jobs():
            if kept.finished is None:
                self.step(STORES, BlobsReady(kept.spec.job), 0)
        for job in self.jobs.values():
            if job.result_bytes:
                self._tell_waiting(job)
        self.step(STORES, Restarted(tuple(self.kept.workers)), 0)
        self.kept.workers.clear()

    def _restore_blobs(self, kept: KeptJob) -> None:
        """As the real stores do: what came and is finished is not held any more."""
        job = self.jobs[kept.spec.job]
        needed = {block.start for block in kept.blocks}
        for start in [start for start in job.held if start < kept.available and start not in needed]:
            del job.held[start]
            job.dropped.add(start)

    def _redial(self, notebook: str) -> None:
        """A notebook comes back as soon as the hub is there, and says again what may not have been heard."""

        def dial() -> None:
            if self.hub_is_down:
                self.after(0.1, dial)
                return
            self.add_notebook(notebook)
            for job in self.jobs.values():
                if job.finished is None and job.submitted:
                    self._submit(job, notebook)

        self.after(self.random.uniform(0.01, 0.3), dial)

    def _resumption(self, spec: m.SubmitJob) -> Resumption:
        """What the stores know of the earlier job; from now on its results are kept."""
        old = self.jobs[spec.resumes]
        if spec.job not in self.scheduler.state.jobs:
            self.jobs[spec.job].taken = old.leaves()
        lost = Intervals((result.start, result.stop) for result in old.results[: old.dropped_results])
        return Resumption(spec, tuple(lost))

    def drop_results(self, job: SimJob, count: int) -> None:
        """The stores drop the oldest results of a job, unless another one has taken them over."""
        if self.hub_is_down or any(other.resumes == job.id for other in self.jobs.values()):
            return
        gone = job.results[:count]
        done = Intervals((result.start, result.stop) for result in gone)
        failed = [item for result in gone for item in failed_items(result)]
        job.dropped_results = len(gone)
        self.kept.add(ResultsDropped(job.id, len(gone), tuple(done), 0, min(failed, default=None)))

    def step(self, peer: str, message: m.Message, size: int) -> None:
        if isinstance(message, m.SubmitJob) and message.resumes:
            message = self._resumption(message)
        if self.record:
            self.inputs.append((peer, message, self.now, size))
        self._deliver(self.scheduler.receive(peer, message, self.now, size))

    def freeze_hub(self, seconds: float) -> None:
        """The hub's process stands still; what comes waits in its sockets, and its timer does not fire."""
        if self._hub_waiting is None:
            self._hub_waiting = []
            self.after(seconds, self._thaw_hub)

    def _thaw_hub(self) -> None:
        """Timers first or sockets first: that is up to the hub's loop."""
        if self._hub_waiting is None:
            return  # it was killed meanwhile
        waiting, self._hub_waiting = self._hub_waiting, None
        if self.random.random() < 0.5 and self._tick_at is not None and self._tick_at <= self.now:
            self._tick()
        for action in waiting:
            action()
        if self._tick_at is not None and self._tick_at <= self.now:
            self._tick()

    def _at_hub(self, action: Callable[[], None]) -> None:
        """Does it now, or when the hub thaws."""
        if self._hub_waiting is None:
            action()
        else:
            self._hub_waiting.append(action)

    def _due(self, when: float) -> None:
        if self._tick_at == when and self._hub_waiting is None:
            self._tick()

    def _tick(self) -> None:
        if self.hub_is_down:
            return
        self._tick_at = None
        if self.record:
            self.inputs.append(self.now)
        self._deliver(self.scheduler.tick(self.now))

    def _deliver(self, sends: list[Send]) -> None:
        self.steps += 1
        if self.check_always:
            invariants.check(self.scheduler.state)
        if self.record:
            self.outputs.append(sends)
        for send in sends:
            if isinstance(send.message, m.RunSlice):
                assert not self.scheduler.state.jobs[send.message.job].paused, "a slice of a paused job"
            self._keep(send) if send.peer == STORES or isinstance(send.message, AFTER_KEEPING) else self._send(*send)
        if self._unkept and not self.flush_seconds:
            self._flush()
        deadline = self.scheduler.deadline()
        if deadline is not None and (self._tick_at is None or deadline < self._tick_at):
            when = self._tick_at = max(deadline, self.now)
            self.at(when, lambda: self._due(when))

    def _keep(self, send: Send) -> None:
        if not self._unkept and self.flush_seconds:
            start = self.hub_starts
            flush = lambda: self._flush() if start == self.hub_starts and not self.hub_is_down else None  # noqa: E731
            self.after(self.random.uniform(0, self.flush_seconds), flush)
        self._unkept.append(send)

    def _flush(self) -> None:
        """Everything is in the journal; then what waited for that goes out."""
        sends, self._unkept = self._unkept, []
        for peer, message in sends:
            if peer == STORES:
                self.kept.add(message)
        for peer, message in sends:
            self._send(peer, message)
        if self.check_always:
            assert_same_jobs(self.kept, self.scheduler.state)

    def _send(self, peer: str, message: m.Message) -> None:
        if isinstance(message, Disconnect):
            self.disconnected.append((peer, message))
            self.connected.discard(peer)
            self._to_worker_closed(peer)
        elif peer == STORES:
            self._store(message)
        elif peer in self.workers:
            self._to_worker(peer, message)
        else:
            self._to_notebook(peer, message)

    def _to_worker(self, peer: str, message: m.Message) -> None:
        connection = self._greeted.get(peer)
        if self.codec:
            message, _ = frames.decode(frames.encode(message))
        worker = self.workers[peer]

        def arrive() -> None:
            if self._connection.get(peer) == connection:
                worker.awake(lambda: worker.receive(message))

        self.at(self._arrival("hub", peer), arrive)

    def _to_worker_closed(self, peer: str) -> None:
        worker = self.workers.get(peer)
        connection = self._greeted.get(peer)
        if worker is None or connection is None:
            return

        def arrive() -> None:
            if self._connection.get(peer) == connection:
                del self._connection[peer]
                worker.awake(worker.lost_hub)

        self.at(self._arrival("hub", peer), arrive)

    # --- stores and notebook ---

    def _store(self, message: m.Message) -> None:
        if isinstance(message, m.Result):
            job = self.jobs[message.job]
            job.seqs.append(message.seq)
            job.results.append(message)
            for item in range(message.start, message.stop):
                assert item not in job.got, f"item {item} has a second result"
                assert item not in job.taken, f"item {item} was done in an earlier job"
                job.got[item] = message.worker
            if message.fault is not None:
                job.faults[message.fault.item] = message.fault
            if job.result_bytes:
                self._results_came(job, (message.stop - message.start) * job.result_bytes)
        elif isinstance(message, DropItems):
            self.jobs[message.job].held.pop(message.start, None)
            self.jobs[message.job].dropped.add(message.start)

    def _results_came(self, job: SimJob, size: int) -> None:
        """They wait until the notebook takes them, which the stores hear of."""

        def take() -> None:
            if self.hub_is_down:
                self.after(0.1, take)
                return
            job.waiting_bytes -= size
            self._at_hub(lambda: self._tell_waiting(job))

        job.waiting_bytes += size
        job.most_waiting_bytes = max(job.most_waiting_bytes, job.waiting_bytes)
        self.after(0.0, lambda: self._at_hub(lambda: self._tell_waiting(job)))
        self.after(self.random.uniform(0.0, job.take_seconds), take)

    def _tell_waiting(self, job: SimJob) -> None:
        if not self.hub_is_down:
            self.step(STORES, ResultsWait(job.id, job.waiting_bytes, 10**12), 0)

    def _to_notebook(self, peer: str, message: m.Message) -> None:
        if isinstance(message, m.JobFinished):
            job = self.jobs[message.job]
            if job.finished is None:
                job.finished, job.finished_at = message, self.now
            assert job.finished == message, "a job ended in two ways"
        elif isinstance(message, m.NeedPortable):
            self._pack_portably(self.jobs[message.job], peer)
        elif isinstance(message, m.GrantItems):
            self.jobs[message.job].granted += message.more_bytes
        else:
            assert isinstance(message, (m.JobProgress, m.Notice, m.Answer)), message

    def _pack_portably(self, job: SimJob, notebook: str) -> None:
        """As the real notebook does: it answers on the connection that it has by then, if any."""
        assert notebook in self._connection or notebook not in self.connected
        job.source_asked += 1
        answer = m.PortableTask(job.id, "a lambda" if job.refuses_source else "")

        def say() -> None:
            if notebook in self._connection and job.finished is None:
                self.to_hub(notebook, answer)

        self.after(job.pack_seconds * self.random.uniform(0.5, 1.5), say)

    def lose_notebook(self, notebook: str, seconds: float) -> None:
        """Its connection breaks, and comes back after a while."""
        if notebook in self._connection and not self.hub_is_down:
            self.close(notebook)
            self.after(seconds, lambda: self._redial(notebook) if notebook not in self._connection else None)

    def add_notebook(self, peer: str = "notebook") -> None:
        self._connection[peer] = next(self._numbers)
        self.connected.add(peer)
        hello = m.Hello("notebook", 1, 1, machine(), peer)
        self.step(peer, hello, 0)

    def submit(self, job: SimJob, notebook: str = "notebook") -> None:
        self.jobs[job.id] = job
        job.submitted = True
        if notebook in self._connection:
            self._submit(job, notebook)

    def _submit(self, job: SimJob, notebook: str) -> None:
        ranges = ((0, job.total, 1),) if job.arrives is None else ()
        self.to_hub(notebook, m.SubmitJob(job.id, job.id, machine(), job.options, ranges=ranges, resumes=job.resumes))
        if job.arrives is not None:
            self._send_items(job, notebook)

    def _send_items(self, job: SimJob, notebook: str) -> None:
        start = 0
        when = self.now + 0.003
        connection = self._connection[notebook]

        def send(message: m.Message, size: int) -> None:
            if self._connection.get(notebook) == connection:
                self.to_hub(notebook, message, size)

        for size in job.arrives or ():
            when += self.random.expovariate(50.0)
            message = m.AddItems(job.id, start, size)
            if job.native_from is not None and start >= job.native_from:
                message = replace(message, native="a lambda in an item")
            if start in job.large and size:
                ref = m.BlobRef(f"{start:064x}", 10_000_000)
                if start not in job.dropped:
                    job.held[start] = (start + size, ref)
                message = replace(message, blobs=(ref,))
            self.at(when, lambda message=message: send(message, 1000))  # type: ignore[misc]
            start += size
        assert start == job.total
        self.at(when + 0.01, lambda: send(m.CloseItems(job.id, job.total), 0))

    def add_worker(self, name: str, slots: int, speed: float | Sequence[float], python: str = "3.11.7") -> SimWorker:
        """`speed`: of all its slots, or of each."""
        worker = SimWorker(self, name, slots, speed, python)
        self.workers[name] = worker
        worker.connect()
        return worker

    def check_job(self, job: SimJob) -> None:
        """Every item has exactly one result, and the notebook was told the truth."""
        assert job.finished is not None
        assert job.seqs == list(range(1, len(job.seqs) + 1))
        assert job.finished.last_seq == len(job.seqs)
        if job.finished.outcome == "done":
            assert len(job.got) + len(job.taken) == job.total == job.finished.total
            assert job.got.keys() | job.taken == set(range(job.total))


def assert_same_jobs(kept: Kept, state: State) -> None:
    """What a restart would find is what the scheduler knows."""
    stored = {job.spec.job: job for job in kept.jobs()}
    for job in state.jobs.values():
        found = stored.pop(job.id, None)
        if found is None:
            continue  # forgotten by its notebook, or on its way into the journal
        assert found.finished is not None or job.phase is not Phase.ENDED
        assert (found.finished is not None) == (job.phase is Phase.ENDED)
        assert (found.owner, found.seq, found.done) == (job.owner, job.seq, tuple(job.done))
        assert (found.ahead, found.resumed_total) == (tuple(job.taken.ahead), job.taken.total)
        assert found.again == tuple(job.taken.again)
        assert found.portable == job.portable
        if job.alive:
            assert (found.total, found.available) == (job.total, job.available)
            assert found.failed_items == job.failed_items
            assert {tried.item: tried.crashes for tried in found.tried if tried.crashes} == job.crashes
            assert {tried.item: tried.losses for tried in found.tried if tried.losses} == job.losses


def machine(python: str = "3.11.7") -> m.Machine:
    return m.Machine("host", "linux", "x86_64", python, "cpython", "0.1.0")


class SimWorker:
    """A worker: its supervisor and its slots."""

    def __init__(self, world: World, name: str, slots: int, speed: float | Sequence[float], python: str) -> None:
        self.world = world
        self.name = name
        self.machine = machine(python)
        self.is_other = self.machine.python_minor != machine().python_minor
        """Than the notebook's version of Python."""
        self.speeds = [float(speed)] * slots if isinstance(speed, (int, float)) else list(speed)
        self.running: list[Running | None] = [None] * slots
        self.waiting: list[m.RunSlice | None] = [None] * slots
        self.prepared: set[str] = set()
        self.fetching: set[m.Attempt] = set()
        """Slices whose blobs are on their way, or whose slot is in a setup."""
        self.set_up: set[tuple[str, int]] = set()
        """(job, slot) whose setup has run."""
        self.kept: list[m.Part] = []
        """Parts that are not acknowledged."""
        self.connected = False
        self.dead = False
        self.leaving = False
        self.lied = False
        self.frozen_since: float | None = None
        self._thawing: list[Callable[[], None]] = []
        self._plan = [0] * slots
        self.items_run = 0

    # --- connection ---

    def connect(self) -> None:
        if self.dead:
            return
        world = self.world
        world.connect(self.name, m.Hello("worker", 1, 1, self.machine, self.name, self.name, len(self.running)))
        self.connected = True
        held = []
        for slot, (running, waiting) in enumerate(zip(self.running, self.waiting, strict=True)):
            if running is not None:
                run = running.run
                fetching = run.attempt in self.fetching
                held.append(m.HeldAttempt(run.job, run.attempt, slot, running.sent, running.stop, True, fetching))
            if waiting is not None:
                fetching = waiting.attempt in self.fetching
                held.append(
                    m.HeldAttempt(waiting.job, waiting.attempt, slot, waiting.start, waiting.stop, False, fetching)
                )
        for facts in state_facts(held, sorted(self.prepared), at_most=world.stated_at_once):
            self.say(facts)
        for part in self.kept:
            self.say(part)
        if self.leaving:
            self.say(m.Leaving("user"))
        self._heartbeat(world._connection[self.name])

    def _heartbeat(self, connection: int) -> None:
        def beat() -> None:
            if self.world._connection.get(self.name) == connection and not self.dead:
                running = tuple(
                    m.RunningItem(slot, run.run.attempt, self.reached(run)[0])
                    for slot, run in enumerate(self.running)
                    if run is not None
                )
                for heartbeat in state_life(running, at_most=self.world.stated_at_once):
                    self.say(heartbeat)
                self._heartbeat(connection)

        self.world.after(HEARTBEAT_SECONDS, lambda: self.awake(beat))

    def lost_hub(self) -> None:
        """The connection broke: dial again, running on meanwhile."""
        self.connected = False
        if not self.dead:
            self.world.after(self.world.random.uniform(0.05, 0.5), lambda: self.awake(self.reconnect))

    def reconnect(self) -> None:
        if not self.connected:
            self.connect()

    def say(self, message: m.Message) -> None:
        if self.connected and not self.dead:
            self.world.to_hub(self.name, message)

    def awake(self, action: Callable[[], None]) -> None:
        """Does it now, or when the process thaws."""
        if self.dead:
            return
        if self.frozen_since is not None:
            self._thawing.append(action)
        else:
            action()

    # --- what goes wrong ---

    def die(self, silently: bool) -> None:
        self.dead = True
        self.connected = False
        (self.world.cut if silently else self.world.close)(self.name)

    def cut_cable(self, seconds: float) -> None:
        self.world.cut(self.name)
        self.connected = False
        self.world.after(seconds, lambda: self.awake(self.reconnect))

    def drop_connection(self) -> None:
        self.world.close(self.name)
        self.lost_hub()

    def freeze(self, seconds: float) -> None:
        if self.frozen_since is None and not self.dead:
            self.frozen_since = self.world.now
            self.world.after(seconds, self._thaw)

    def _thaw(self) -> None:
        assert self.frozen_since is not None
        pause = self.world.now - self.frozen_since
        self.frozen_since = None
        for run in self.running:
            if run is not None:
                run.since += pause
        actions, self._thawing = self._thawing, []
        for action in actions:
            self.awake(action)

    def leave(self) -> None:
        """Finish running items, give the rest back and go."""
        if self.leaving or self.dead:
            return
        self.leaving = True
        self.say(m.Leaving("user"))
        for slot in range(len(self.running)):
            waiting, self.waiting[slot] = self.waiting[slot], None
            if waiting is not None:
                self.say(m.SliceCut(waiting.attempt, waiting.start))
            run = self.running[slot]
            if run is not None:
                self._cut_running(slot, run, 1.0)
        if not any(self.running):
            self.world.after(0.001, lambda: self.awake(self._gone))

    # --- messages ---

    def receive(self, message: m.Message) -> None:
        getattr(self, "on_" + type(message).__name__)(message)

    def on_PrepareJob(self, message: m.PrepareJob) -> None:
        job = self.world.jobs[message.job]
        assert message.portable == self.is_other
        assert not self.is_other or (job.source_asked and not job.refuses_source), "bytecode for another version"
        if self.name in job.refused_by:
            self.say(m.JobRefused(job.id, "no module named 'pandas'", "pip install pandas"))
            return
        delay = job.prepare_seconds * self.world.random.random()
        self.say(m.Preparing(job.id, "fetching"))
        self.world.after(delay, lambda: self.awake(lambda: self._ready(job.id)))

    def _ready(self, job: str) -> None:
        self.prepared.add(job)
        self.say(m.JobReady(job))

    def on_RunSlice(self, message: m.RunSlice) -> None:
        if message.job not in self.prepared:
            assert self.lied, "a slice of a job that was not prepared"
            self.say(m.SliceEnded(message.attempt, "not prepared"))
            return
        job = self.world.jobs[message.job]
        assert 0 <= message.start < message.stop <= job.total
        assert job.taken.isdisjoint(range(message.start, message.stop)), "what an earlier job has done runs again"
        unfinished = job.blobs(message.start, message.stop)
        assert set(message.blobs) >= unfinished, "a slice without the blobs of its items"
        if self.is_other:
            job.ran_elsewhere += 1
            assert job.native_from is None or message.stop <= job.native_from, "items that it cannot read"
        if self.leaving:
            self.say(m.SliceCut(message.attempt, message.start))
            return
        if message.blobs:
            self.fetching.add(message.attempt)
            delay = job.fetch_seconds * self.world.random.random()
            self.world.after(delay, lambda: self.awake(lambda: self._fetched(message)))
        if self.running[message.slot] is None:
            self._start(message.slot, message)
        else:
            assert self.waiting[message.slot] is None, "a third slice for a slot"
            self.waiting[message.slot] = message

    def _fetched(self, message: m.RunSlice) -> None:
        """The blobs of a slice have come, or cannot be got: then it goes back."""
        self.fetching.discard(message.attempt)
        running, waiting = self.running[message.slot], self.waiting[message.slot]
        fails = self.world.random.random() * 1000 < self.world.jobs[message.job].lost_fetches
        if running is not None and running.run.attempt == message.attempt:
            if fails:
                self._next(message.slot)
                self.say(m.SliceEnded(message.attempt, "its data did not come"))
                return
            self._begin(message.slot, running)
        elif waiting is not None and waiting.attempt == message.attempt and fails:
            self.waiting[message.slot] = None
            self.say(m.SliceEnded(message.attempt, "its data did not come"))

    def on_TrimSlice(self, message: m.TrimSlice) -> None:
        for slot in range(len(self.running)):
            waiting = self.waiting[slot]
            if waiting is not None and waiting.attempt == message.attempt:
                left = waiting.stop - waiting.start
                stop = waiting.stop - max(1, round(left * message.give))
                self.say(m.SliceCut(message.attempt, stop))
                if stop <= waiting.start:
                    self.waiting[slot] = None
                else:
                    self.waiting[slot] = replace(waiting, stop=stop)
                return
            run = self.running[slot]
            if run is not None and run.run.attempt == message.attempt:
                self._cut_running(slot, run, message.give)
                return

    def _cut_running(self, slot: int, run: Running, give: float) -> None:
        reached, claimed = self.reached(run)
        if run.run.attempt in self.fetching:
            stop = run.at + round((run.stop - run.at) * (1 - give))
            self.say(m.SliceCut(run.run.attempt, stop))
            run.stop = stop
            if stop == run.at:
                self._next(slot)
            return
        stop = claimed + round((run.stop - claimed) * (1 - give))
        self.say(m.SliceCut(run.run.attempt, stop))
        if stop < run.stop:
            run.stop = stop
            run.since, run.at = self._advance(run, reached)
            self._plan_slot(slot)

    def on_CancelAttempt(self, message: m.CancelAttempt) -> None:
        for slot in range(len(self.running)):
            waiting = self.waiting[slot]
            if waiting is not None and waiting.attempt == message.attempt:
                self.waiting[slot] = None
                self.say(m.SliceEnded(message.attempt, "cancelled"))
            run = self.running[slot]
            if run is not None and run.run.attempt == message.attempt:
                self._report(slot, run, final=False)
                self._next(slot)
                self.say(m.SliceEnded(message.attempt, "cancelled"))

    def on_Acknowledge(self, message: m.Acknowledge) -> None:
        safe = dict(message.parts)
        self.kept = [part for part in self.kept if part.stop > safe.get(part.attempt, -1)]

    def on_ForgetJob(self, message: m.ForgetJob) -> None:
        self.prepared.discard(message.job)

    def on_LeavePool(self, message: m.LeavePool) -> None:
        self.leave()

    def on_RenewSlots(self, message: m.RenewSlots) -> None:
        pass

    # --- running ---

    def _start(self, slot: int, message: m.RunSlice) -> None:
        self.running[slot] = Running(
            message, self.world.now, message.start, message.start, message.stop, self.speeds[slot]
        )
        if message.attempt not in self.fetching:
            self._begin(slot, self.running[slot])

    def _begin(self, slot: int, run: Running | None) -> None:
        assert run is not None
        run.since = self.world.now
        job = self.world.jobs[run.run.job]
        if run.run.blobs:
            self.say(m.SliceBegun(run.run.attempt))
        if job.setup_seconds and (job.id, slot) not in self.set_up:
            self.fetching.add(run.run.attempt)
            self.say(m.SetupBegun(run.run.attempt, "setup"))
            self.world.after(job.setup_seconds, lambda: self.awake(lambda: self._setup_ends(slot, run)))
            return
        self._plan_slot(slot)

    def _setup_ends(self, slot: int, run: Running) -> None:
        """The setup before this slice has run, unless that was cancelled, or has failed."""
        job = self.world.jobs[run.run.job]
        self.fetching.discard(run.run.attempt)
        if self.running[slot] is not run:
            return
        if self.name in job.setup_fails_on:
            self._next(slot)
            self.say(m.JobRefused(job.id, "setup failed", setup=True))
            self.say(m.SliceEnded(run.run.attempt, "setup failed"))
            return
        self.set_up.add((job.id, slot))
        run.since = self.world.now
        self.say(m.SliceBegun(run.run.attempt))
        self._plan_slot(slot)

    def _next(self, slot: int) -> None:
        self.running[slot] = None
        waiting, self.waiting[slot] = self.waiting[slot], None
        if waiting is not None:
            self._start(slot, waiting)
        elif self.leaving and not any(self.running):
            self.world.after(0.001, lambda: self.awake(self._gone))

    def _gone(self) -> None:
        if not self.dead:
            self.die(silently=False)

    def reached(self, run: Running) -> tuple[int, int]:
        """(items finished so far, where the claim ends)."""
        job = self.world.jobs[run.run.job]
        if run.run.attempt in self.fetching:
            return run.at, run.at
        work = (self.world.now - run.since) * run.speed
        reached = job.costs.reached(run.at, work, run.stop)
        ahead = job.costs.reached(run.at, work + CLAIM_SECONDS * run.speed, run.stop)
        return reached, min(run.stop, max(ahead, reached + 1))

    def _advance(self, run: Running, reached: int) -> tuple[float, int]:
        job = self.world.jobs[run.run.job]
        return run.since + job.costs.between(run.at, reached) / run.speed, reached

    def _plan_slot(self, slot: int) -> None:
        """Decides what happens next in the slot: a part, a special item, or the end."""
        run = self.running[slot]
        assert run is not None
        job = self.world.jobs[run.run.job]
        special = self._next_special(job, run)
        end = run.since + job.costs.between(run.at, min(special + 1, run.stop)) / run.speed
        flush = self.world.now + PART_SECONDS
        self._plan[slot] += 1
        plan = self._plan[slot]

        def happen() -> None:
            if self._plan[slot] == plan and self.running[slot] is run:
                self._happen(slot, run)

        self.world.at(max(self.world.now, min(end, flush)), lambda: self.awake(happen))

    def _next_special(self, job: SimJob, run: Running) -> int:
        items = [i for i in (*job.poison, *job.failing, *job.stop_at) if run.at <= i < run.stop]
        return min(items, default=run.stop)

    def _happen(self, slot: int, run: Running) -> None:
        job = self.world.jobs[run.run.job]
        special = self._next_special(job, run)
        reached, _ = self.reached(run)
        if special < run.stop and reached > special:
            run.since, run.at = self._advance(run, special)
            self._special(slot, run, job, special)
            return
        run.since, run.at = self._advance(run, reached)
        if reached >= run.stop:
            self._report(slot, run, final=True)
            self._next(slot)
            return
        self._report(slot, run, final=False)
        self._plan_slot(slot)

    def _special(self, slot: int, run: Running, job: SimJob, item: int) -> None:
        """An item that crashes, raises or meets `stop_when`; those before it are finished."""
        if item in job.poison:
            self._report(slot, run, final=False, upto=item)
            self.set_up = {(name, number) for name, number in self.set_up if number != slot}
            self._next(slot)
            self.say(m.SlotCrashed(run.run.attempt, item, "killed by SIGSEGV"))
            return
        if item in job.failing and job.stuck:
            self._fail_once(job, item)
            self._report(slot, run, final=False, upto=item)
            self._next(slot)
            self.say(m.SlotCrashed(run.run.attempt, item, "time is up", kind="timeout"))
            return
        run.since, run.at = self._advance(run, item + 1)
        if item in job.stop_at:
            self._report(slot, run, final=True, upto=item + 1, stopped=True)
            self._next(slot)
            return
        self._fail_once(job, item)
        self._report(slot, run, final=False, upto=item)
        final = item + 1 >= run.stop
        self._report(slot, run, final=final, upto=item + 1, failed=(item,))
        if final:
            self._next(slot)
        else:
            self._plan_slot(slot)

    def _fail_once(self, job: SimJob, item: int) -> None:
        job.failing[item] -= 1
        if job.failing[item] <= 0:
            del job.failing[item]

    def _report(
        self,
        slot: int,
        run: Running,
        *,
        final: bool,
        upto: int | None = None,
        failed: tuple[int, ...] = (),
        stopped: bool = False,
    ) -> None:
        stop = self.reached(run)[0] if upto is None else upto
        if final and stop <= run.sent:
            self.say(m.SliceEnded(run.run.attempt))
            return
        if stop <= run.sent:
            return
        job = self.world.jobs[run.run.job]
        seconds = job.costs.between(run.sent, stop) / run.speed
        part = m.Part(
            job=job.id,
            attempt=run.run.attempt,
            start=run.sent,
            stop=stop,
            seconds=seconds,
            final=final,
            failed=failed,
            stopped_at=stop - 1 if stopped else None,
        )
        self.items_run += stop - run.sent
        run.sent = stop
        self.kept.append(part)
        self.say(part)


__all__ = ["Costs", "EvenCosts", "SimJob", "SimWorker", "World", "machine"]
