"""The peers of a hub: one connection each, one name each. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from nbdist.errors import ProtocolError
from nbdist.hub.access import Grant
from nbdist.hub.refusal import RefusalError
from nbdist.scheduler.orders import STORES
from nbdist.wire.frames import Payload
from nbdist.wire.messages import Hello, Machine, Message, Refused, Role

MAX_PEERS = 12_000
"""Connections, of all roles together."""
MAX_NAMES = 50_000
"""Names are remembered for workers that come back; the oldest are forgotten first."""
MAX_NAME_CHARACTERS = 64

_PEER_ID = re.compile(r"[A-Za-z0-9_.:-]{1,80}", re.ASCII)


class Link(Protocol):
    """One connection, as the switchboard uses it. Nothing here waits, raises or calls back."""

    is_remote: bool
    """The other end is not on this machine."""

    def send(self, message: Message, payload: Payload = b"") -> None:
        """Sends a message; if the other end does not read, the connection is closed once too much waits."""

    def send_if_room(self, message: Message, payload: Payload = b"") -> None:
        """Sends a message that may be replaced by a later one, or cut, while the other end does not read."""

    def refuse(self, refused: Refused) -> None:
        """Says why, and closes."""


@dataclass(slots=True)
class Peer:
    """One peer that was let in."""

    id: str
    role: Role
    grant: Grant
    link: Link
    machine: Machine
    name: str
    slots: int = 0
    is_local: bool = False
    """It has proved that it is on this machine and of this user."""


class Peers:
    """All peers, by their ids."""

    def __init__(self, max_peers: int = MAX_PEERS) -> None:
        self._peers: dict[str, Peer] = {}
        self._names: dict[str, str] = {}
        """Peer id of a worker -> the name that it has in this pool, also while it is away."""
        self._owners: dict[str, str] = {}
        """Name -> the worker that has it."""
        self._max_peers = max_peers

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._peers.values())

    def get(self, id: str) -> Peer | None:
        """The peer with this id, if it is connected."""
        return self._peers.get(id)

    def add(self, hello: Hello, grant: Grant, link: Link) -> tuple[Peer, Peer | None]:
        """Lets a peer in; gives it and the one that it replaces. Raises ProtocolError, RefusalError."""
        before = self._check(hello, grant)
        name = self._name(hello) if hello.role == "worker" else hello.name[:MAX_NAME_CHARACTERS]
        peer = Peer(hello.peer, hello.role, grant, link, hello.machine, name, hello.slots)
        self._peers[peer.id] = peer
        return peer, before

    def remove(self, peer: Peer) -> bool:
        """Forgets a peer whose connection is gone; False if another connection has replaced it before."""
        if self._peers.get(peer.id) is not peer:
            return False
        del self._peers[peer.id]
        return True

    def _check(self, hello: Hello, grant: Grant) -> Peer | None:
        if not _PEER_ID.fullmatch(hello.peer) or hello.peer == STORES:
            raise ProtocolError("a peer's id has 1 to 80 letters, digits and _.:-")
        if not 0 <= hello.slots <= 4096:
            raise ProtocolError("a worker has 0 to 4096 slots")
        before = self._peers.get(hello.peer)
        if before is None and len(self._peers) >= self._max_peers:
            raise RefusalError("full", f"the hub has {len(self._peers)} connections, its bound", "start a second hub")
        if before is not None and (before.role != hello.role or not _same_owner(before, grant)):
            raise RefusalError("access", "another peer uses this id", "start anew: it makes itself a new id")
        return before

    def _name(self, hello: Hello) -> str:
        known = self._names.pop(hello.peer, None)
        name = known or self._free_name(hello.name or hello.machine.hostname)
        self._names[hello.peer] = name
        self._owners[name] = hello.peer
        if len(self._names) > MAX_NAMES:
            del self._owners[self._names.pop(next(id for id in self._names if id not in self._peers))]
        return name

    def _free_name(self, wish: str) -> str:
        wish = "".join(c if c.isprintable() else "?" for c in wish)[:MAX_NAME_CHARACTERS].strip() or "worker"
        for number in count(1):
            name = wish if number == 1 else f"{wish}-{number}"
            owner = self._owners.get(name)
            if owner not in self._peers:  # nobody's, or of a worker that is away: it gets another one if it comes back
                self._names.pop(owner or "", None)
                break
        return name


def _same_owner(before: Peer, grant: Grant) -> bool:
    return grant.id == before.grant.id or grant.peer == before.id
