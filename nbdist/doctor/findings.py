"""What the doctor can find, as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["ok", "warn", "FAIL"]
Where: TypeAlias = Literal["loopback", "own", "near", "far", "unknown"]
"""A host, from this machine: it itself by a name that means nothing elsewhere; it itself; in one of its networks;
beyond them."""
Presence: TypeAlias = Literal["absent", "was", "there"]
"""A computer on this cable or Wi-Fi: nobody answers the question for its hardware address; it has, some time ago; it
has just now."""
Trouble: TypeAlias = Literal[
    "name", "refused", "timeout", "unreachable", "stranger", "no TLS", "broken", "no hub", "host", "access", "old"
]
"""Why an address could not be used: nothing has this name; the port is refused; nothing answers; no way there; another
certificate; no TLS there; it broke off; something else answers; the hub has another name; the credential is not taken;
the hub cannot be asked."""


@dataclass(frozen=True, slots=True)
class Line:
    """One step, for people."""

    state: State
    name: str
    text: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Network:
    """What this machine sees around it, with regard to one host."""

    where: Where = "unknown"
    own: tuple[str, ...] = ()
    """Its networks: `192.168.1.7/24`."""
    gateway: str = ""
    gateway_is_there: bool = False
    host: Presence = "absent"
    others: int = 0
    """Other computers that have."""


@dataclass(frozen=True, slots=True)
class Invite:
    """What the hub says of the credential and of itself."""

    role: str
    is_invite: bool
    valid_seconds: float
    """0: for ever."""
    nbdist: str
    protocol: tuple[int, int]
    pythons: tuple[str, ...]
    """Of its notebooks: `cpython 3.11`."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How far one of the hub's addresses was got to."""

    host: str
    port: int
    tls: bool
    network: Network
    resolved: tuple[str, ...] = ()
    trouble: Trouble | None = None
    """None: all the way."""
    error: str = ""
    """What was said."""
    seconds: float = 0.0
    """Until the port answered, or until nobody waited any longer."""
    invite: Invite | None = None
    clock_ahead_seconds: float | None = None
    """By so much this machine's clock is ahead of the hub's."""

    @property
    def netloc(self) -> str:
        """host:port"""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Software:
    """What would join."""

    executable: str
    python: str
    """`3.11.7`"""
    implementation: str
    nbdist: str
    protocol: tuple[int, int]
    is_one_file: bool = False
    """It runs from worker.pyz."""

    @property
    def kind(self) -> str:
        """As in `Invite.pythons`."""
        return f"{self.implementation} {'.'.join(self.python.split('.')[:2])}"


@dataclass(frozen=True, slots=True)
class Folder:
    """A place for files."""

    path: str
    free_bytes: int
    error: str = ""
    """Why nothing can be written there."""


@dataclass(frozen=True, slots=True)
class Computer:
    """What the worker would have here."""

    software: Software
    cores: int
    memory_bytes: int
    memory_free_bytes: int
    """Both 0 if the system does not say."""
    files: int
    """That a process may open; 0: unknown."""
    temporary: Folder
    shared: Folder | None
    """Shared memory; None: this system has none."""
    slot_seconds: float
    """Until a slot had started and run a line."""
    slot_error: str = ""
    keeps_awake: str = ""
    """What keeps this machine from falling asleep while it works."""


@dataclass(frozen=True, slots=True)
class Pool:
    """This user's embedded pool."""

    folder: str
    exists: bool
    is_private: bool = True
    hub_lives: bool = False
    """It holds its lock."""
    worker_lives: bool = False
    has_ready_file: bool = False
    ready_error: str = ""
    journal_error: str = ""
    has_journal: bool = False
    free_bytes: int = 0
    log: str = ""
    """The end of the hub's log."""
