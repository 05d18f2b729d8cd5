"""Environment variables that a process has for a while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager


@contextmanager
def lent(environment: MutableMapping[str, str], values: Mapping[str, str]) -> Iterator[None]:
    """Sets these variables inside; afterwards they are what they were."""
    before = {name: environment.get(name) for name in values}
    try:
        environment.update(values)
        yield
    finally:
        for name, value in before.items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
