"""Every message that nbdist sends, as a frozen dataclass.

A message is a header: small, checked field by field when it is decoded (`frames.py`), and all that the scheduler ever
sees. Bytes that nobody on the way reads (packed functions, items, results, output) ride behind it as the payload;
each docstring says what the payload is, where there is one.

Fields may be `int` (below 2**63 in size), `float` (finite), `bool`, `str`, `X | None`, `tuple[X, ...]`, `tuple[X, Y]`
and the records of this file. A field with a default may be missing, a field that is not known is ignored: that is how
versions of the protocol that differ by a field talk to each other.

Units: times are in seconds, sizes in bytes, ranges of items are half open, `[start, stop)`.
"""

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


# --- records inside messages ------------------------------------------------------------------------------------------


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
    """Why it is left out and what to do there."""
    done: int = 0
    items_per_second: float = 0.0
    running: tuple[int, ...] = ()
    """The items that its slots are at (at most 64)."""


# --- greeting -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """The first message of every peer. The credential came with the HTTP request that opened the websocket."""

    role: Role
    protocol_min: int
    protocol_max: int
    machine: Machine
    peer: str
    """An id that the peer made for itself and keeps over reconnects."""
    name: str = ""
    """Workers: the name that they wish for. The hub makes it unique."""
    slots: int = 0


@dataclass(frozen=True, slots=True)
class Welcome(Message):
    """The hub takes the peer in."""

    protocol: int
    hub: str
    epoch: int
    name: str
    """The peer's name in this pool."""
    nbdist: str
    folder: str = ""
    """The hub's folder, of mode 0700. A peer that can read `folder/nonce` is on the same machine and the same user:
    it answers with `ProveLocal` and then maps blobs in `folder/blobs` instead of copying them."""


@dataclass(frozen=True, slots=True)
class Refused(Message):
    """The hub does not take the peer in, or breaks with it; the connection closes after this."""

    code: Literal["version", "access", "protocol", "full", "replaced", "stopped"]
    reason: str
    todo: str
    """The line to type, or what to ask for."""


@dataclass(frozen=True, slots=True)
class ProveLocal(Message):
    """The text of `folder/nonce`. It must match, or the connection is refused."""

    nonce: str


# --- notebook to hub ------------------------------------------------------------------------------------------------


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


# --- hub to notebook ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NeedBlobs(Message):
    """The job waits for these blobs: PUT them, or place them and say so. Sent for each job, even if it needs none."""

    job: str
    names: tuple[str, ...]
    more: bool = False
    """Others of them follow."""


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


# --- hub to worker --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JobKnown(Message):
    """A job that a notebook may attach to; payload: its packed task, unless `spec` names it as a blob."""

    spec: SubmitJob
    available: int
    """So many items have come …"""
    total: int | None
    """… of so many; None: more were to come."""
    ended_seconds: float | None = None
    """So long ago it ended; None: it goes on."""
    outcome: str = ""
    """An `Outcome`; empty: it has not ended; `stopping`: it is about to."""
    left: int | None = None
    """So many items would a job run that resumes it; None: that is not known."""
    earlier: tuple[tuple[str, str], ...] = ()
    """The jobs whose results it has taken over, newest first: (id, `SubmitJob.code`)."""


@dataclass(frozen=True, slots=True)
class PrepareJob(Message):
    """Get everything in place before the first slice. Payload: the packed task, unless `task` names a blob."""

    job: str
    options: JobOptions
    task: BlobRef | None = None
    blobs: tuple[BlobRef, ...] = ()
    ranges: tuple[tuple[int, int, int], ...] = ()
    each: bool = False
    modules: tuple[str, ...] = ()
    bundles: tuple[Bundle, ...] = ()


@dataclass(frozen=True, slots=True)
class RunSlice(Message):
    """Run items `[start, stop)` after what the slot has. Payload: block pieces covering them, if the job has blocks."""

    job: str
    attempt: Attempt
    slot: int
    start: int
    stop: int
    blobs: tuple[BlobRef, ...] = ()
    """What the pieces refer to: the worker gets it before the slot begins, and then says `SliceBegun`."""
    files: tuple[BlobFile, ...] = ()
    """From worker to slot: where that lies."""


@dataclass(frozen=True, slots=True)
class TrimSlice(Message):
    """Give away this share (0 < give <= 1) of what the slot has not claimed of the attempt; answered by `SliceCut`.

    A slice that still waits has claimed nothing: `give=1` recalls it whole.
    """

    attempt: Attempt
    give: float


@dataclass(frozen=True, slots=True)
class CancelAttempt(Message):
    """Stop the attempt, running or waiting; it ends with `SliceEnded`."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Acknowledge(Message):
    """All parts of these attempts up to the index are safe at the hub: the worker may forget them."""

    parts: tuple[tuple[Attempt, int], ...]


@dataclass(frozen=True, slots=True)
class LeavePool(Message):
    """Finish running items, give the rest back and go."""

    reason: str


@dataclass(frozen=True, slots=True)
class RenewSlots(Message):
    """Replace every slot that is idle, or as soon as it is, by a fresh process."""


# --- worker to hub --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkerFacts(Message):
    """What the worker holds, right after `Welcome`; unacknowledged parts follow as ordinary `Part`s.

    It comes in as many messages as it takes to keep each header within its bound, and counts once the last is there.
    """

    held: tuple[HeldAttempt, ...] = ()
    ready_jobs: tuple[str, ...] = ()
    more: bool = False
    """Another message of the same kind follows."""


@dataclass(frozen=True, slots=True)
class Heartbeat(Message):
    """The worker lives; every two seconds, and never instead of anything else.

    A worker of many slots sends several, each with some of them.
    """

    running: tuple[RunningItem, ...] = ()
    load: float = 0.0
    """Of the machine: the one-minute load average over its cores."""
    memory_used_bytes: int = 0


@dataclass(frozen=True, slots=True)
class JobReady(Message):
    """Everything that the job needs is in place on this machine."""

    job: str


@dataclass(frozen=True, slots=True)
class JobRefused(Message):
    """This machine cannot run the job."""

    job: str
    reason: str
    todo: str = ""
    """The line to type on that machine, if one helps."""
    again_seconds: float = 0.0
    """The reason may be over by then: the hub asks again. 0: it does not."""
    setup: bool = False
    """One of the job's setups has failed, as it may everywhere."""


@dataclass(frozen=True, slots=True)
class Part(Message):
    """Results of `[start, stop)` of an attempt, in order. Payload: packed runs, unless `blob` names one."""

    job: str
    attempt: Attempt
    start: int
    stop: int
    seconds: float
    """Execution time of these items by the slot's own clock."""
    final: bool
    """The attempt ends with this part; its stop may have been cut meanwhile."""
    failed: tuple[int, ...] = ()
    """Items whose code raised (at most `frames.MAX_FAILED_PER_PART`). If the job has retries or stops on errors, a
    failed item is a part of its own."""
    stopped_at: int | None = None
    blob: BlobRef | None = None


@dataclass(frozen=True, slots=True)
class SliceCut(Message):
    """The attempt now ends at `stop` (or where it ended before, whichever is lower); the rest is given back.

    The answer to `TrimSlice`, and sent without being asked by a worker that leaves. `stop` at the attempt's start: the
    attempt is over, and nothing else follows for it.
    """

    attempt: Attempt
    stop: int


@dataclass(frozen=True, slots=True)
class SliceEnded(Message):
    """The attempt is over without a final part: cancelled, or never begun; what it has not reported is given back."""

    attempt: Attempt
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SliceBegun(Message):
    """The blobs of the attempt are here, its setups have run, and its slot has begun (from slot to worker to hub).

    Until then it was getting data or setting up, and not slow.
    """

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class SetupBegun(Message):
    """Before the items of this attempt its slot runs a setup, from slot to worker to hub. `SliceBegun` follows."""

    attempt: Attempt
    name: str


@dataclass(frozen=True, slots=True)
class SlotCrashed(Message):
    """The slot's process died in this item. The attempt is over, the slot has a fresh process."""

    attempt: Attempt
    item: int
    reason: str
    stderr: str = ""
    kind: FaultKind = "crashed"
    """"unsent": the process lives; the hub does not take the results from this item on. "unfetched": the slice has not
    begun; the hub does not have its data. "timeout": the item took longer than the job's time limit and did not end
    when it was interrupted; it counts as a failure."""


@dataclass(frozen=True, slots=True)
class Leaving(Message):
    """The worker finishes its running items and takes no more."""

    reason: str = ""


# --- both ways ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Output(Message):
    """Text that user code wrote while it ran this item, from slot to worker to hub to notebook. Payload: UTF-8."""

    job: str
    attempt: Attempt
    item: int
    stream: Stream
    worker: str = ""
    """The machine's name; the hub fills it in."""
    cut_bytes: int = 0
    """How many bytes were left out after this text, because the slice wrote more than its bound."""
    setup: str = ""
    """The setup that wrote it, before the item."""


# --- worker and slot (a socket pair on one machine) -----------------------------------------------------------------


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


MESSAGES: tuple[type[Message], ...] = tuple(
    value
    for value in list(globals().values())
    if isinstance(value, type) and issubclass(value, Message) and value is not Message
)
"""Every message, for the codec and for tests that walk over all of them."""
