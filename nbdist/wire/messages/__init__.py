"""Every message that nbdist sends, as a frozen dataclass.

A message is a header: small, checked field by field when it is decoded (`frames.py`), and all that the scheduler ever
sees. Bytes that nobody on the way reads (packed functions, items, results, output) ride behind it as the payload;
each docstring says what the payload is, where there is one.

Fields may be `int` (below 2**63 in size), `float` (finite), `bool`, `str`, `X | None`, `tuple[X, ...]`, `tuple[X, Y]`
and the records of `records`. A field with a default may be missing, a field that is not known is ignored: that is how
versions of the protocol that differ by a field talk to each other.

Units: times are in seconds, sizes in bytes, ranges of items are half open, `[start, stop)`.
"""

from __future__ import annotations

from nbdist.wire.messages.answering import (
    Answer,
    GrantItems,
    JobFinished,
    JobProgress,
    NeedBlobs,
    NeedPortable,
    Notice,
    Result,
)
from nbdist.wire.messages.asking import (
    AddItems,
    AttachJob,
    BlobPlaced,
    CancelJob,
    ClearPool,
    CloseInvites,
    CloseItems,
    DescribeJob,
    DescribePool,
    ExplainItem,
    FindJob,
    ForgetJob,
    MakeInvite,
    PortableTask,
    ReadResults,
    StopWorkers,
    SubmitJob,
    TakeResults,
)
from nbdist.wire.messages.greeting import (
    Hello,
    ProveLocal,
    Refused,
    Welcome,
)
from nbdist.wire.messages.ordering import (
    Acknowledge,
    CancelAttempt,
    JobKnown,
    LeavePool,
    PrepareJob,
    RenewSlots,
    RunSlice,
    TrimSlice,
)
from nbdist.wire.messages.records import (
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    Attempt,
    BlobFile,
    BlobRef,
    Bundle,
    BundleFolder,
    Each,
    FaultKind,
    HeldAttempt,
    ItemFault,
    JobOptions,
    Machine,
    Message,
    OnError,
    Outcome,
    Package,
    Role,
    RunningItem,
    Stream,
    WorkerRow,
)
from nbdist.wire.messages.reporting import (
    Heartbeat,
    JobReady,
    JobRefused,
    Leaving,
    Output,
    Part,
    SetupBegun,
    SliceBegun,
    SliceCut,
    SliceEnded,
    SlotCrashed,
    WorkerFacts,
)
from nbdist.wire.messages.slots import (
    LoadTask,
    SlotPart,
    SlotReady,
    TaskRefused,
)

__all__ = [
    "MESSAGES",
    "PROTOCOL_MAX",
    "PROTOCOL_MIN",
    "Acknowledge",
    "AddItems",
    "Answer",
    "AttachJob",
    "Attempt",
    "BlobFile",
    "BlobPlaced",
    "BlobRef",
    "Bundle",
    "BundleFolder",
    "CancelAttempt",
    "CancelJob",
    "ClearPool",
    "CloseInvites",
    "CloseItems",
    "DescribeJob",
    "DescribePool",
    "Each",
    "ExplainItem",
    "FaultKind",
    "FindJob",
    "ForgetJob",
    "GrantItems",
    "Heartbeat",
    "HeldAttempt",
    "Hello",
    "ItemFault",
    "JobFinished",
    "JobKnown",
    "JobOptions",
    "JobProgress",
    "JobReady",
    "JobRefused",
    "LeavePool",
    "Leaving",
    "LoadTask",
    "Machine",
    "MakeInvite",
    "Message",
    "NeedBlobs",
    "NeedPortable",
    "Notice",
    "OnError",
    "Outcome",
    "Output",
    "Package",
    "Part",
    "PortableTask",
    "PrepareJob",
    "ProveLocal",
    "ReadResults",
    "Refused",
    "RenewSlots",
    "Result",
    "Role",
    "RunSlice",
    "RunningItem",
    "SetupBegun",
    "SliceBegun",
    "SliceCut",
    "SliceEnded",
    "SlotCrashed",
    "SlotPart",
    "SlotReady",
    "StopWorkers",
    "Stream",
    "SubmitJob",
    "TakeResults",
    "TaskRefused",
    "TrimSlice",
    "Welcome",
    "WorkerFacts",
    "WorkerRow",
]

MESSAGES: tuple[type[Message], ...] = tuple(
    value
    for value in list(globals().values())
    if isinstance(value, type) and issubclass(value, Message) and value is not Message
)
"""Every message, for the codec and for tests that walk over all of them."""
