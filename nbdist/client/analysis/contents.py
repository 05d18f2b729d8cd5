"""The files of a local module that travel: its code, and its data where that is small or asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from nbdist.client.analysis.places import SETTLED_NS, Place
from nbdist.client.analysis.texts import DATA_NAME
from nbdist.errors import PackingError
from nbdist.wire.bundles import MAX_BYTES, MAX_FILES

MAX_FOLDERS = 10_000
MAX_ENTRIES = 100_000
"""A package with more is too large to be looked through."""
MAX_DATA_BYTES = 1_000_000
MAX_DATA_FILES = 1_000
"""Data that nobody has asked for travels with its package if all of it is no more than that."""
MAX_NAMED = 3
"""So many of the largest files are named where a module is too large."""
_LEFT_OUT = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})
_LEFT_OUT_ENDS = (".pyc", ".pyo", ".egg-info", ".dist-info", ".swp", "~")
_CODE_ENDS = (".py", ".pyi", *EXTENSION_SUFFIXES)


class File(NamedTuple):
    """A file as it was when it was looked at."""

    name: str
    """Its path in the archive."""
    path: str
    size: int
    mtime_ns: int
    inode: int

    @property
    def is_code(self) -> bool:
        """Whether it can be imported, or says the types of what can."""
        return self.path.endswith(_CODE_ENDS)

    @property
    def is_native(self) -> bool:
        """Whether it is compiled code."""
        return self.path.endswith(tuple(EXTENSION_SUFFIXES))


@dataclass(frozen=True, slots=True)
class Contents:
    """What travels of one module."""

    files: tuple[File, ...]
    problem: str = ""
    """Why it cannot travel: it is too large."""
    left_out: str = ""
    """What of its data does not."""
    has_code: bool = True
    """Otherwise it is some folder, and no module."""


def contents(place: Place, patterns: Sequence[str] | None) -> Contents:
    """The files of a module; `patterns` are those of `DATA_NAME`, if it has it. Raises PackingError for wrong ones."""
    walk = _Walk()
    if place.file:
        walk.add_code(os.path.basename(place.file), place.file)
    for folder in place.folders:
        walk.through(folder, place.top)
    left_out = ""
    if patterns is not None:
        bases = [(folder, place.top) for folder in place.folders] or [(os.path.dirname(place.file), "")]
        data = [file for base, prefix in bases for file in _matching(place.top, base, prefix, patterns)]
    else:
        data = walk.data
        if len(data) > MAX_DATA_FILES or sum(file.size for file in data) > MAX_DATA_BYTES:
            left_out, data = _told(walk.data), []
    files = {file.name: file for file in (*data, *walk.code)}
    problem = _too_large(files.values(), walk.is_endless)
    return Contents(tuple(sorted(files.values())), problem, left_out, bool(walk.code) or walk.is_endless)


def look_at(name: str, path: str) -> File | None:
    """A file as it is now; None: it is gone."""
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return File(name, path, facts.st_size, facts.st_mtime_ns, facts.st_ino)


class _Listing(NamedTuple):
    code: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


_listings: dict[str, tuple[int, int, _Listing]] = {}
"""Folder -> when it was last changed, its inode, and what is in it."""


class _Walk:
    """Goes through the folders of a package."""

    def __init__(self) -> None:
        self.code: list[File] = []
        self.data: list[File] = []
        self.is_endless = False
        self._data_bytes = self._folders = self._entries = 0
        self._seen: set[tuple[int, int]] = set()

    def through(self, folder: str, prefix: str) -> None:
        """All files below a folder, until they are too many."""
        waiting = [(folder, prefix)]
        while waiting and not self.is_endless:
            folder, prefix = waiting.pop()
            listing = self._list(folder)
            for name in listing.code:
                self.add_code(f"{prefix}/{name}", os.path.join(folder, name))
            for name in listing.data:
                self._add_data(f"{prefix}/{name}", os.path.join(folder, name))
            waiting += [(os.path.join(folder, name), f"{prefix}/{name}") for name in listing.folders]
            self._folders += 1
            self._entries += sum(map(len, listing))
            is_large = self._folders > MAX_FOLDERS or self._entries > MAX_ENTRIES
            self.is_endless = is_large or len(self.code) > MAX_FILES

    def add_code(self, name: str, path: str) -> None:
        """A file of code."""
        file = look_at(name, path)
        if file is not None:
            self.code.append(file)

    def _add_data(self, name: str, path: str) -> None:
        """A file of data, unless they are too many already: then none of them will travel."""
        if self._data_bytes > MAX_DATA_BYTES or len(self.data) > MAX_DATA_FILES:
            return
        file = look_at(name, path)
        if file is not None:
            self.data.append(file)
            self._data_bytes += file.size

    def _list(self, folder: str) -> _Listing:
        try:
            facts = os.stat(folder)
            if (facts.st_dev, facts.st_ino) in self._seen:
                return _Listing()  # a link leads back
            self._seen.add((facts.st_dev, facts.st_ino))
            known = _listings.get(folder)
            if known is not None and known[:2] == (facts.st_mtime_ns, facts.st_ino):
                return known[2]
            listing = _read(folder)
        except OSError:
            return _Listing()
        if _is_settled(facts.st_mtime_ns):
            _listings[folder] = (facts.st_mtime_ns, facts.st_ino, listing)
        return listing


def _is_settled(mtime_ns: int) -> bool:
    return mtime_ns < time.time_ns() - SETTLED_NS


def _read(folder: str) -> _Listing:
    code, data, folders = [], [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name == "pyvenv.cfg":
                return _Listing()  # an environment of its own
            if name.startswith(".") or name in _LEFT_OUT or name.endswith(_LEFT_OUT_ENDS):
                continue
            if entry.is_dir():
                folders.append(name)
            elif name.endswith(_CODE_ENDS):
                code.append(name)
            elif entry.is_file():
                data.append(name)
    return _Listing(tuple(code), tuple(data), tuple(folders))


def _matching(top: str, base: str, prefix: str, patterns: Sequence[str]) -> Iterator[File]:
    for pattern in patterns:
        parts = PurePosixPath(pattern.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or not parts.parts or ":" in pattern:
            raise PackingError(
                f"{DATA_NAME} of module {top!r} has the pattern {pattern!r}: patterns name files in {base}, "
                "such as '*.json' or 'tables/**/*.csv'"
            )
        for path in sorted(Path(base).glob(str(parts))):
            name = "/".join([*([prefix] if prefix else ()), *path.relative_to(base).parts])
            file = look_at(name, str(path)) if path.is_file() else None
            if file is not None:
                yield file


def _told(files: Sequence[File]) -> str:
    size = sum(file.size for file in files)
    return f"more than {MAX_DATA_FILES} files" if len(files) > MAX_DATA_FILES else f"more than {size / 1e6:.1f} MB"


def _too_large(files: Iterable[File], is_endless: bool) -> str:
    found = list(files)
    size = sum(file.size for file in found)
    if not is_endless and len(found) <= MAX_FILES and size <= MAX_BYTES:
        return ""
    largest = sorted(found, key=lambda file: -file.size)[:MAX_NAMED]
    named = ", ".join(f"{file.name} ({file.size / 1e6:.1f} MB)" for file in largest)
    more = "more than " if is_endless else ""
    return (
        f"{more}{len(found)} files and {size / 1e6:.1f} MB, where {MAX_FILES} files and {MAX_BYTES / 1e6:.1f} MB are "
        f"allowed; the largest: {named}"
    )
