"""Why machines take no part in a job, put together for people."""

from __future__ import annotations

from collections.abc import Iterable

MAX_REASON = 300
"""Characters that one of several machines has to say why it is left out."""
MAX_REASONS = 8
"""So many reasons are told …"""
MAX_NAMES = 8
"""… with so many names each."""


def grouped(machines: Iterable[tuple[str, str]]) -> str:
    """Pairs of a reason and a machine: each reason once, with the names of its machines, in the order given."""
    names: dict[str, list[str]] = {}
    for reason, machine in machines:
        names.setdefault(reason, []).append(machine)
    shown = list(names.items())[:MAX_REASONS]
    return "; ".join(f"{', '.join(those[:MAX_NAMES])}: {reason}" for reason, those in shown)
