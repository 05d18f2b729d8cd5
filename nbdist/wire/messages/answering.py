"""What the hub says to a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nbdist.wire.messages.records import BlobRef, ItemFault, Message, Outcome, WorkerRow


@dataclass(frozen=True, slots=True)
class NeedBlobs(Message):
    """The job waits for these blobs: PUT them, or place them and say so. Sent for each job, even if it needs none."""

    job: str
    names: tuple[str, ...]
    more: bool = False
    """Others of them follow."""


@dataclass(frozen=True, slots=True)
class NeedPortable(Message):
    """A machine with another version of Python would take part in the job: answered by `PortableTask`."""

    job: str


@dataclass(frozen=True, slots=True)
class GrantItems(Message):
    """The hub can hold this many bytes of the job's items more than it was allowed before."""

    job: str
    more_bytes: int
    """Of blocks that are finished."""
    wider_bytes: int = 0
    """Beside those: so many bytes more may be unfinished at the hub from now on."""


@dataclass(frozen=True, slots=True)
class Result(Message):
    """Results of items `[start, stop)`, each item once. Payload: packed runs (`packing`), unless `blob` names one."""

    job: str
    seq: int
    """1, 2, 3, … in the order in which the hub accepted them."""
    start: int
    stop: int
    worker: str
    slot: int = 0
    failed: tuple[int, ...] = ()
    stopped_at: int | None = None
    """The item whose value met `stop_when`; it is the last of the range."""
    fault: ItemFault | None = None
    """Set: the range is that one item, and there is no payload."""
    blob: BlobRef | None = None


@dataclass(frozen=True, slots=True)
class JobProgress(Message):
    """The state of a job as the hub knows it, at most four times a second and only when it has changed."""

    job: str
    elapsed_seconds: float
    total: int | None
    done: int
    failed: int
    queued: int
    running_slots: int
    items_per_second: float
    workers: tuple[WorkerRow, ...] = ()
    """The machines by speed, at most 64; `more_workers` counts the others."""
    more_workers: int = 0


@dataclass(frozen=True, slots=True)
class JobFinished(Message):
    """The job has ended, its results are those with numbers up to `last_seq`."""

    job: str
    outcome: Outcome
    last_seq: int
    total: int | None
    reason: str = ""
    stopped_at: int | None = None


@dataclass(frozen=True, slots=True)
class Notice(Message):
    """Something that the person should see: a job waits for machines, a machine was left out, a copy was made."""

    job: str
    level: Literal["info", "warning"]
    text: str


@dataclass(frozen=True, slots=True)
class Answer(Message):
    """The answer to a request; with `error` set, what went wrong and what to do. Payload: as the request says."""

    request: int
    error: str = ""
    text: str = ""
    """A short answer, where the request says so."""
