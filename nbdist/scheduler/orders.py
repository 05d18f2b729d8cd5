"""What scheduler and hub say to each other inside the hub's process, beside the messages of the wire.

Inputs come from the hub's doors and stores; outputs go to `STORES`, which keeps what the scheduler never sees.
"""

from __future__ import annotations

from dataclasses import dataclass

from nbdist.wire.messages import Message

STORES = "stores"
"""The peer that keeps payloads. It is sent:

- `Result`: keep the payload of the part that is being dealt with (or none, if the result has a `fault`), number it
  `seq`, and deliver it to the job's notebook as its credit allows;
- `DropItems`: blocks of items that nobody needs any more may go;
- `ForgetJob`: everything of the job may go;
- `ReleaseJob`: everything of the job may go once its notebook has the results, or is gone.
"""


@dataclass(frozen=True, slots=True)
class PeerClosed(Message):
    """Input: the peer's connection is gone."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class BlobsReady(Message):
    """Input: all blobs of the job are here."""

    job: str


@dataclass(frozen=True, slots=True)
class DropItems(Message):
    """Output: the block of items `[start, stop)` is finished."""

    job: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class ReleaseJob(Message):
    """Output: the scheduler remembers this ended job no more."""

    job: str


@dataclass(frozen=True, slots=True)
class Disconnect(Message):
    """Output, to a peer: it broke the protocol or was replaced. The hub sends `Refused` and closes the connection."""

    code: str
    reason: str
    todo: str = ""
