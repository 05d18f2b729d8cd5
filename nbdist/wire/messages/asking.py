"""What a notebook says to the hub."""

from __future__ import annotations

from dataclasses import dataclass

from nbdist.wire.messages.records import BlobRef, Bundle, Each, JobOptions, Machine, Message, Package, Role


@dataclass(frozen=True, slots=True)
class SubmitJob(Message):
    """A job. Idempotent by `job`, which the client makes. Payload: the packed task, unless `task` names a blob."""

    job: str
    name: str
    machine: Machine
    options: JobOptions
    task: BlobRef | None = None
    blobs: tuple[BlobRef, ...] = ()
    """All blobs that the task needs (`task` is not listed again)."""
    ranges: tuple[tuple[int, int, int], ...] = ()
    """Items as numbers: (start, stop, step) of one range, or of each range of a product, the last one fastest."""
    total: int | None = None
    """How many items there are; None: not known yet, items arrive by `AddItems` until `CloseItems`."""
    each: Each = ""
    """Run the task, without an item, once on each machine or slot; `ranges` and `total` are empty."""
    modules: tuple[str, ...] = ()
    """Top-level modules that a worker must be able to import."""
    packages: tuple[Package, ...] = ()
    """What these modules belong to on the notebook's machine, with versions."""
    bundles: tuple[Bundle, ...] = ()
    """Modules that travel: where these lie in `blobs`."""
    needs: str = ""
    """What a machine must have (`needs.py`)."""
    key: str = ""
    """Jobs with the same key give the same values: 64 hex digits, or empty (`FindJob`)."""
    items_key: str = ""
    """Jobs with the same one have the same items: 64 hex digits, or empty."""
    resumes: str = ""
    """An ended job: what is done there is done here too, and only the other items run (`resuming.py`)."""
    code: str = ""
    """Stands for the code of the task: another one means that the code has changed."""


@dataclass(frozen=True, slots=True)
class PortableTask(Message):
    """The task of a job in the form that every version of Python reads, as it was when the job was submitted; or why
    there is none. The answer to `NeedPortable`. Payload: the packed task, unless `task` names a blob."""

    job: str
    refusal: str = ""
    """What cannot go as source, and what to do."""
    task: BlobRef | None = None
    blobs: tuple[BlobRef, ...] = ()
    """All blobs that this form needs (`task` is not listed again)."""


@dataclass(frozen=True, slots=True)
class AddItems(Message):
    """Items `[start, start + count)` of a job that came without ranges. Payload: a block (`blocks.py`)."""

    job: str
    start: int
    count: int
    blobs: tuple[BlobRef, ...] = ()
    """What is too large for the block, which refers to it by name (at most `blocks.MAX_ITEM_BLOBS`)."""
    files: tuple[str, ...] = ()
    """From a peer that proved to be local: the name of the file in `folder/incoming` of each of `blobs`. Others have
    put these before, for this job and `start` (`blobs.HOLDER_HEADER`)."""
    native: str = ""
    """Set: why only the notebook's version of Python reads the block."""


@dataclass(frozen=True, slots=True)
class CloseItems(Message):
    """No more items come; the job has `total`. An iterable that fails is followed by `CancelJob` instead."""

    job: str
    total: int


@dataclass(frozen=True, slots=True)
class CancelJob(Message):
    """Stop the job's running code, keep its finished results. Answered by `JobFinished` once nothing of it runs."""

    job: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TakeResults(Message):
    """The notebook has dealt with all results up to number `seq` and can take `window_bytes` more than those."""

    job: str
    seq: int
    window_bytes: int


@dataclass(frozen=True, slots=True)
class AttachJob(Message):
    """Send the job's results from number `seq` on (after a reconnect), and its state."""

    job: str
    seq: int
    window_bytes: int
    received: int = 0
    """The notebook has results up to this number; those behind `seq` it has not dealt with."""


@dataclass(frozen=True, slots=True)
class DescribeJob(Message):
    """What a job of an earlier notebook is, so that this one can attach to it. The payload of the `Answer` is the frame
    of a `JobKnown`."""

    request: int
    job: str
    to_resume: bool = False
    """Its results are to be taken over by a new job: it need not be free for another notebook, and no task is sent."""


@dataclass(frozen=True, slots=True)
class ReadResults(Message):
    """The results of an ended job that are kept, from a place in its log on, whoever has had them before.

    The payload of the `Answer` is some of them (`resuming.split`); its text the place where the next ones are, as two
    numbers, or empty at the end.
    """

    request: int
    job: str
    segment: int = -1
    """-1: from the first on."""
    offset: int = 0


@dataclass(frozen=True, slots=True)
class FindJob(Message):
    """Is there a job with this key whose results this notebook can have? `Answer.text`: the id of the newest, or empty.

    It has ended well and all its results are here, or it goes on and its notebook has gone."""

    request: int
    key: str


@dataclass(frozen=True, slots=True)
class ForgetJob(Message):
    """Notebook to hub: results and blobs of the job may go (those of a job with a key are kept for a while, for
    `FindJob`). Hub to worker and slot: its task may go."""

    job: str


@dataclass(frozen=True, slots=True)
class BlobPlaced(Message):
    """A peer that proved to be local has put the blob's complete file into `folder/blobs`."""

    blob: BlobRef


@dataclass(frozen=True, slots=True)
class DescribePool(Message):
    """Asks for an `Answer` whose payload is a JSON object: `workers`, `jobs` and `hub` (see `scheduler.history`)."""

    request: int


@dataclass(frozen=True, slots=True)
class ExplainItem(Message):
    """Why is this item not done? `Answer` with the lines as text."""

    request: int
    job: str
    item: int


@dataclass(frozen=True, slots=True)
class StopWorkers(Message):
    """Let these machines finish their running items and leave. `Answer.text`: their names, one a line."""

    request: int
    names: tuple[str, ...] = ()
    """Empty: all of them."""


@dataclass(frozen=True, slots=True)
class MakeInvite(Message):
    """Opens the LAN port if it is not open and makes an invite. `Answer`: JSON with `url` and `lines`."""

    request: int
    role: Role = "worker"
    uses: int = 0
    """0: as many as come."""
    valid_seconds: float = 86400.0


@dataclass(frozen=True, slots=True)
class CloseInvites(Message):
    """Revokes all invites and shuts the LAN port. `Answer` is empty."""

    request: int


@dataclass(frozen=True, slots=True)
class ClearPool(Message):
    """Cancels the notebook's jobs, forgets their results and gives every slot a fresh process. `Answer` is empty."""

    request: int
