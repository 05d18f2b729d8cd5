"""Where modules come from, and what they are: a version of Python, of a distribution, or the text of local files."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import re
import sys
import sysconfig
import types
from collections.abc import Collection, Iterable
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

MAX_MODULES = 1_000
"""What imports more modules than that has no known origin."""
MAX_FILE_BYTES = 16 * 1024 * 1024
OURS = "nbdist"
MISSING = "missing"
"""What stands for a module that local modules import, and that is not here."""


class UnknownOriginError(Exception):
    """Nothing tells whether a module is the same as another time."""


def describe(modules: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of a module and what it is, for these modules and all that local ones among them import, in order.

    The standard library goes with the version of Python, and is left out. Raises UnknownOriginError, OSError, and
    SyntaxError for a local file that does not parse.
    """
    found: dict[str, str] = {}
    waiting = [(name, True) for name in modules]
    while waiting:
        name, must_be_here = waiting.pop()
        top = name.partition(".")[0]
        if name in found or top in _versions or is_standard(top) or top == OURS:
            if top in _versions:
                found[top] = _versions[top]
            continue
        spec = _spec(name)
        if spec is None:
            if must_be_here:
                raise UnknownOriginError(name)
            found[name] = MISSING
        elif (version := _version(top)) is not None:
            found[top] = _versions[top] = version
        else:
            found[name], imported = _local(name, spec)
            waiting += [(other, False) for other in imported]
        if len(found) > MAX_MODULES:
            raise UnknownOriginError(name)
    return sorted(found.items())


_versions: dict[str, str] = {}
"""Top-level modules of installed distributions -> which these are."""


def is_standard(top: str) -> bool:
    """Whether a top-level module comes with Python."""
    return top in sys.stdlib_module_names or top in sys.builtin_module_names


def is_here(name: str) -> bool:
    """Whether there is a module of this name."""
    return _spec(name) is not None


def _spec(name: str) -> ModuleSpec | None:
    """Where a module is found. Nothing is imported for that."""
    module = sys.modules.get(name)
    spec: ModuleSpec | None = getattr(module, "__spec__", None)
    if spec is not None:
        return spec
    parent = name.rpartition(".")[0]
    if not parent:
        return PathFinder.find_spec(name)
    above = _spec(parent)
    if above is None or above.submodule_search_locations is None:
        return None
    return PathFinder.find_spec(name, list(above.submodule_search_locations))


def _version(top: str) -> str | None:
    """The versions of the distributions that have a top-level module; None: it was not installed with any."""
    spec = _spec(top)
    places = [] if spec is None else [Path(spec.origin)] if spec.origin else []
    places += [] if spec is None else map(Path, spec.submodule_search_locations or ())
    if not places or not all(any(place.is_relative_to(root) for root in _site_folders()) for place in places):
        return None
    return ", ".join(f"{owner} {importlib.metadata.version(owner)}" for owner in owners(top)) or None


def owners(top: str) -> list[str]:
    """The distributions that have an installed top-level module."""
    if has(top, top):
        return [top]  # so it is nearly always called
    return _owners(top, tuple(folder.stat().st_mtime_ns if folder.is_dir() else 0 for folder in _site_folders()))


def has(distribution: str, module: str) -> bool:
    """Whether there is such a distribution and a module of that full name in it."""
    try:
        record = importlib.metadata.distribution(distribution).read_text("RECORD") or ""
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False
    path = module.replace(".", "/")
    return f"\n{path}/__init__.py," in f"\n{record}" or f"\n{path}.py," in f"\n{record}"


@lru_cache(1000)
def _owners(top: str, changed: tuple[int, ...]) -> list[str]:
    """Looked for among all that is installed, which takes a moment; `changed` says when that was last another."""
    in_record = re.compile(rf"^{re.escape(top)}(?:/|\.[^/,]*,)", re.MULTILINE)
    found = set()
    for distribution in importlib.metadata.distributions():
        named = distribution.read_text("top_level.txt")
        if top in named.split() if named is not None else in_record.search(distribution.read_text("RECORD") or ""):
            found.add(str(distribution.metadata["Name"]))
    return sorted(found)


def _site_folders() -> list[Path]:
    """Where packages are installed: the folders of `sys.path` that have such a name, and this Python's own."""
    named = [Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    return [*named, *(Path(sysconfig.get_path(key)) for key in ("purelib", "platlib"))]


def _local(name: str, spec: ModuleSpec) -> tuple[str, set[str]]:
    """The hash of a local module's file, and the modules that it may import; a folder of modules has no file."""
    above = {name.rpartition(".")[0]} - {""}
    if spec.origin is None or not spec.has_location:
        return "a folder", above
    path = Path(spec.origin)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise UnknownOriginError(name)
    text = path.read_bytes()
    found = hashlib.sha256(text).hexdigest()
    if path.suffix != ".py":
        return found, above
    package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
    imported, mentioned = _read(text, package)
    held = _held(sys.modules.get(name), mentioned)
    return found, above | imported | held | inside({*imported, *held}, mentioned)


def inside(packages: Iterable[str], mentioned: Collection[str]) -> set[str]:
    """The loaded sub-modules of packages, and theirs, that code may mean which uses such names."""
    found: set[str] = set()
    waiting = [name for name in packages if hasattr(sys.modules.get(name), "__path__")]
    while waiting:
        package = waiting.pop()
        if not is_standard(package.partition(".")[0]):
            new = {name for each in mentioned if (name := f"{package}.{each}") in sys.modules} - found
            found |= new
            waiting += new
    return found


def _held(module: types.ModuleType | None, mentioned: Collection[str]) -> set[str]:
    """The modules that a module has under names that it uses, however it imported them."""
    values = {} if module is None else vars(module)
    modules = [value for name in mentioned if isinstance(value := values.get(name), types.ModuleType)]
    return {value.__name__ for value in modules} - {"__main__"}


@lru_cache(1000)
def _read(text: bytes, package: str) -> tuple[frozenset[str], frozenset[str]]:
    """The modules that a file's import statements may mean, and all names that it uses."""
    found: set[str] = set()
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = absolute(node.module or "", node.level, package)
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}  # it may be a module itself
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
    return frozenset(name for name in found if not name.startswith(".") and name), frozenset(names)


def absolute(module: str, level: int, package: str) -> str:
    """The full name of what `from ..module import …` in a package means."""
    if not level:
        return module
    parts = package.split(".")
    kept = parts[: len(parts) - level + 1]
    return ".".join([*kept, module] if module else kept)
