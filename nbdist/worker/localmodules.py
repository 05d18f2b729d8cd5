"""The local modules of jobs in a slot: each set of bundles has module objects of its own.

A slot runs slices of many jobs, one after another. While a slice runs, `import` finds the modules of its job's bundles
before any others of these names, and `sys.modules` has those of its job alone. Code says of itself that it comes from
the file on the notebook's machine, so that tracebacks name that.
"""

from __future__ import annotations

import json
import linecache
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
)
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeAlias

from nbdist.wire.bundles import ORIGINS
from nbdist.wire.messages import BundleFolder

MAX_IDLE = 4
"""So many sets that no job needs are kept, for the next job that needs the same."""
OURS = frozenset({"nbdist", "cloudpickle", "websockets"})
"""What a slot runs on is never replaced."""

Key: TypeAlias = tuple[str, ...]
Line: TypeAlias = tuple[int, None, list[str], str]
"""An entry of `linecache`."""


class LocalModules:
    """Which modules are in force."""

    def __init__(self) -> None:
        self._sets: OrderedDict[Key, _Set] = OrderedDict()
        self._active: _Set | None = None
        self._finder = _Finder()

    def use(self, folders: Sequence[BundleFolder]) -> None:
        """From now on `import` finds the modules of these bundles, and of no others. Raises OSError and ValueError."""
        key = _key(folders)
        if self._active is not None and self._active.key == key:
            return
        wanted = None
        if key:
            wanted = self._sets.get(key) or _Set(key, folders)
            self._sets[key] = wanted
            self._sets.move_to_end(key)
        if self._active is not None:
            self._active.leave()
        self._active = self._finder.active = wanted
        if wanted is None:
            return
        if self._finder not in sys.meta_path:
            sys.meta_path.insert(0, self._finder)
        wanted.enter()

    def keep(self, needed: Iterable[Sequence[BundleFolder]]) -> None:
        """Drops the modules of sets that no job needs any more, but for the last few."""
        alive = set(map(_key, needed))
        idle = [key for key, one in self._sets.items() if key not in alive and one is not self._active]
        for key in idle[: max(0, len(idle) - MAX_IDLE)]:
            del self._sets[key]


def _key(folders: Iterable[BundleFolder]) -> Key:
    return tuple(sorted(folder.name for folder in folders))


class _Set:
    """Bundles that are in force together, and the modules that were imported from them."""

    def __init__(self, key: Key, folders: Sequence[BundleFolder]) -> None:
        self.key = key
        self.folders = {
            top: folder.path
            for folder in folders
            for top in folder.modules
            if top not in OURS and top not in sys.stdlib_module_names
        }
        """Top-level module -> the folder in which it lies."""
        self._roots = tuple(dict.fromkeys(self.folders.values()))
        self._modules: dict[str, ModuleType] = {}
        self._displaced: dict[str, ModuleType] = {}
        self._lines: dict[str, Line] = {}
        self._finders: dict[str, FileFinder] = {}
        self._origins = _origins(self._roots)

    def enter(self) -> None:
        """Its modules take the places of others of these names."""
        self._displaced = self._take()
        sys.modules.update(self._modules)
        linecache.cache.update(self._lines)
        sys.path[0:0] = self._roots  # for what the slot starts: processes of multiprocessing are told this path

    def leave(self) -> None:
        """Things are as they were before."""
        self._modules = self._take()
        sys.modules.update(self._displaced)
        self._displaced = {}
        for filename in self._lines:
            linecache.cache.pop(filename, None)
        sys.path[:] = [entry for entry in sys.path if entry not in self._roots]

    def find(self, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
        """Where a module lies; None: not in these bundles."""
        top = name.partition(".")[0]
        places = [self.folders[top]] if name == top else [entry for entry in path or () if self._is_here(entry)]
        portions: list[str] = []
        for place in places:
            spec = self._finder(place).find_spec(name)
            if spec is not None and spec.loader is not None:
                return spec
            portions += [] if spec is None else list(spec.submodule_search_locations or ())
        return _namespace(name, portions, [entry for entry in path or sys.path if not self._is_here(entry)])

    def _take(self) -> dict[str, ModuleType]:
        names = [name for name in list(sys.modules) if name.partition(".")[0] in self.folders]
        return {name: sys.modules.pop(name) for name in names}

    def _is_here(self, entry: Any) -> bool:
        return any(entry == root or str(entry).startswith((f"{root}/", f"{root}\\")) for root in self._roots)

    def _finder(self, place: str) -> FileFinder:
        found = self._finders.get(place)
        if found is None:
            loader: Callable[..., Any] = partial(_Loader, origins=self._origins, show=self._show)
            found = self._finders[place] = FileFinder(
                place,
                (ExtensionFileLoader, EXTENSION_SUFFIXES),
                (loader, SOURCE_SUFFIXES),  # type: ignore[arg-type]
            )
        return found

    def _show(self, filename: str, source: str) -> None:
        """Tracebacks show these lines."""
        line: Line = (len(source), None, source.splitlines(keepends=True), filename)
        self._lines[filename] = linecache.cache[filename] = line


def _origins(roots: Iterable[str]) -> dict[str, str]:
    """File here -> file on the notebook's machine."""
    found: dict[str, str] = {}
    for root in roots:
        origins: dict[str, str] = json.loads((Path(root) / ORIGINS).read_text("ascii"))
        found |= {str(Path(root, *name.split("/"))): str(origin) for name, origin in origins.items()}
    return found


def _namespace(name: str, portions: list[str], elsewhere: list[str]) -> ModuleSpec | None:
    """A package without an `__init__.py`; parts of it may be installed here."""
    if not portions:
        return None
    spec = ModuleSpec(name, None, is_package=True)
    other = PathFinder.find_spec(name, elsewhere)
    installed = [] if other is None or other.loader is not None else list(other.submodule_search_locations or ())
    spec.submodule_search_locations = [*portions, *installed]
    return spec


class _Finder(MetaPathFinder):
    """Finds the modules of the set that is in force, before all others."""

    def __init__(self) -> None:
        self.active: _Set | None = None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a module lies; None: other finders may know it."""
        active = self.active
        if active is None or fullname.partition(".")[0] not in active.folders:
            return None
        return active.find(fullname, path)


class _Loader(SourceFileLoader):
    """Loads a module whose code says that it comes from the notebook's file."""

    def __init__(
        self, fullname: str, path: str, *, origins: Mapping[str, str], show: Callable[[str, str], None]
    ) -> None:
        super().__init__(fullname, path)
        self._origin = origins.get(path)
        self._show = show

    def get_code(self, fullname: str) -> CodeType | None:
        """The module's code."""
        code = super().get_code(fullname)
        if code is None or self._origin is None:
            return code
        self._show(self._origin, self.get_source(fullname) or "")
        return _renamed(code, self._origin)


def _renamed(code: CodeType, filename: str) -> CodeType:
    constants = [_renamed(each, filename) if isinstance(each, CodeType) else each for each in code.co_consts]
    return code.replace(co_filename=filename, co_consts=tuple(constants))
