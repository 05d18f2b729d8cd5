"""Where local modules lie: those that are found neither in the standard library nor among the installed packages."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ModuleSpec
from pathlib import Path

from nbdist.client.analysis import origins

FIXED = frozenset({"__main__", "__mp_main__", "nbdist", "cloudpickle", "websockets"})
"""What is never sent: the notebook itself, and what a worker runs on."""
SETTLED_NS = 2_000_000_000
"""What a folder or file holds is remembered if it was last changed so long ago: file systems have coarse clocks."""
SUFFIXES = (*EXTENSION_SUFFIXES, *SOURCE_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a local top-level module lies: a file, or the folders of a package."""

    top: str
    file: str = ""
    folders: tuple[str, ...] = ()

    def source(self, name: str) -> str:
        """The file of a module in it, by its full name; empty if there is none."""
        if self.file:
            return self.file if name == self.top else ""
        parts = name.split(".")[1:]
        for folder in self.folders:
            path = os.path.join(folder, *parts)
            for candidate in [f"{path}{os.sep}__init__.py", *([f"{path}.py"] if parts else [])]:
                if os.path.isfile(candidate):
                    return candidate
        return ""


_known: dict[str, tuple[ModuleSpec | None, Place | None]] = {}
"""Top-level module -> its place as it was found by this specification."""
_known_for: object = None


def begin() -> None:
    """A look at many modules begins: what was found before counts only if nothing has changed where modules lie."""
    global _known_for
    changed = []
    for entry in sys.path:
        try:
            changed.append(os.stat(entry or ".").st_mtime_ns)
        except OSError:
            changed.append(0)
    state = (tuple(sys.path), os.getcwd() if "" in sys.path else "", len(sys.meta_path), tuple(changed))
    if state != _known_for:
        for top in [top for top, (spec, place) in _known.items() if spec is None or place is not None]:
            del _known[top]  # what was imported from installed packages stays what it is
        _known_for = state if max(changed, default=0) < time.time_ns() - SETTLED_NS else None


def find(top: str) -> Place | None:
    """The place of a top-level module, if it is a local one; it is not imported."""
    if top in FIXED or not top.isidentifier() or origins.is_standard(top):
        return None
    module = sys.modules.get(top)
    spec: ModuleSpec | None = getattr(module, "__spec__", None)
    known = _known.get(top)
    if known is not None and known[0] is spec:
        return known[1]
    if module is None:
        place = _place(top, _find_spec(top), None)
    else:  # what was imported is what is meant, wherever another of its name may lie by now
        place = _place(top, spec, getattr(module, "__file__", None))
    _known[top] = (spec, place)
    return place


def exists(top: str) -> bool:
    """Whether there is such a top-level module."""
    return top in sys.modules or _find_spec(top) is not None


def _find_spec(top: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(top)
    except Exception:  # noqa: BLE001 - finders that others have put there may raise anything
        return None


def _place(top: str, spec: ModuleSpec | None, file: str | None) -> Place | None:
    locations = None if spec is None else spec.submodule_search_locations
    if locations is not None:
        local = tuple(folder for folder in _folders(locations) if not _is_installed(folder))
        return Place(top, folders=local) if local else None
    origin = file if spec is None or not spec.has_location else spec.origin
    if origin is None or not origin.endswith(SUFFIXES) or _is_installed(origin) or not os.path.isfile(origin):
        return None
    return Place(top, file=os.path.abspath(origin))


def _folders(locations: Iterable[str]) -> list[str]:
    return [os.path.abspath(folder) for folder in locations if os.path.isdir(folder)]


def _is_installed(path: str) -> bool:
    """Whether a file or folder lies among installed packages. A folder that is a link lies where that leads."""
    place = Path(path)
    if place.is_symlink() and place.is_dir():
        place = place.resolve()
    if not {"site-packages", "dist-packages"}.isdisjoint(place.parts):
        return True
    return any(place.is_relative_to(root) for root in _python_folders())


@lru_cache(1)
def _python_folders() -> frozenset[str]:
    return frozenset(sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib"))
