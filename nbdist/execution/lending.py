"""Entries that a dictionary has for a while: environment variables, names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import TypeVar

V = TypeVar("V")


@contextmanager
def lent(entries: MutableMapping[str, V], values: Mapping[str, V]) -> Iterator[None]:
    """Sets these entries inside; afterwards they are what they were."""
    before = {name: entries[name] for name in values if name in entries}
    try:
        entries.update(values)
        yield
    finally:
        for name in values:
            if name in before:
                entries[name] = before[name]
            else:
                entries.pop(name, None)
