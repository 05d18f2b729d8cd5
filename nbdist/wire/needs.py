"""What a job needs of a machine, as text: `gpu`, `memory>=8GB, linux`, `worker=lab-*`. Read here, by all who ask. Pure.

needs      = need { ("," | "and") need }
need       = "gpu" | system | architecture | quantity relation number | name ("=" | "!=") pattern | versions
quantity   = "gpus" | "cores" | "slots" | "memory" | "python"        relation = ">=" "<=" ">" "<" "=" "!="
name       = "worker" | "gpu"           pattern = alternatives with `|`, and `*` for anything
versions   = "versions=" ("same" | "any")      of the packages that the job uses; else: of the same major version
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from nbdist.wire.messages import Machine
from nbdist.wire.units import size_bytes, size_text

MAX_NEEDS_CHARACTERS = 1_000
SYSTEMS = {"linux": "linux", "macos": "darwin", "darwin": "darwin", "windows": "win32", "win32": "win32"}
ARCHITECTURES = {"x86_64": ("x86_64", "amd64"), "amd64": ("x86_64", "amd64"), "arm64": ("arm64", "aarch64")}
ARCHITECTURES["aarch64"] = ARCHITECTURES["arm64"]
RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
MEMORY_TOLERANCE = 0.1
"""A machine sold with 8 GB shows 7.4 to 8.3 of them: firmware and graphics have the rest."""
KINDS = (
    "gpu, gpus>=2, gpu=*4090*, memory>=8GB, cores>=4, slots>=2, python>=3.12, linux, macos, windows, arm64, "
    "worker=NAME, versions=same, versions=any"
)

VERSIONS = ("same", "any")
_AND = re.compile(r"\s*,\s*|\s+and\s+|\s*&\s*")
_NEED = re.compile(r"(?P<what>[A-Za-z_]\w*)\s*(?:(?P<relation>>=|<=|!=|==|=|>|<)\s*(?P<value>.+))?")
_VERSION = re.compile(r"\d+(\.\d+){0,2}")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A machine that may run a job."""

    name: str
    slots: int
    machine: Machine


@dataclass(frozen=True, slots=True)
class Need:
    """One need: its text, and what of a machine meets it."""

    text: str
    is_met: Callable[[Candidate], bool]
    has: Callable[[Candidate], str]
    """What the machine has instead, for people."""
    versions: str = ""
    """One of `VERSIONS`, for those who know what is installed: every machine meets such a need."""


@lru_cache(maxsize=256)
def parse(text: str) -> tuple[Need, ...]:
    """The needs in a text; none in an empty one. Raises ValueError, with what may stand there."""
    if len(text) > MAX_NEEDS_CHARACTERS:
        raise ValueError(f"the needs of a job have at most {MAX_NEEDS_CHARACTERS} characters, not {len(text)}")
    if not text.strip():
        return ()
    return tuple(_need(part) for part in _AND.split(text.strip()))


def unmet(text: str, candidate: Candidate) -> str:
    """Why the machine is not what the needs ask for; empty if it is. Raises ValueError."""
    missing = [need for need in parse(text) if not need.is_met(candidate)]
    return "; ".join(f"{need.has(candidate)}, the job needs {need.text}" for need in missing)


def versions(text: str) -> str:
    """Which versions of a job's packages a machine may have: `same`, `any`, or empty: as usual. Raises ValueError."""
    chosen = [need.versions for need in parse(text) if need.versions]
    return chosen[-1] if chosen else ""


def _need(text: str) -> Need:
    found = _NEED.fullmatch(text)
    if found is None:
        raise _wrong(text)
    what, relation, value = found["what"].lower(), found["relation"] or "", (found["value"] or "").strip()
    relation = "=" if relation == "==" else relation
    if not relation:
        return _plain(text, what)
    if what == "versions" and relation == "=" and _unquoted(value) in VERSIONS:
        return Need(text, lambda one: True, lambda one: "", _unquoted(value))
    if what in ("worker", "gpu") and relation in ("=", "!="):
        return _named(text, what, relation, value)
    if what == "gpu":
        what = "gpus"
    if what in _QUANTITIES:
        return _compared(text, what, relation, value)
    raise _wrong(text)


def _plain(text: str, what: str) -> Need:
    if what in ("gpu", "gpus"):
        return Need(text, lambda one: bool(one.machine.gpus), lambda one: "no GPU here")
    if what in SYSTEMS:
        return Need(text, lambda one: one.machine.platform == SYSTEMS[what], lambda one: f"{one.machine.platform} here")
    if what in ARCHITECTURES:
        kinds = ARCHITECTURES[what]
        return Need(
            text,
            lambda one: one.machine.architecture.lower() in kinds,
            lambda one: f"{one.machine.architecture} here",
        )
    raise _wrong(text)


def _named(text: str, what: str, relation: str, value: str) -> Need:
    patterns = [pattern.strip().lower() for pattern in _unquoted(value).split("|")]
    if not all(patterns):
        raise _wrong(text)

    def names(one: Candidate) -> tuple[str, ...]:
        return (one.name,) if what == "worker" else one.machine.gpus

    def is_met(one: Candidate) -> bool:
        matches = any(fnmatch.fnmatchcase(name.lower(), pattern) for name in names(one) for pattern in patterns)
        return matches is (relation == "=")

    def has(one: Candidate) -> str:
        return f"this is {one.name}" if what == "worker" else f"GPUs here: {', '.join(one.machine.gpus) or 'none'}"

    return Need(text, is_met, has)


def _compared(text: str, what: str, relation: str, value: str) -> Need:
    quantity, read, show = _QUANTITIES[what]
    wanted = read(_unquoted(value))
    if wanted is None:
        raise _wrong(text)

    def is_met(one: Candidate) -> bool:
        here = quantity(one)
        if what == "python":
            here = here[: len(wanted)]  # python=3.12 is any 3.12
        if what == "memory" and relation in (">=", ">"):
            here *= 1 + MEMORY_TOLERANCE
        return RELATIONS[relation](here, wanted)

    return Need(text, is_met, lambda one: f"{show(quantity(one))} here")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _version(text: str) -> tuple[int, ...] | None:
    return tuple(int(part) for part in text.split(".")) if _VERSION.fullmatch(text) else None


def _python(one: Candidate) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", one.machine.python)[:3])


_QUANTITIES: dict[str, tuple[Callable[[Candidate], Any], Callable[[str], Any], Callable[[Any], str]]] = {
    "gpus": (lambda one: len(one.machine.gpus), _number, lambda count: f"{count} GPUs"),
    "cores": (lambda one: one.machine.cores, _number, lambda count: f"{count} cores"),
    "slots": (lambda one: one.slots, _number, lambda count: f"{count} slots"),
    "memory": (
        lambda one: one.machine.memory_bytes,
        size_bytes,
        lambda size: f"{size_text(size)} of memory" if size else "an unknown amount of memory",
    ),
    "python": (_python, _version, lambda version: f"Python {'.'.join(map(str, version))}"),
}


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _wrong(text: str) -> ValueError:
    return ValueError(f"{text!r} is no need of a job. Needs are, with commas between them: {KINDS}")
