"""What is installed here: looked at when the worker starts, and again when the folders in which it lies have changed.

The list is made from the names of files and folders alone, which takes milliseconds; the hub is told its hash, and the
list if it does not have that.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.machinery import all_suffixes
from pathlib import Path
from threading import Lock
from typing import TypeAlias

from nbdist.wire.installed import MAX_MODULES, MAX_PACKAGES, Installed, is_plain, normal
from nbdist.wire.messages import Message, Welcome

LOOK_SECONDS = 2.0
SETTLED_NS = 2_000_000_000
"""A folder that was changed more recently is looked at again: clocks of file systems are coarse."""
MAX_METADATA_BYTES = 64 * 1024

Stamp: TypeAlias = tuple[tuple[str, int], ...]
"""When each folder was changed last."""

_EGG = re.compile(r"-py\d(\.\d+)?.*$")
_VERSION = re.compile(r"^Version:\s*(\S+)", re.MULTILINE)


class Inventory:
    """Knows what is installed, and whether the hub does.

    `tell` sends to the hub. `changed(is_update)` hears that something else is installed than before: `is_update` if
    what was there has another version or is gone, so that a process may have the old one loaded.
    """

    def __init__(
        self,
        tell: Callable[[Message], None],
        changed: Callable[[bool], None],
        folders: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        self._send = tell
        self._changed = changed
        self._folders = folders or site_folders
        self._found = self._last = Installed()
        self._seen: Installed | None = None
        """What was here at the start, and then at the last look of `watch`."""
        self._stamp: Stamp | None = None
        self._stated = self._told = ""
        """What the hub has heard in the hello, and what it has the list of."""
        self._lock = Lock()

    def state(self) -> str:
        """The hash for a hello. It looks at folders, and may be called in a thread."""
        self._look()
        self._seen = self._seen or self._found
        self._stated = self._found.digest
        return self._stated

    def greeted(self, welcome: Welcome) -> None:
        """The hub has taken the worker in: it gets the list if it does not have it."""
        self._told = self._stated if welcome.knows_packages else ""
        self._tell()

    async def watch(self) -> None:
        """Looks now and then whether something was installed, for as long as the worker lives."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self._look, twice=True)
            before, self._seen = self._seen, self._found
            if before is not None and before is not self._seen:
                importlib.invalidate_caches()
                self._changed(is_update(before, self._seen))
            self._tell()

    def _tell(self) -> None:
        if self._told != self._found.digest:
            self._told = self._found.digest
            for message in self._found.messages():
                self._send(message)

    def _look(self, *, twice: bool = False) -> None:
        """`twice`: what is new counts once two looks agree, so that an installer has done its work."""
        with self._lock:
            folders = self._folders()
            stamp = _stamp(folders)
            if stamp == self._stamp:
                return
            before, self._last = self._last, look(folders)
            if self._last != self._found and (self._last == before or not twice):
                self._found = self._last
            newest = max((changed for _, changed in stamp), default=0)
            is_settled = newest < time.time_ns() - SETTLED_NS and self._found == self._last
            self._stamp = stamp if is_settled else None


def site_folders() -> list[str]:
    """Where packages lie that a slot can import: neither the standard library nor the folder in which we were started.

    That may be anybody's home, whose files are nobody's business.
    """
    standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), os.path.dirname(os.__file__)}
    named = {entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry}
    private = {"", os.getcwd(), os.path.dirname(os.path.abspath(sys.argv[0]))} - named
    passed = [entry for entry in sys.path if entry not in private and entry not in standard]
    return [entry for entry in dict.fromkeys(passed) if os.path.isdir(entry) and not entry.endswith("lib-dynload")]


def look(folders: Iterable[str]) -> Installed:
    """What lies in these folders; of what is in two of them, the first counts."""
    packages: dict[str, str] = {}
    modules: set[str] = set()
    for folder in folders:
        try:
            names = sorted(entry.name for entry in os.scandir(folder))
        except OSError:
            continue
        here = dict(_distributions(folder, names))
        packages = here | packages
        modules.update(_modules(names))
    told = sorted((name, version) for name, version in packages.items() if is_plain(name) and is_plain(version))
    return Installed(tuple(told[:MAX_PACKAGES]), tuple(sorted(filter(is_plain, modules))[:MAX_MODULES]))


def is_update(before: Installed, after: Installed) -> bool:
    """Whether something that was there is another one now, or gone."""
    now: Mapping[str, str] = dict(after.packages)
    return any(now.get(name) != version for name, version in before.packages)


def _distributions(folder: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for file in names:
        stem, suffix = os.path.splitext(file)
        if suffix not in (".dist-info", ".egg-info"):
            continue
        stem = _EGG.sub("", stem) if suffix == ".egg-info" else stem
        name, _, version = stem.rpartition("-") if "-" in stem else (stem, "", "")
        if name and not name.startswith("~"):  # which is what pip calls that which it is about to remove
            yield normal(name), version or _version(Path(folder, file))


def _version(place: Path) -> str:
    """The version of a distribution whose folder is not named by it; empty if it does not say."""
    for file in (place / "METADATA", place / "PKG-INFO", place):
        try:
            with file.open(encoding="utf-8", errors="replace") as opened:
                found = _VERSION.search(opened.read(MAX_METADATA_BYTES))
        except OSError:
            continue
        if found is not None:
            return found[1]
    return ""


def _modules(names: Iterable[str]) -> Iterator[str]:
    suffixes = tuple(sorted(all_suffixes(), key=len, reverse=True))
    for file in names:
        name = next((file.removesuffix(suffix) for suffix in suffixes if file.endswith(suffix)), file)
        if name.isidentifier() and name not in sys.stdlib_module_names and name != "__pycache__":
            yield name


def _stamp(folders: Iterable[str]) -> Stamp:
    found = []
    for folder in folders:
        try:
            found.append((folder, os.stat(folder).st_mtime_ns))
        except OSError:
            found.append((folder, 0))
    return tuple(found)
