"""The packages that a job uses against what is installed on a machine: what is missing, and what differs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache

from nbdist.wire.installed import normal
from nbdist.wire.messages import Package

MAX_TOLD = 8
"""Packages in one line."""
CALENDAR = 20
"""Versions whose first number is at least this count years or releases: another one breaks nothing by itself."""

_RELEASE = re.compile(r"[vV]?(?:\d{1,9}!)?(\d{1,9}(?:\.\d{1,9}){0,9})")


class Gap(IntEnum):
    """How far two versions are apart."""

    NONE = 0
    PATCH = 1
    MINOR = 2
    MAJOR = 3


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """What is installed on a machine."""

    versions: Mapping[str, str]
    """By the normalized name of the distribution."""
    modules: frozenset[str]
    """What can be imported there, top-level."""


@dataclass(slots=True)
class Comparison:
    """A job's packages on one machine."""

    lacking: list[Package] = field(default_factory=list)
    """The job cannot do without these: they are missing, or too far from what the notebook has."""
    problems: list[str] = field(default_factory=list)
    """Of those, in words."""
    differing: list[tuple[Gap, str]] = field(default_factory=list)
    """What differs and need not matter, in words."""

    @property
    def reason(self) -> str:
        """Why the machine does not fit."""
        return _line(self.problems)

    @property
    def todo(self) -> str:
        """What makes it fit."""
        return f"pip install {' '.join(map(_requirement, self.lacking[:MAX_TOLD]))}" if self.lacking else ""

    def note(self, least: Gap = Gap.PATCH) -> str:
        """The differences that are at least so large and do not exclude it."""
        return _line([text for gap, text in self.differing if gap >= least])


def compare(packages: Iterable[Package], here: Listing, versions: str = "") -> Comparison:
    """`versions`: which differences count, as `needs.versions` has it; usually those of the first number."""
    found = Comparison()
    most = {"same": Gap.NONE, "any": Gap.MAJOR}.get(versions, Gap.MINOR)
    for package in packages:
        there = here.versions.get(_normal(package.name))
        if there is None:
            if not package.modules or not here.modules.issuperset(package.modules):
                found.lacking.append(package)
                found.problems.append(f"no {package.name}")
            continue  # another distribution has the modules
        gap = distance(package.version, there)
        text = f"{package.name} {package.version} here, {there} there"
        if gap > most:
            found.lacking.append(package)
            found.problems.append(text)
        elif gap:
            found.differing.append((gap, text))
    return found


@lru_cache(maxsize=4096)
def distance(one: str, other: str) -> Gap:
    """How far two versions are apart; what is no version at all is a minor difference."""
    one, other = one.partition("+")[0], other.partition("+")[0]
    if one == other or not one:
        return Gap.NONE
    first, second = _release(one), _release(other)
    if not first or not second:
        return Gap.MINOR
    size = max(len(first), len(second))
    pairs = zip(first + (0,) * (size - len(first)), second + (0,) * (size - len(second)), strict=True)
    place = next((place for place, (left, right) in enumerate(pairs) if left != right), size)
    if place == 0:
        return Gap.MINOR if min(first[0], second[0]) >= CALENDAR else Gap.MAJOR
    return Gap.MINOR if place == 1 else Gap.PATCH if one.lower() != other.lower() else Gap.NONE


def told(packages: Iterable[Package]) -> str:
    """Packages in words: `pandas 2.3.3, numpy 2.4.6`."""
    names = [f"{package.name} {package.version}".strip() for package in packages]
    return ", ".join(names[:MAX_TOLD]) + (f" and {len(names) - MAX_TOLD} more" if len(names) > MAX_TOLD else "")


def _release(version: str) -> tuple[int, ...]:
    found = _RELEASE.match(version)
    return () if found is None else tuple(map(int, found[1].split(".")))


def _requirement(package: Package) -> str:
    version = package.version.partition("+")[0]  # a build's own mark: no index has it
    return f"{package.name}=={version}" if version else package.name


def _line(texts: list[str]) -> str:
    more = f"; and {len(texts) - MAX_TOLD} more" if len(texts) > MAX_TOLD else ""
    return "; ".join(texts[:MAX_TOLD]) + more


_normal = lru_cache(maxsize=4096)(normal)
