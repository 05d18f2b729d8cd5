"""The seam between the Python API and whatever runs its jobs.

An engine takes a `JobSpec` and delivers events: messages of the wire (`Result`, `JobProgress`, `JobFinished`,
`Output`, `Notice`) with their payloads. Nothing in `client/` or `notebook/` knows which engine it talks to; one
contract suite (`tests/engines/`) is passed by all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from nbdist.wire.messages import Bundle, Each, JobOptions, Message, Result

Buffer: TypeAlias = bytes | bytearray | memoryview
Repack: TypeAlias = "Callable[[Buffer, Mapping[str, Buffer]], PackedTask]"
"""Packs a job's task for other versions of Python, from its packed task and the blobs of that: see `JobSpec.repack`."""
Deliver: TypeAlias = Callable[[Message, Buffer], None]
"""Takes one event. It is called on a thread of the engine's, in order, and must return at once."""


@dataclass(frozen=True)
class PackedTask:
    """A task as bytes: the packed task itself, and the blobs (large captured values) that it refers to by name."""

    pieces: Sequence[Buffer]
    """The packed task, as buffers one after another."""
    blobs: Sequence[PackedBlob] = ()
    bundles: Sequence[Bundle] = ()
    """Which of these are local modules."""
    modules: tuple[str, ...] = ()
    """Top-level modules that the local ones import."""

    @property
    def size(self) -> int:
        return sum(memoryview(piece).nbytes for piece in self.pieces)


@dataclass(frozen=True)
class PackedBlob:
    """Bytes with the name that their content gives them (`wire.blobs`)."""

    name: str
    size: int
    pieces: Sequence[Buffer]


@dataclass(frozen=True)
class Block:
    """Consecutive items, packed as a block of the wire (`wire.blocks`); or one that is too large for that."""

    count: int
    data: bytes = b""
    large: Sequence[Buffer] = ()
    """Bytes that travel as blobs: the item's own memory, so that a change changes it until it is sent."""
    finish: Callable[[Sequence[str]], bytes] | None = None
    """With `large`: makes `data` from the names of those blobs."""
    native: str = ""
    """Set: why only this version of Python reads it."""

    @property
    def size(self) -> int:
        """What it counts against the window (as in `hub.items`)."""
        return sum(memoryview(buffer).nbytes for buffer in self.large) or len(self.data)


@dataclass(frozen=True)
class JobSpec:
    """A job as the API hands it over."""

    job: str
    """Its id: made by the client, unique for ever."""
    name: str
    options: JobOptions
    task: Any
    """The `execution.Task`, for engines that run it in this process."""
    packed: Callable[[], PackedTask]
    """Packs the task, once; raises PackingError. For engines that send it."""
    ranges: tuple[tuple[int, int, int], ...] = ()
    total: int | None = None
    """Known number of items, or None."""
    blocks: Iterator[Block] | None = None
    """Items that are no numbers, packed; produced lazily, read by one thread of the engine's, as credit allows."""
    items: Iterator[Any] | None = None
    """All items as they are, for engines that run in this process. An engine reads these, or `ranges` or `blocks`, but
    not both."""
    is_open: bool = False
    """Items come by `Run.add`, until `Run.close_items`; `blocks` and `items` are None."""
    each: Each = ""
    modules: tuple[str, ...] = ()
    needs: str = ""
    """What a machine must have (`wire.needs`)."""
    key: str = ""
    """Jobs with the same key give the same values; empty: it has none (`client/analysis/identity.py`)."""
    items_key: str = ""
    resumes: str = ""
    """The id of an ended job: what is done there is done here too."""
    code: str = ""
    """Stands for the task's code (`SubmitJob.code`)."""
    repack: Repack | None = None
    """Packs the task once more, for other versions of Python, as it was then; raises PackingError if it cannot go, or
    is not known any more. Any thread may call it, until the job has ended. None: this client does not have the task."""
    context: dict[str, Any] = field(default_factory=dict)
    """For engines with means of their own; unknown keys are ignored."""


class Run(Protocol):
    """A job that an engine has taken."""

    def wait(self, timeout: float | None) -> None:
        """Returns once events were delivered since the last call, or after `timeout` seconds.

        An engine that runs in this process uses the call to run the next items.
        """

    def consumed(self, seq: int) -> None:
        """The caller has dealt with all results up to number `seq`: credit for more."""

    def add(self, values: Sequence[Any], block: Callable[[], Block]) -> None:
        """Appends items to an open job: as they are, or packed when `block` is called."""

    def close_items(self) -> None:
        """No more items come to an open job."""

    def cancel(self, reason: str) -> None:
        """Asks for the end; `JobFinished` follows when none of its code runs any more."""

    def forget(self) -> None:
        """The caller needs no results of the job any more."""


@dataclass(frozen=True)
class Earlier:
    """An ended job whose results a new one takes over, and those that it has taken over itself."""

    spec: JobSpec
    """Without its task and items."""
    available: int
    """So many of its items had come."""
    outcome: str
    """An `Outcome`; empty: it has not ended; `stopping`: it is about to."""
    left: int | None
    """So many items are to be run; None: that is not known."""
    codes: tuple[str, ...]
    """`SubmitJob.code` of all of them."""
    results: Callable[[], Iterator[tuple[Result, Buffer]]]
    """What all of them have, failed items too. Raises NbdistError."""


@dataclass(frozen=True)
class Attached:
    """A job of an earlier client, as an engine knows it."""

    spec: JobSpec
    """Without its task and items."""
    available: int
    """So many of its items are there; if `spec.total` is None, more were to come and never will."""
    task: Callable[[Path], tuple[Buffer, dict[str, str]]]
    """Gets the packed task, and puts its blobs into a folder: name -> path. Raises NbdistError and OSError."""
    take_over: Callable[[Deliver], Run]
    """Takes the job over: its results come from the first one on."""
    ended_seconds: float | None = None
    """So long ago it ended; None: it goes on."""
    earlier: Earlier | None = None
    """The job that it resumes."""


class Engine(Protocol):
    """What a pool is connected to."""

    @property
    def address(self) -> str:
        """For people: `inline`, or the hub's address without its secret."""

    def submit(self, spec: JobSpec, deliver: Deliver) -> Run:
        """Takes a job. Raises PackingError and NbdistError; later trouble comes as an event."""

    def attach(self, job: str) -> Attached:
        """A job of an earlier client of the same person, or one of this client's that is over. Raises NbdistError if it
        cannot be taken over."""

    def find(self, key: str) -> str:
        """The id of the newest job with this key that has ended well, all of whose results are still there, or that
        goes on without a client; empty if there is none."""

    def earlier(self, job: str) -> Earlier:
        """A job that is to be resumed. Raises NbdistError if there is none, or this engine keeps no results."""

    def stage(self, view: memoryview) -> Callable[[str], None]:
        """Tells of a large value that is about to be sent, before it has a name: an engine may begin to copy it.

        Gives the function to be called with the name, which returns once the value may change.
        """

    def describe(self) -> dict[str, Any]:
        """The pool now: `workers`, `jobs`, `hub` (see `scheduler.history.describe` for the fields)."""

    def explain(self, job: str, item: int) -> str:
        """Why an item is not done, as text."""

    def cancel(self, job: str, reason: str) -> None:
        """Cancels any job of this pool by its id."""

    def stop_workers(self, names: Sequence[str]) -> list[str]:
        """Lets these machines (all, if empty) finish their running items and leave; gives their names."""

    def invite(self, *, role: str = "worker", uses: int = 0, valid_seconds: float = 86400.0) -> dict[str, Any]:
        """Makes an invite: `url` and `lines` (pairs of a label and the line to type)."""

    def close_invites(self) -> None:
        """Revokes all invites and shuts the LAN port."""

    def clear(self) -> None:
        """Cancels this client's jobs, forgets their results, and gives every slot a fresh process."""

    def close(self) -> None:
        """Ends the connection, and whatever the engine started for this pool alone. Idempotent."""
