"""`nbdist.files()`: the folder of the item that runs, and what becomes of the files that items write there."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, MutableSequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbdist.errors import NbdistError
from nbdist.filing import names

MAX_ITEM_FILES = 20_000
"""One item writes at most so many: their names travel together."""


@dataclass(frozen=True, slots=True)
class Written:
    """A file that an item has written."""

    item: int
    name: str
    """Below its folder, with `/` between folders."""
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What items have written that are done."""

    files: tuple[Written, ...] = ()
    left: tuple[str, ...] = ()
    """Names of files that nobody wants, of items that failed, and of what is no file."""
    folders: tuple[Path, ...] = ()
    """Where all this lies."""

    def remove(self) -> None:
        """Nobody needs it any more."""
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)


class ItemFolders:
    """The folders of the items of one slice, below `root`; `position[0]` is the index of the item that runs.

    Items run in one thread; `take` is called in another one too.
    """

    def __init__(self, root: Path, position: MutableSequence[int], *, are_wanted: bool) -> None:
        self.root = root
        self.waiting_bytes = 0
        """Of files that have not been taken."""
        self._position = position
        self._are_wanted = are_wanted
        self._running: int | None = None
        self._folders: dict[int, Path] = {}
        """Of the items that have asked for one."""
        self._files: dict[int, list[Written]] = {}
        self._left: dict[int, list[str]] = {}

    def folder(self) -> Path:
        """That of the item that runs."""
        item = self._position[0]
        found = self._folders.get(item)
        if found is None or self._running != item:
            found = self.root / str(item)
            shutil.rmtree(found, ignore_errors=True)  # of a try of this item before
            found.mkdir(parents=True)
            self._folders[item] = found
            self._files.pop(item, None)
            self._left.pop(item, None)
            self._running = item
        return found

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function of an item; once it has returned, the item's files count. Those of one that raises do not."""
        if not self._are_wanted:
            return function

        def call(*arguments: Any) -> Any:
            try:
                value = function(*arguments)
                if self._running is not None:
                    self._done()
            except BaseException:
                self._running = None  # what it has written is none of the next try's
                raise
            return value

        return call

    def _done(self) -> None:
        """Raises NbdistError, in the item, for files that cannot travel."""
        item, self._running = self._running, None
        if item is None or item != self._position[0]:
            return
        files: list[Written] = []
        left: list[str] = []
        for name, path, size in files_in(self._folders[item]):
            if size is None:
                left.append(name)
                continue
            why = names.why_not(name)
            if why:
                raise NbdistError(f"the file {name!r} in nbdist.files() cannot come home: {why}; give it another name")
            files.append(Written(item, name, path, size))
            if len(files) > MAX_ITEM_FILES:
                raise NbdistError(
                    f"item {item} has written more than {MAX_ITEM_FILES:,} files to nbdist.files(): put them into an "
                    "archive (zipfile, tarfile)"
                )
        self._files[item] = sorted(files, key=lambda file: file.name)
        self._left[item] = left
        self.waiting_bytes += sum(file.size for file in files)

    def take(self, stop: int) -> Taken:
        """What the items below `stop`, which are done, have written; it is the caller's from now on."""
        done = sorted(item for item in list(self._folders) if item < stop)
        if not done:
            return Taken()
        files: list[Written] = []
        left: list[str] = []
        folders = []
        for item in done:
            folder = self._folders.pop(item)
            folders.append(folder)
            written = self._files.pop(item, None)
            if written is None:
                left += [name for name, _, _ in files_in(folder)]
            else:
                files += written
            left += self._left.pop(item, [])
        self.waiting_bytes -= sum(file.size for file in files)
        return Taken(tuple(files), tuple(left), tuple(folders))

    def close(self) -> None:
        """The slice is over: what was not taken goes."""
        if self._folders:
            shutil.rmtree(self.root, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.root.rmdir()


def files_in(folder: Path) -> Iterator[tuple[str, str, int | None]]:
    """(name, path, size) of all that lies below a folder but folders; no size: it is a link, or no file with data."""
    waiting = [(str(folder), "")]
    while waiting:
        where, prefix = waiting.pop()
        try:
            entries = list(os.scandir(where))
        except OSError:
            continue
        for entry in entries:
            name = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, f"{name}/"))
            elif entry.is_file(follow_symlinks=False):
                yield name, entry.path, entry.stat(follow_symlinks=False).st_size
            else:
                yield name, entry.path, None


# --- of this process --------------------------------------------------------------------------------------------------

_current: ItemFolders | None = None
_is_slot = False


def files() -> Path:
    """The folder of the item that runs: what it writes there comes home with its result (`files=DIR`, `--files DIR`).

    Each item has its own, empty at first. Raises NbdistError outside of an item.
    """
    if _current is None:
        raise NbdistError(
            "nbdist.files() is for the code of an item: call it in a distributed cell or in a function that pool.map "
            "runs. Anywhere else any folder will do"
        )
    return _current.folder()


def enter(folders: ItemFolders | None) -> ItemFolders | None:
    """Makes these the folders that `files` gives; gives those that were."""
    global _current
    previous, _current = _current, folders
    return previous


def settle() -> None:
    """This process is a slot: all that runs in it is distributed code."""
    global _is_slot
    _is_slot = True


def is_at_work() -> bool:
    """Whether distributed code runs here."""
    return _is_slot or _current is not None
