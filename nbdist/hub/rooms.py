"""What the doors of one hub share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nbdist.hub.access import Access
from nbdist.hub.blobs import BlobStore
from nbdist.hub.pages.view import View
from nbdist.hub.switchboard import Switchboard


@dataclass(frozen=True)
class Rooms:
    """The hub, as a door sees it."""

    board: Switchboard
    access: Access
    blobs: BlobStore
    hosts: Callable[[], Iterable[str]]
    """The names and addresses to which the hub answers now."""
    view: View
    version: str
