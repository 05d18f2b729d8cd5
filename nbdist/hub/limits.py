"""How long and how much a hub keeps: what a person may set, as options or in the environment."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nbdist.scheduler.policy import Policy
from nbdist.wire.units import size_bytes

GB = 10**9
KEEP_SECONDS = 24 * 3600.0
"""A job that has ended is kept for so long."""
RESULTS_BYTES = Policy().results_bytes
"""So much of one job's results may wait for its notebook."""
KEPT_BYTES = 10 * GB
"""So much of the results of all jobs is kept, and at most a quarter of what is free: what notebooks have had goes."""
MEMORY_KEPT_BYTES = 1 * GB
"""… and so much of those that lie in shared memory."""
CACHE_BYTES = 10 * GB
"""Blobs that no job needs may take so much, and at most a quarter of what is free; the oldest go first."""
MIN_RESULTS_BYTES = Policy().least_results_bytes
MAX_KEEP_SECONDS = 10 * 366 * 86400.0
LEAST_ORPHAN_SECONDS = 3600.0
"""A job whose notebook is away runs on for so long at least: a shorter `--keep` is meant for what has ended."""
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one hub."""

    keep_seconds: float = KEEP_SECONDS
    results_bytes: int = RESULTS_BYTES
    kept_bytes: int = KEPT_BYTES
    cache_bytes: int = CACHE_BYTES

    @property
    def policy(self) -> Policy:
        """What the scheduler must know of them."""
        orphan_seconds = max(self.keep_seconds, LEAST_ORPHAN_SECONDS)
        return Policy(orphan_seconds=orphan_seconds, results_bytes=self.results_bytes)


def seconds(text: str) -> float:
    """A time: `90s`, `30m`, `24h` or `7d`. Raises ArgumentTypeError."""
    number, unit = text[:-1], text[-1:]
    if unit not in SECONDS or not number.isdecimal() or not int(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 90s, 30m, 24h or 7d")
    return float(int(number) * SECONDS[unit])


def duration(seconds: float) -> str:
    """A time as `seconds` reads it: in the largest unit of which it is a whole number."""
    if seconds == KEEP_SECONDS:
        return "24h"
    size, unit = max((size, unit) for unit, size in SECONDS.items() if seconds % size == 0 or size == 1)
    return f"{seconds / size:.0f}{unit}"


def amount(text: str) -> int:
    """An amount: `500MB` or `10GB`. Raises ArgumentTypeError."""
    found = size_bytes(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount: write 500MB or 10GB")
    return found


def _keep(text: str) -> float:
    found = seconds(text) if len(text) <= 12 else MAX_KEEP_SECONDS + 1
    if found > MAX_KEEP_SECONDS:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is too long: at most {MAX_KEEP_SECONDS / 86400:.0f}d")
    return found


def _results_limit(text: str) -> int:
    found = amount(text)
    if found < MIN_RESULTS_BYTES:  # a notebook says only now and then what it has taken
        raise argparse.ArgumentTypeError(f"{text!r} is too little: at least {MIN_RESULTS_BYTES // 2**20}MiB")
    return found


_OPTIONS: tuple[tuple[str, str, str, Callable[[str], Any], str, str], ...] = (
    ("keep_seconds", "--keep", "NBDIST_KEEP", _keep, "TIME", "keep a job for so long after its end (default: 24h)"),
    (
        "results_bytes",
        "--results-limit",
        "NBDIST_RESULTS_LIMIT",
        _results_limit,
        "SIZE",
        "pause a job when so much of its results waits for its notebook (default: 4GB)",
    ),
    (
        "kept_bytes",
        "--kept-results",
        "NBDIST_KEPT_RESULTS",
        amount,
        "SIZE",
        "keep so much of the results that notebooks have had, for all jobs together (default: 10GB, and at most a "
        "quarter of the free disk)",
    ),
    (
        "cache_bytes",
        "--cache",
        "NBDIST_CACHE",
        amount,
        "SIZE",
        "keep so much data that no job needs any more (default: 10GB, and at most a quarter of what is free)",
    ),
)
"""Field, option, environment variable (for the pool that starts by itself), how it is read, and the help."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options to the command line of a hub."""
    for field, option, _, read, metavar, help in _OPTIONS:
        parser.add_argument(option, dest=field, type=read, default=None, metavar=metavar, help=help)


def from_options(parser: argparse.ArgumentParser, found: argparse.Namespace) -> Limits:
    """What was set: as an option, or else in the environment. Ends the process with one message if that is wrong."""
    values = {}
    for field, _, variable, read, _, _ in _OPTIONS:
        value = getattr(found, field)
        text = os.environ.get(variable)
        if value is None and text:
            try:
                value = read(text)
            except argparse.ArgumentTypeError as error:
                parser.error(f"environment variable {variable}: {error}")
        if value is not None:
            values[field] = value
    return Limits(**values)
