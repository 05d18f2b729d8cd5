"""What a supervisor knows: slots, the slices that they hold. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from nbdist.wire.messages import Attempt, FaultKind
from nbdist.worker.installing import Installer


@dataclass(frozen=True, slots=True)
class WorkerPolicy:
    """How the supervisor behaves. Times are in seconds."""

    heartbeat_seconds: float = 2.0
    grace_seconds: float = 2.0
    """What user code has to end in after an interrupt, before its slot is killed."""
    hub_gone_seconds: float = 5.0
    """A worker that leaves waits so long for a hub that does not take its results."""
    start_seconds: float = 30.0
    """A slot whose process is not ready after so long is killed."""
    failed_starts: int = 3
    """After so many in a row a slot is given nothing, and if no other is up, no job runs on this machine."""
    restart_seconds: float = 0.5
    """A slot that does not come up is started again after so long; then after twice as long, and so on …"""
    max_restart_seconds: float = 30.0
    """… at most."""
    look_seconds: float = 0.1
    """Between two looks at what a slot with a time limit is at, at least."""
    max_setup_crashes: int = 3
    """After so many slots of a job have died in setups, and none has got through, it does not run on this machine."""
    preparing_seconds: float = 0.5
    """How often the hub hears what is being done for a job before it is ready."""
    memory_seconds: float = 0.25
    """How often the memory of slots that run something is looked at."""
    installer: Installer | None = None
    """What makes environments with what jobs need; None: nothing is installed for anybody."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """What a slot is killed for."""

    kind: FaultKind
    reason: str
    item: int = -1
    began: float = 0.0
    """Of an item that took too long: when it began, which tells it from the one behind it."""


@dataclass(slots=True)
class Slice:
    """One attempt that this worker holds."""

    job: str
    attempt: Attempt
    slot: int
    start: int
    stop: int
    reported: int
    """Items below this are in parts."""
    has_blobs: bool = False
    is_fetching: bool = False
    """Its blobs are on their way: no slot has it yet."""
    setup: str = ""
    """The setup that its slot runs before it."""
    time_limit: float = 0.0
    """Of each of its items, in seconds; 0: none."""
    home: int = -1
    """The slot that the hub gave it to, if another one stands in for that."""
    environment: str = ""
    """In whose interpreter it runs; empty: the worker's own."""
    is_cancelled: bool = False
    is_foreign: bool = False
    """It is another hub's, and nobody is told of it any more."""

    def __post_init__(self) -> None:
        """Most slices are at home."""
        if self.home < 0:
            self.home = self.slot


@dataclass(slots=True)
class Slot:
    """One slot."""

    number: int
    is_ready: bool = False
    is_used: bool = False
    """It has run something, so that a fresh process would differ."""
    environment: str = ""
    """Whose interpreter its process has, or the next one will have."""
    running: Slice | None = None
    waiting: deque[Slice] = field(default_factory=deque)
    loaded: set[str] = field(default_factory=set)
    is_due_for_renewal: bool = False
    is_expected_to_end: bool = False
    kill_at: float | None = None
    look_at: float | None = None
    """When the item that runs may be over its time, or over the grace as well."""
    sentence: Sentence | None = None
    """It is being killed."""
    start_at: float | None = None
    ready_by: float | None = None
    is_overdue: bool = False
    """Its process was killed because it did not become ready."""
    failed_starts: int = 0

    def needs_another_process(self) -> bool:
        """Whether it is to be replaced before the next slice, or because that runs in another environment."""
        if self.waiting and not self.waiting[0].is_fetching and self.waiting[0].environment != self.environment:
            self.environment = self.waiting[0].environment
            return True
        return self.is_due_for_renewal

    def reset(self) -> None:
        """Its process is gone."""
        self.is_ready = self.is_used = self.is_due_for_renewal = self.is_expected_to_end = False
        self.kill_at = self.look_at = self.sentence = None
        self.loaded.clear()

    def next_pause(self, policy: WorkerPolicy) -> float:
        """How long to wait before the next start after one that failed."""
        self.failed_starts += 1
        pause = policy.restart_seconds * 2.0 ** min(self.failed_starts - 1, 16)
        return min(pause, policy.max_restart_seconds)
