"""The distributions that modules belong to here, with their versions: what a job needs of other machines."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterable

from nbdist.client.analysis import origins, places
from nbdist.wire.messages import Package

MAX_PACKAGES = 100
"""Of one job; so many fit a message with all else that is in it."""
MAX_NAME_CHARS = 100
MAX_KNOWN = 10_000

_known: dict[str, tuple[object, tuple[str, str] | None]] = {}
"""Module -> the distribution of which it is with its version, and what that holds for: the loaded module, or a time."""


def packages_of(modules: Iterable[str]) -> tuple[Package, ...]:
    """The distributions of installed modules, which are given by their full names; some modules have none."""
    tops: dict[tuple[str, str], set[str]] = {}
    changed = _changed()
    for name in modules:
        owner = _owner(name, changed)
        if owner is not None:
            tops.setdefault(owner, set()).add(name.partition(".")[0])
    found = [Package(name, version, tuple(sorted(tops[name, version]))) for name, version in sorted(tops)]
    return tuple(found[:MAX_PACKAGES])


def _owner(name: str, changed: tuple[int, ...]) -> tuple[str, str] | None:
    top = name.partition(".")[0]
    module = sys.modules.get(top)
    stamp: object = changed if module is None else id(module)
    known = _known.get(name)
    if known is not None and known[0] == stamp:
        return known[1]
    if len(_known) >= MAX_KNOWN:
        _known.clear()
    owner = None if top in places.FIXED or origins.is_standard(top) else _find(top, name)
    _known[name] = (stamp, owner)
    return owner


def _changed() -> tuple[int, ...]:
    """When something was installed last; files come and go all the time in the folder of the notebook."""
    found = []
    for entry in sys.path:
        if entry and entry != os.getcwd():
            try:
                found.append(os.stat(entry).st_mtime_ns)
            except OSError:
                found.append(0)
    return tuple(found)


def _find(top: str, name: str) -> tuple[str, str] | None:
    owners = origins.owners(top)
    if len(owners) > 1:  # parts of a namespace; or two distributions that have the same files
        owners = [owner for owner in owners if origins.has(owner, name)][:1]
    for owner in owners:
        try:
            distribution = importlib.metadata.distribution(owner)
            found = str(distribution.metadata["Name"]), str(distribution.version)
        except (importlib.metadata.PackageNotFoundError, KeyError, ValueError):
            continue
        if max(map(len, found)) <= MAX_NAME_CHARS:
            return found
    return None
