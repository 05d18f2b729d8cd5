"""What supervisor and agent say to each other inside the agent's process, beside the messages of the wire.

The supervisor sends orders to `LOCAL` and hears of events from it. Attempts are named as on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass

from nbdist.wire.messages import Attempt, BlobRef, Bundle, Message, Package

HUB = "hub"
LOCAL = "local"
SLOT = "slot:"
"""`slot:3` is slot 3."""
EVERYTHING = 2**62
"""Above every index of an item."""


# --- orders ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartSlot(Message):
    """Give the slot a process. `SlotReady` comes from it, or `SlotDied` of it."""

    slot: int
    environment: str = ""
    """Whose interpreter it has; empty: the worker's own."""


@dataclass(frozen=True, slots=True)
class BeginClaim(Message):
    """Set up the slot's claim for a slice that is about to be sent to it."""

    slot: int
    attempt: Attempt
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class CutClaim(Message):
    """Take a share of what the slot has not claimed; answered by `ClaimCut`."""

    slot: int
    attempt: Attempt
    give: float


@dataclass(frozen=True, slots=True)
class InterruptSlot(Message):
    """Stop this attempt, if it still runs."""

    slot: int
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class LookAtItem(Message):
    """What is the slot at? Answered by `ItemSeen` if it is at this attempt."""

    slot: int
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class NudgeSlot(Message):
    """Let the slot look whether the time of the item that it runs is up."""

    slot: int


@dataclass(frozen=True, slots=True)
class LookAtMemory(Message):
    """What do these slots use? Answered by `MemoryUsed`."""

    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KillSlot(Message):
    """End the slot's process; `SlotDied` follows."""

    slot: int


@dataclass(frozen=True, slots=True)
class GetReady(Message):
    """Check the job's modules and get its blobs; answered by `JobInPlace` or `JobNotInPlace`. Payload: the task."""

    job: str
    task: BlobRef | None
    blobs: tuple[BlobRef, ...]
    modules: tuple[str, ...]
    bundles: tuple[Bundle, ...] = ()
    environment: str = ""
    """Where its modules are looked for, later; empty: in the worker's own, now."""


@dataclass(frozen=True, slots=True)
class BuildEnvironment(Message):
    """Make this environment, if it is not there; answered by `EnvironmentInPlace` or `EnvironmentNotInPlace`."""

    environment: str
    packages: tuple[Package, ...]


@dataclass(frozen=True, slots=True)
class CancelBuild(Message):
    """End this build: nobody wants it any more. Not answered."""

    environment: str


@dataclass(frozen=True, slots=True)
class LookForModules(Message):
    """Are the job's modules in its environment? Answered by `ModulesInPlace` or `JobNotInPlace`."""

    job: str
    environment: str


@dataclass(frozen=True, slots=True)
class LookAtJob(Message):
    """What is being done for the job, which is not ready yet? Answered by `JobSeen`."""

    job: str


@dataclass(frozen=True, slots=True)
class DropJob(Message):
    """The job's task and blobs are not needed any more."""

    job: str


@dataclass(frozen=True, slots=True)
class KeepPart(Message):
    """Keep the payload of this part until `DropParts`."""

    attempt: Attempt
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class PlaceBlob(Message):
    """Bring the payload of a part, which lies in the file `path`, to the hub; answered by `BlobInPlace`."""

    attempt: Attempt
    start: int
    stop: int
    blob: BlobRef
    path: str


@dataclass(frozen=True, slots=True)
class DropParts(Message):
    """The payloads of the attempt's parts up to `stop` are not needed any more."""

    attempt: Attempt
    stop: int


@dataclass(frozen=True, slots=True)
class FetchItems(Message):
    """Get the blobs of this slice's items, until `DropItems`; answered by `ItemsInPlace` or `ItemsNotInPlace`."""

    attempt: Attempt
    blobs: tuple[BlobRef, ...]


@dataclass(frozen=True, slots=True)
class DropItems(Message):
    """The items that came with this slice, and their blobs, are not needed any more."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Say(Message):
    """Tell the person at this machine."""

    text: str


@dataclass(frozen=True, slots=True)
class Quit(Message):
    """The worker is done."""

    reason: str


# --- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SlotDied(Message):
    """The slot's process has ended, or could not be started."""

    slot: int
    item: int
    """The item that it ran last."""
    reason: str
    stderr: str = ""
    began: float = 0.0
    """When that began, if its job has a time limit."""


@dataclass(frozen=True, slots=True)
class ItemSeen(Message):
    """The slot is at this item of the attempt."""

    slot: int
    attempt: Attempt
    item: int
    began: float
    """By the clock of the machine's; 0: it is between two items."""


@dataclass(frozen=True, slots=True)
class MemoryUsed(Message):
    """(slot, bytes that its process and what that has started have in memory), for each that could be looked at."""

    used: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ClaimCut(Message):
    """The attempt now ends at `stop`."""

    slot: int
    attempt: Attempt
    stop: int


@dataclass(frozen=True, slots=True)
class JobInPlace(Message):
    """All that the job needs is here."""

    job: str


@dataclass(frozen=True, slots=True)
class JobNotInPlace(Message):
    """Something that the job needs is not here and cannot be got."""

    job: str
    reason: str
    todo: str = ""
    again_seconds: float = 0.0
    """After so long it may be worth trying again; 0: never."""


@dataclass(frozen=True, slots=True)
class JobSeen(Message):
    """This is being done for the job."""

    job: str
    what: str


@dataclass(frozen=True, slots=True)
class BuildBegun(Message):
    """The environment was not there: it is being made."""

    environment: str


@dataclass(frozen=True, slots=True)
class EnvironmentInPlace(Message):
    """The environment is whole, and stays while something here needs it."""

    environment: str


@dataclass(frozen=True, slots=True)
class EnvironmentNotInPlace(Message):
    """The environment could not be made."""

    environment: str
    output: str
    """What the installer wrote last."""
    reason: str = ""
    """If that says nothing."""


@dataclass(frozen=True, slots=True)
class ModulesInPlace(Message):
    """The job's environment has the modules that it imports."""

    job: str


@dataclass(frozen=True, slots=True)
class ItemsInPlace(Message):
    """The blobs of this slice's items are here."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class ItemsNotInPlace(Message):
    """The blobs of this slice's items cannot be got."""

    attempt: Attempt
    reason: str
    todo: str = ""
    is_gone: bool = False
    """The hub does not have them; otherwise it is this machine that has no room or no way for them."""


@dataclass(frozen=True, slots=True)
class BlobInPlace(Message):
    """The payload of this part is at the hub."""

    attempt: Attempt
    start: int


@dataclass(frozen=True, slots=True)
class BlobNotInPlace(Message):
    """The payload of this part could not be brought to the hub; the part is lost."""

    attempt: Attempt
    start: int
    reason: str


@dataclass(frozen=True, slots=True)
class HubLost(Message):
    """The connection is gone."""

    reason: str


@dataclass(frozen=True, slots=True)
class UserLeaves(Message):
    """The person at this machine wants it back. Once: finish running items. Twice: at once."""

    reason: str
