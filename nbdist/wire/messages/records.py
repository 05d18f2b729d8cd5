"""What messages are made of: their base, the words that they use, and the records inside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

PROTOCOL_MIN = 1
PROTOCOL_MAX = 1

Attempt: TypeAlias = tuple[int, int]
"""The name of one try of one slice: (epoch of the hub, number in that epoch)."""

Role: TypeAlias = Literal["notebook", "worker", "viewer"]
OnError: TypeAlias = Literal["stop", "keep"]
Each: TypeAlias = Literal["", "machine", "slot"]
Outcome: TypeAlias = Literal["done", "stopped", "failed", "cancelled", "refused"]
"""How a job ended: all items done; `stop_when` was met; an item failed; cancelled; no machine can run it."""

FaultKind: TypeAlias = Literal["crashed", "lost", "timeout", "unsent", "unfetched"]
"""Why an item has no value: its process died; the machines vanished; time was up; its value cannot be brought home; its
data is gone."""
Stream: TypeAlias = Literal["stdout", "stderr"]


class Message:
    """The base of all messages; it has no behaviour."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class BlobRef:
    """A blob by its name (64 hex digits, see `blobs.py`) and its size."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """Local modules of the notebook's machine, packed (`bundles.py`) in one of the job's blobs."""

    blob: str
    """Its name."""
    modules: tuple[str, ...]
    """Their top-level names."""
    native: str = ""
    """Set: there is compiled code among them, for machines of which `bundles.native_tag()` is this."""


@dataclass(frozen=True, slots=True)
class Package:
    """An installed distribution that a job needs, as it is on the notebook's machine."""

    name: str
    """`scikit-learn`: what an installer calls it."""
    version: str
    """`1.7.2`; empty: any."""
    modules: tuple[str, ...] = ()
    """What the job imports of it: `sklearn`."""


@dataclass(frozen=True, slots=True)
class JobOptions:
    """The rules of a job that hub, worker and slot must know. The functions among them are inside the packed task."""

    reduce: bool = False
    """Parts hold one folded value for their range instead of a list."""
    filters: bool = False
    """Items may end without a result (`keep_if`, a head's `if`, `continue`)."""
    stop_when: bool = False
    task_size: int = 0
    """Items per slice, fixed by the user; 0: the scheduler decides. Slices with a fixed size are not trimmed."""
    time_limit: float = 0.0
    """What an item may take; 0: no limit."""
    retries: int = 0
    """How often an item whose code raised, or that took too long, is tried again."""
    on_error: OnError = "stop"
    seed: int = 0
    """The job's seed, always set: item `i` draws from the stream (seed, i)."""
    seeded: bool = False
    """The user gave the seed: `random` and `numpy.random` are seeded for each item too."""
    speculate: bool = True
    """The last long items may be copied to faster idle slots."""
    files: bool = False
    """What items write to `nbdist.files()` comes home with their results."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a peer says about the computer and the Python that it runs on."""

    hostname: str
    platform: str
    """`sys.platform`: linux, darwin, win32."""
    architecture: str
    python: str
    """`3.11.7`"""
    implementation: str
    """`cpython`"""
    nbdist: str
    cores: int = 1
    memory_bytes: int = 0
    pid: int = 0
    gpus: tuple[str, ...] = ()
    """Their names, as the driver says them."""
    installs: bool = False
    """A worker that makes environments with the packages that jobs need (`--install`)."""
    packages: str = ""
    """A worker: the hash of the list of what is installed there (`installed.py`); empty: nothing is known of that."""

    @property
    def python_minor(self) -> str:
        """`3.11`: machines whose minor version or implementation differ cannot share bytecode."""
        return ".".join(self.python.split(".")[:2])


@dataclass(frozen=True, slots=True)
class HeldAttempt:
    """A slice that a worker still holds after it has reconnected: it will report `[start, stop)`."""

    job: str
    attempt: Attempt
    slot: int
    start: int
    stop: int
    running: bool
    fetching: bool = False
    """Its blobs are not here yet: the slot has not begun it."""


@dataclass(frozen=True, slots=True)
class RunningItem:
    """What a slot is at, as a heartbeat tells it."""

    slot: int
    attempt: Attempt
    item: int


@dataclass(frozen=True, slots=True)
class ItemFault:
    """Why an item has no value although its code did not raise."""

    item: int
    kind: FaultKind
    reason: str
    """For people: the signal or the exit code, or the memory figure."""
    worker: str
    """The name of the machine."""
    attempts: int
    stderr: str = ""
    """The end of what the process wrote to stderr."""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One machine's part in a job, for the view under the cell."""

    name: str
    slots: int
    state: Literal["preparing", "ready", "refused", "lost", "leaving"]
    reason: str = ""
    """Why it is left out and what to do there; or what it is at while it prepares."""
    done: int = 0
    items_per_second: float = 0.0
    running: tuple[int, ...] = ()
    """The items that its slots are at (at most 64)."""


@dataclass(frozen=True, slots=True)
class BlobFile:
    """Where a blob's bytes lie on this machine."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class BundleFolder:
    """Where a bundle's modules lie on this machine, unpacked."""

    name: str
    """Of its blob."""
    path: str
    modules: tuple[str, ...]
