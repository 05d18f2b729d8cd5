"""What a slot's process is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass

REQUEST_BYTES = 64 * 1024
"""Of one message to or from the fork server."""


@dataclass(frozen=True, slots=True)
class SlotSetup:
    """Paths and manners of a slot's process."""

    claim: str
    """The file of its claim."""
    spool: str
    """The folder for payloads that are too large for a frame."""
    output: str
    """File descriptors 1 and 2 go to the files `output + ".1"` and `output + ".2"`."""
    cwd: str
    """What lies there can be imported."""
    work: str = ""
    """The folder for what its items write; empty: one beside `output`."""
    niceness: int = 0
    environment: str = ""
    """Whose interpreter it has; empty: the worker's own."""
