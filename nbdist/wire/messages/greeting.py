"""The first messages of every connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nbdist.wire.messages.records import Machine, Message, Role


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
    knows_packages: bool = True
    """False: the hub does not have the list of which `Machine.packages` is the hash; the worker sends it first."""


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
