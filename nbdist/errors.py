"""The error tree: whatever nbdist raises on purpose is one of these.

    NbdistError
    ├── AddressError            an address or invite that does not parse
    ├── ConnectionFailedError   the hub could not be reached, or did not answer
    │   └── NobodyListensError  nothing listens at its address, or no computer has this name
    ├── AccessError             a wrong, expired or revoked credential, or a role that may not do this
    │   └── StrangerError       another computer answers at the hub's address
    ├── VersionError            the two ends cannot talk to each other
    ├── ProtocolError           a peer sent something that the wire does not allow
    │   └── FrameError          bytes that are no frame, or a frame that is no message
    ├── CellError               a cell's head, body or options break a rule
    ├── PackingError            a value cannot travel
    ├── BlobError               bytes that do not match their name, or are gone
    │   └── NoRoomError         a disk has no room for them
    ├── JobError                a job ended without its results
    │   ├── JobCancelledError
    │   └── JobRefusedError     no machine of the pool can run it
    └── ItemError               one item has no value
        ├── WorkerCrashedError  it ended the process that ran it
        ├── WorkerLostError     the machines that ran it vanished
        ├── ItemTimeoutError    it took longer than its time limit
        ├── ItemExitError       its code raised SystemExit, KeyboardInterrupt or the like
        └── ResultError         its value cannot be sent

Each message says what happened, to which job, item and machine, and what to do.
An exception of the user's own code is none of these: it is raised again as itself,
with a `RemoteTraceback` as its cause. What is no `Exception` (SystemExit, KeyboardInterrupt, GeneratorExit) comes as
`ItemExitError`: it would end the notebook's process, or its caller, without a word.
"""

from __future__ import annotations


class NbdistError(Exception):
    """The root of all errors that nbdist raises on purpose."""


class AddressError(NbdistError):
    """An address or an invite does not parse."""


class ConnectionFailedError(NbdistError):
    """The hub could not be reached, or did not answer in time."""


class NobodyListensError(ConnectionFailedError):
    """A computer refuses the connection, or none has this name: waiting will hardly help."""


class AccessError(NbdistError):
    """A credential is wrong, expired or revoked, or its role may not do this."""


class StrangerError(AccessError):
    """Another computer than the hub answers at the hub's address: its certificate is not the one that was named."""


class VersionError(NbdistError):
    """The two ends speak no common protocol; the message holds the line that upgrades the older one."""


class ProtocolError(NbdistError):
    """A peer broke the protocol; its connection is closed."""


class FrameError(ProtocolError):
    """Bytes are no frame, or a frame holds no known, well-formed message."""


class CellError(NbdistError):
    """A cell's head, body or options break a rule; the message shows the line and what to write instead."""


class PackingError(NbdistError):
    """A value cannot be packed; the message names it, its type and, where one is known, a way out."""


class BlobError(NbdistError):
    """A blob's bytes do not match its name, or the blob is gone."""


class FilesError(NbdistError):
    """The files of items cannot be written to the folder that was named for them."""


class NoRoomError(BlobError):
    """There is no room for a blob on a disk; there may be once others are not needed any more."""


class JobError(NbdistError):
    """A job ended without all its results."""


class JobCancelledError(JobError):
    """A job was cancelled before it was done; the values that it had are in `job.values`."""


class JobRefusedError(JobError):
    """No machine of the pool can run the job; the message says why, machine by machine."""


class ItemError(NbdistError):
    """One item has no value, and that is not an exception of the user's code."""


class WorkerCrashedError(ItemError):
    """An item ended the process that ran it, as often as it was tried."""


class WorkerLostError(ItemError):
    """The machines on which an item ran vanished, as often as it was tried."""


class ItemTimeoutError(ItemError):
    """An item took longer than its time limit."""

    TEXT = "took longer than its time limit"
    """How the message begins where the item is not named yet."""


class ItemExitError(ItemError):
    """An item's code raised what is no `Exception`: it ends the item, never the process that asks for its value."""

    raised: BaseException | None = None
    """What it raised, if that could travel."""


class ResultError(ItemError):
    """An item's value cannot be sent to the notebook."""


class RemoteTraceback(NbdistError):
    """The traceback of an exception as the worker printed it: the cause of the exception that is raised here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'
