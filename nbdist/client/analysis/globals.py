"""The modules that a pickle will import when it is loaded."""

from __future__ import annotations

import pickletools
import re
from collections.abc import Collection, Iterator, Sequence

from nbdist.engines.base import Buffer

MAX_SCANNED_BYTES = 16 * 1024 * 1024
"""So much of it is searched for names …"""
MAX_READ_BYTES = 128 * 1024
"""… and where it has no more than that, it is read whether they are names of modules."""
_STRINGS = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"})
_GETS = frozenset({"BINGET", "LONG_BINGET"})


def globals_in(pieces: Sequence[Buffer], modules: Collection[str]) -> set[str]:
    """Which of these top-level modules a pickle refers to, that is in one of the pieces; rather one too many."""
    if not modules:
        return set()
    names = b"|".join(re.escape(name.encode()) for name in sorted(modules))
    pattern = re.compile(rb"[\x8cX](?s:.{1,4}?)(%b)(?!\w)" % names)
    found: set[str] = set()
    for piece in pieces:
        view = memoryview(piece)[:MAX_SCANNED_BYTES]
        seen = {match[1].decode() for match in pattern.finditer(view)}
        if seen and view.nbytes <= MAX_READ_BYTES:
            seen = {name.partition(".")[0] for name in _modules(bytes(view), seen)} & seen
        found |= seen
    return found


def _modules(data: bytes, otherwise: set[str]) -> Iterator[str]:
    """The names of the modules that a pickle imports from, or is given as the only argument of a call.

    What is no pickle after all gives `otherwise`.
    """
    pushed: list[str] = ["", ""]
    memo: list[str] = []
    try:
        for code, argument, _ in pickletools.genops(data):
            if code.name == "MEMOIZE":
                memo.append(pushed[-1])
            elif code.name == "STACK_GLOBAL":
                yield pushed[-2]
                pushed.append("")
            elif code.name in _STRINGS and isinstance(argument, str):
                pushed.append(argument)
            elif code.name in _GETS and isinstance(argument, int):
                pushed.append(memo[argument])
            else:
                if code.name == "TUPLE1":
                    yield pushed[-1]
                pushed.append("")
            del pushed[:-2]
    except (ValueError, IndexError):
        yield from otherwise
