"""What is said of files that items have left where they ran: how many, and a few of their names. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

NAMED = 3
MAX_NAME_CHARS = 80


@dataclass(frozen=True, slots=True)
class Left:
    """Files that were left on one machine."""

    count: int = 0
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Sequence[str]) -> Left:
        """These files."""
        return cls(len(names), tuple(name[:MAX_NAME_CHARS] for name in sorted(names)[:NAMED]))

    def __add__(self, other: Left) -> Left:
        return Left(self.count + other.count, (*self.names, *other.names)[:NAMED])

    def encode(self) -> bytes:
        """For the tail of a part; empty if there is nothing to say."""
        return json.dumps([self.count, self.names]).encode() if self.count else b""

    @classmethod
    def decode(cls, data: bytes) -> Left:
        """From the tail of a part; nothing, if that makes no sense."""
        try:
            count, names = json.loads(data) if data else (0, ())
            return cls(max(0, int(count)), tuple(str(name)[:MAX_NAME_CHARS] for name in names[:NAMED]))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return cls()

    def story(self, machine: str, *, are_wanted: bool) -> str:
        """One line."""
        more = ", …" if self.count > len(self.names) else ""
        what = "1 file was" if self.count == 1 else f"{self.count:,} files were"
        named = ", ".join(name.encode("utf-8", "replace").decode() for name in self.names)
        if are_wanted:
            return (
                f"{what} left on {machine} and removed: {named}{more}; only files in nbdist.files() of items that did "
                "not fail come home, and no links"
            )
        return (
            f"{what} left on {machine} and removed: {named}{more}; write to nbdist.files(), and --files DIR (files=) "
            "brings them home"
        )
