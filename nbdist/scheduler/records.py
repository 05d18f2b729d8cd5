"""What the scheduler knows: jobs, workers, slots and attempts.

Records hold state and answer questions about it; they decide nothing. For each job, every index below `available` is in
exactly one place: `done`, `pending`, or the unreported range of at least one live attempt (two, while a copy runs).
`invariants.py` checks that after every step of the simulation.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import Enum
from math import inf, prod
from typing import Literal, NamedTuple, TypeAlias

from nbdist.driver import Send
from nbdist.scheduler.blocks import Blocks
from nbdist.scheduler.intervals import Intervals
from nbdist.scheduler.packages import Listing
from nbdist.scheduler.policy import Policy
from nbdist.scheduler.resuming import Taken
from nbdist.scheduler.timeline import Timeline
from nbdist.wire.blocks import ITEMS_WINDOW_BYTES
from nbdist.wire.messages import (
    Attempt,
    Hello,
    InstalledPackages,
    Message,
    Outcome,
    PortableTask,
    SubmitJob,
    WorkerFacts,
)

Place: TypeAlias = tuple[str, int]
"""A slot: (worker's id, number)."""


class Phase(Enum):
    """Where a job is in its life."""

    WAITING = "waiting"
    """for its blobs"""
    RUNNING = "running"
    STOPPING = "stopping"
    """cancelled; ends when nothing of it runs any more"""
    ENDED = "ended"


class Event(NamedTuple):
    """One line of a job's history."""

    time: float
    kind: str
    start: int
    stop: int
    worker: str = ""
    slot: int = -1
    note: str = ""


class PoolEvent(NamedTuple):
    """Something that happened in the pool, for people."""

    time: float
    kind: Literal["joined", "gone", "submitted", "ended", "crashed"]
    worker: str = ""
    """The machine's name."""
    job: str = ""
    note: str = ""


class FailureLine(NamedTuple):
    """An item that has no value, in one line. What it raised, its notebook has."""

    item: int
    worker: str
    text: str


@dataclass(slots=True, eq=False)
class JobRecord:
    """A job."""

    spec: SubmitJob
    owner: str
    """The notebook's peer id."""
    submitted_at: float
    total: int | None
    """Number of items; None while it is not known."""
    available: int
    """Items `[0, available)` have arrived."""
    history: deque[Event]
    phase: Phase = Phase.WAITING
    pending: Intervals = field(default_factory=Intervals)
    done: Intervals = field(default_factory=Intervals)
    taken: Taken = field(default_factory=Taken)
    portable: PortableTask | None = None
    """Its task for other versions of Python, or why there is none; None: nobody has needed it, or it is on its way."""
    is_portable_asked: bool = False
    """The notebook that is here was asked for it."""
    waits_for_targets: bool = False
    """A job for each machine or slot, of which it is not known yet whether it can go to some machines."""
    native: str = ""
    """Why some of its items are only for the notebook's version of Python."""
    alone: set[int] = field(default_factory=set)
    """Items that run in slices of their own, because they ended a process or were there when machines vanished."""
    blocks: Blocks = field(default_factory=Blocks)
    freed_bytes: int = 0
    """Bytes of finished blocks that the notebook has not been told of."""
    window_bytes: int = ITEMS_WINDOW_BYTES
    """So many bytes of blocks may be here without being finished."""
    wider_bytes: int = 0
    """By so much the window has grown without the notebook's being told."""
    largest_block: int = 0
    """The size of the largest block with blobs."""
    attempts: dict[Attempt, AttemptRecord] = field(default_factory=dict)
    """Those that are not over, cancelled ones included."""
    shares: dict[str, Share] = field(default_factory=dict)
    """By worker: what the job knows about it."""
    targets: dict[tuple[str, int], int] = field(default_factory=dict)
    """Jobs for each machine or slot: the item by (worker, slot); slot -1 stands for any."""
    crashes: dict[int, int] = field(default_factory=dict)
    losses: dict[int, int] = field(default_factory=dict)
    failures: dict[int, int] = field(default_factory=dict)
    """How often an item ended its process, was running in a lost worker, raised: apart, and only while it is tried."""
    avoid: dict[int, str] = field(default_factory=dict)
    """Items that are tried again elsewhere, if they can: the worker where they failed."""
    failed_items: int = 0
    first_failures: list[FailureLine] = field(default_factory=list)
    """Of the first ones that came (`policy.shown_failures`); not kept over a restart of the hub."""
    timeline: Timeline = field(default_factory=Timeline)
    used_seconds: float = 0.0
    """Slot-seconds that the job has had."""
    in_flight_seconds: float = 0.0
    """… and those that its live attempts are expected to take."""
    total_speed: float = 0.0
    """Items per second of all slots that are ready for it, as far as they are known."""
    known_slots: int = 0
    """Ready slots whose speed is known."""
    ready_slots: int = 0
    ready_workers: int = 0
    fastest: float = 0.0
    """The speed of its fastest slot."""
    fastest_worker: str = ""
    seq: int = 0
    """Results accepted."""
    waiting_bytes: int = 0
    """Results that wait for its notebook, as far as the stores have told."""
    pause_todo: str = ""
    """They are too many, nothing new is begun: what a person can do about it."""
    begun: bool = False
    """Some worker was given a slice."""
    told_left_out: bool = False
    """The notebook was told that no machine which is here can run it."""
    next_balance_at: float = 0.0
    """Idle slots are not looked for work of it earlier …"""
    balance_again_at: float = 0.0
    """… and again by then at the latest …"""
    has_news: bool = False
    """… or, if something has happened meanwhile, at once."""
    stop_reason: str = ""
    stop_by: float = inf
    """When a stopping job is reported as ended at the latest."""
    changed_at: float = 0.0
    told_at: float = -1.0
    """When its progress changed, and when the notebook was last told."""
    ended_at: float | None = None
    outcome: Outcome | None = None
    stopped_at: int | None = None
    orphaned_at: float | None = None

    @property
    def id(self) -> str:
        return self.spec.job

    @property
    def paused(self) -> bool:
        """Whether nothing new of it is begun, because too many results wait for its notebook."""
        return bool(self.pause_todo)

    @property
    def alive(self) -> bool:
        """Whether it still takes results."""
        return self.phase in (Phase.WAITING, Phase.RUNNING)

    @property
    def remaining(self) -> int:
        """Items that nobody works on, those included which are known to come."""
        return self.pending.count + max(0, (self.total or 0) - self.available - self.taken.ahead.count)

    @property
    def unfinished(self) -> int:
        """Items that are not done, those included which are known to come."""
        return max(0, max(self.total or 0, self.available) - self.finished_items)

    @property
    def finished_items(self) -> int:
        """Items that are done, here or in earlier jobs; of the latter some may not have come."""
        return self.done.count + self.taken.ahead.count

    def usage(self, now: float) -> float:
        """What fair sharing compares. What runs without being expected to end at any time counts as long as it has."""
        expected = self.used_seconds + self.in_flight_seconds
        if self.known_slots:
            return expected
        return expected + sum(now - attempt.began_at for attempt in self.attempts.values() if attempt.running)

    @property
    def takes_results(self) -> bool:
        """Whether results still count: a job that is being stopped keeps those that were finished before."""
        return self.phase in (Phase.RUNNING, Phase.STOPPING)

    @property
    def complete(self) -> bool:
        """Whether every item is done and no more can come."""
        return self.total is not None and self.available == self.total == self.done.count


class ShareState(Enum):
    """How far a worker is with a job."""

    PREPARING = "preparing"
    READY = "ready"
    REFUSED = "refused"
    LEAVING = "leaving"


@dataclass(slots=True, eq=False)
class Pace:
    """Measured work: how many items took how long."""

    items: float = 0.0
    seconds: float = 0.0
    cold: bool = True
    """Nothing, or only the first part, is known, which pays for imports and caches."""

    @property
    def speed(self) -> float:
        """Items per second."""
        return self.items / self.seconds

    def add(self, items: int, seconds: float, half_life_seconds: float) -> None:
        """Takes a measurement into account; the first one is replaced by the second.

        Older ones count half after `half_life_seconds` of measured work.
        """
        seconds = max(seconds, items * 1e-8)
        if self.cold:
            self.cold = self.items == 0
            self.items, self.seconds = float(items), seconds
        else:
            keep = 0.5 ** (seconds / half_life_seconds)
            self.items = self.items * keep + items
            self.seconds = self.seconds * keep + seconds


@dataclass(slots=True, eq=False)
class Share:
    """One worker's part in one job."""

    worker: WorkerRecord
    state: ShareState = ShareState.PREPARING
    reason: str = ""
    todo: str = ""
    doing: str = ""
    """What it is at while it prepares."""
    again_at: float = inf
    """When a worker that is left out is asked again."""
    awaits_task: bool = False
    """The worker waits, or is left out, until the notebook gives the task for its version of Python."""
    pace: Pace = field(default_factory=lambda: Pace())
    """Of all its slots, lately."""
    whole: Pace = field(default_factory=lambda: Pace())
    slots: dict[int, Pace] = field(default_factory=dict)
    """Of all of them, and of each, in the whole job."""
    relative: dict[int, float] = field(default_factory=dict)
    """How fast each slot is, against the worker's mean: its cores differ, and so does what else runs on them."""
    done: int = 0
    speed: float = 0.0
    """Items per second of one slot; 0: unknown."""

    def slot_speed(self, slot: int) -> float:
        """Items per second of this slot, lately."""
        return self.speed * self.relative.get(slot, 1.0)

    def slot_mean(self, slot: int) -> float:
        """Items per second of this slot in the whole job: steadier, where items differ much."""
        pace = self.slots.get(slot)
        return self.speed if pace is None or pace.cold else pace.speed


@dataclass(slots=True, eq=False)
class SlotRecord:
    """A slot: one attempt runs, one may wait."""

    running: AttemptRecord | None = None
    waiting: AttemptRecord | None = None


@dataclass(slots=True, eq=False)
class WorkerRecord:
    """A machine of the pool."""

    id: str
    name: str
    hello: Hello
    slots: list[SlotRecord]
    joined_at: float
    heard_at: float
    stated: bool = False
    """It has said what it holds: before that it gets nothing."""
    facts: list[WorkerFacts] = field(default_factory=list)
    """What it has said of that, while more is to come."""
    listing: Listing | None = None
    """What is installed there, if that is known."""
    listing_parts: list[InstalledPackages] = field(default_factory=list)
    leaving: bool = False
    load: float = 0.0
    memory_used_bytes: int = 0
    relative_speed: float = 0.0
    """Against the mean of the pool in the last job that both took part in; 0: unknown."""
    done: int = 0
    acknowledge: dict[Attempt, int] = field(default_factory=dict)

    @property
    def busy_slots(self) -> int:
        return sum(slot.running is not None for slot in self.slots)


@dataclass(slots=True, eq=False)
class AttemptRecord:
    """One try of one slice on one slot."""

    key: Attempt
    job: JobRecord
    worker: WorkerRecord
    slot: int
    start: int
    stop: int
    expected_seconds: float
    reported: int
    """`[start, reported)` has been reported."""
    reported_at: float
    """When that came, or when the attempt began to run."""
    item: int
    """The item that it is at, as far as is known."""
    began_at: float = 0.0
    """When its slot was free for it."""
    running: bool = False
    failed: bool = False
    """Some of its items raised."""
    cancelled: bool = False
    """It was told to stop; its unreported items are no longer its own."""
    cut_asked: bool = False
    uncuttable: bool = False
    """It was asked for items and could give none."""
    copy: bool = False
    copied: bool = False
    fetching: bool = False
    """Its worker gets the blobs of its items; the slot has not begun it."""
    setting_up: bool = False
    """The slot runs a setup, and has not begun it either."""

    @property
    def place(self) -> Place:
        """The slot."""
        return self.worker.id, self.slot

    @property
    def is_early(self) -> bool:
        """None of its items has begun: they are neither slow nor to blame for anything."""
        return self.fetching or self.setting_up

    @property
    def left(self) -> int:
        """Items that it has not reported."""
        return self.stop - self.reported

    def seconds_left(self, now: float) -> float:
        """How long it is expected to go on, or to take once it runs; 0 if the speed is not known.

        The present item is left out once it takes unusually long: nobody knows how much longer.
        """
        share = self.job.shares.get(self.worker.id)
        speed = 0.0 if share is None else share.slot_speed(self.slot)
        if not speed:
            return 0.0
        since = now - self.reported_at if self.running and not self.is_early else 0.0
        left = self.left / speed - since
        return left if left > 0 else (self.left - 1) / speed


def item_count(ranges: tuple[tuple[int, int, int], ...]) -> int:
    """How many items a product of ranges has. Raises OverflowError for more than any computer could do."""
    return prod(len(range(*numbers)) for numbers in ranges)


class State:
    """Everything that the scheduler knows, and what it wants said."""

    def __init__(self, epoch: int, policy: Policy) -> None:
        self.epoch = epoch
        self.policy = policy
        self.jobs: dict[str, JobRecord] = {}
        """All known jobs, oldest first; the ended ones are bounded."""
        self.active: dict[str, JobRecord] = {}
        """Jobs that wait or run."""
        self.stopping: dict[str, JobRecord] = {}
        self.doubtful: dict[str, JobRecord] = {}
        """Jobs of which a setup has failed somewhere."""
        self.workers: OrderedDict[str, WorkerRecord] = OrderedDict()
        """The one heard least recently is first."""
        self.listings: OrderedDict[str, Listing] = OrderedDict()
        """By their hashes: what is installed on machines; the last used is last."""
        self.notebooks: set[str] = set()
        self.attempts: dict[Attempt, AttemptRecord] = {}
        self.idle: OrderedDict[Place, None] = OrderedDict()
        """Slots without a running attempt, of workers that take work."""
        self.thin: OrderedDict[Place, None] = OrderedDict()
        """Slots with a running attempt and none that waits, likewise."""
        self.look: dict[Place, None] = {}
        """Slots for which work is to be sought now."""
        self.look_everywhere = False
        self.stores_full = False
        self.awaited: set[str] = set()
        """After a restart: workers that have not said yet what they still work on; until then nothing is given out."""
        self.attempt_number = 0
        self.events: deque[PoolEvent] = deque(maxlen=policy.pool_events)
        self.items_done = 0
        """Results accepted since the start of this hub."""
        self.outbox: list[Send] = []
        self.timers: dict[str, float] = {}
        """When to be woken, by reason."""

    def send(self, peer: str, message: Message) -> None:
        """Says something."""
        self.outbox.append(Send(peer, message))

    def next_attempt(self) -> Attempt:
        """A name for a new attempt."""
        self.attempt_number += 1
        return (self.epoch, self.attempt_number)

    def wake(self, reason: str, when: float) -> None:
        """Asks to be woken then, or earlier if that was asked for before."""
        if when < self.timers.get(reason, inf):
            self.timers[reason] = when
