"""What is installed on a machine, as its worker states it: distributions with versions, and modules. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from nbdist.wire.messages import InstalledPackages

MAX_PACKAGES = 3_000
MAX_MODULES = 10_000
"""Of one machine; what is over it is not told."""
MAX_NAME_CHARS = 100
"""Of a name or version, which are ASCII."""
PACKAGES_PER_MESSAGE = 150
MODULES_PER_MESSAGE = 400
"""A header has room for so many."""

T = TypeVar("T")

_SEPARATORS = re.compile(r"[-_.]+")


@dataclass(frozen=True)
class Installed:
    """The list of one machine."""

    packages: tuple[tuple[str, str], ...] = ()
    """(distribution, version), sorted; names are `normal`."""
    modules: tuple[str, ...] = ()
    """Top-level modules, whether a distribution has them or not, sorted."""

    @cached_property
    def digest(self) -> str:
        """Machines with the same one have the same list."""
        return hashlib.sha256(json.dumps([self.packages, self.modules]).encode()).hexdigest()

    def messages(self) -> Iterator[InstalledPackages]:
        """The list, in as many messages as it takes."""
        pieces = [InstalledPackages("", packages=part) for part in _parts(self.packages, PACKAGES_PER_MESSAGE)]
        pieces += [InstalledPackages("", modules=part) for part in _parts(self.modules, MODULES_PER_MESSAGE)]
        for piece in pieces:
            yield InstalledPackages(self.digest, piece.packages, piece.modules, more=True)
        yield InstalledPackages(self.digest)


def normal(name: str) -> str:
    """A distribution's name as all its spellings have it: `Scikit_Learn` is `scikit-learn`."""
    return _SEPARATORS.sub("-", name).lower()


def is_plain(text: str) -> bool:
    """Whether a name or version is one that can be told."""
    return 0 < len(text) <= MAX_NAME_CHARS and text.isascii() and text.isprintable()


def _parts(values: Sequence[T], size: int) -> Iterator[tuple[T, ...]]:
    for start in range(0, len(values), size):
        yield tuple(values[start : start + size])
