"""What a worker and its slots say to each other, through a socket pair on one machine."""

from __future__ import annotations

from dataclasses import dataclass

from nbdist.wire.messages.records import Attempt, BlobFile, BundleFolder, JobOptions, Message
from nbdist.wire.messages.reporting import Part


@dataclass(frozen=True, slots=True)
class LoadTask(Message):
    """Worker to slot, before the job's first slice there. Payload: the packed task, unless `task` names a file."""

    job: str
    options: JobOptions
    task: str = ""
    files: tuple[BlobFile, ...] = ()
    ranges: tuple[tuple[int, int, int], ...] = ()
    each: bool = False
    bundles: tuple[BundleFolder, ...] = ()
    """What its local modules are imported from."""
    portable: bool = False
    """Results go to another version of Python."""


@dataclass(frozen=True, slots=True)
class SlotReady(Message):
    """Slot to worker: the process is up."""

    pid: int


@dataclass(frozen=True, slots=True)
class SlotPart(Message):
    """Slot to worker: a part whose payload was too large to ride along lies in this file, and has this blob name."""

    part: Part
    path: str


@dataclass(frozen=True, slots=True)
class TaskRefused(Message):
    """Slot to worker: the task cannot be loaded here (a module is missing, say); the attempt has run nothing."""

    job: str
    attempt: Attempt
    reason: str
    todo: str = ""
    setup: bool = False
    """It was loaded, and one of its setups has failed."""
