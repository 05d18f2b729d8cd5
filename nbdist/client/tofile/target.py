"""Where results are to go: checked before anything runs."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbdist.wire.messages import JobOptions

FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".npy": "npy", ".parquet": "parquet"}
"""Suffix -> format."""
_LIBRARIES = {"npy": "numpy", "parquet": "pyarrow"}
_CHOICE = f"{', '.join(list(FORMATS)[:-1])} or {list(FORMATS)[-1]}"


@dataclass(frozen=True)
class Target:
    """A file for the results of a job, and whether the job's figures go beside it."""

    path: Path
    stats: bool = False

    @property
    def format(self) -> str:
        """csv, jsonl, npy or parquet."""
        return FORMATS[self.path.suffix.lower()]

    @property
    def part(self) -> Path:
        """What is there of the file until it is whole."""
        return self.path.with_name(self.path.name + ".part")

    @property
    def notes(self) -> Path:
        """How far the part is, and results that came too early: a SQLite database."""
        return self.path.with_name(self.path.name + ".part-notes")

    @property
    def stats_path(self) -> Path:
        """The figures of the job, as JSON."""
        return self.path.with_name(self.path.stem + ".stats.json")


def checked_target(to: Any, *, stats: bool = False) -> Target | None:
    """Where results go; None: into memory. Raises TypeError and ValueError, with what to do, before anything runs."""
    if to is None:
        if stats:
            raise ValueError("stats=True writes figures beside the file of to=: name one, or use job.stats.save(path)")
        return None
    if not isinstance(to, (str, os.PathLike)) or isinstance(to, bytes):
        raise TypeError(f'to is the path of a file such as "values.csv", not {to!r}')
    path = Path(to).expanduser()
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"to={str(to)!r}: its ending says the format: {_CHOICE}")
    path = path.resolve()
    if path.is_dir():
        raise ValueError(f"to={str(to)!r} is a folder: name a file in it")
    if not path.parent.is_dir():
        raise ValueError(f"to={str(to)!r}: there is no folder {str(path.parent)!r}: make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ValueError(f"to={str(to)!r}: the folder {str(path.parent)!r} may not be written to")
    target = Target(path, stats)
    library = _LIBRARIES.get(target.format)
    if library is not None and importlib.util.find_spec(library) is None:
        raise ValueError(f"to={str(to)!r} needs {library} here: python -m pip install {library}")
    return target


def target_for(options: JobOptions, to: Any, *, stats: bool, each: str) -> Target | None:
    """Where a job's results go; None: into memory. Raises TypeError and ValueError before anything runs."""
    target = checked_target(to, stats=stats)
    if target is not None:
        check_options(target, options, each=each)
    return target


def check_options(target: Target, options: JobOptions, *, each: str = "") -> None:
    """Raises ValueError for options with which a file makes no sense, with what to do."""
    if options.reduce:
        raise ValueError("reduce and to exclude each other: a fold has one value only; leave out one of them")
    if options.stop_when:
        raise ValueError("stop_when and to exclude each other: the result is one value only; leave out one of them")
    if each:
        raise ValueError("each and to exclude each other: to writes the values of items")
    if options.on_error == "keep" and target.format == "npy":
        raise ValueError(
            "on_error='keep' and to='….npy' exclude each other: an array has no place for failures; use .csv"
        )
