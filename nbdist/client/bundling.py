"""Local modules to bundles: what a job imports that is installed nowhere travels with it, named by its content.

What was packed is kept, with the sizes and times of the files that are in it: of modules that have not changed, a
second job only looks at these.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

from nbdist.client.analysis import edited, modules, places, texts
from nbdist.client.analysis.contents import Contents, File, contents
from nbdist.client.analysis.distributions import packages_of
from nbdist.client.analysis.globals import globals_in
from nbdist.client.analysis.metadata import metadata_of
from nbdist.client.analysis.origins import is_standard
from nbdist.client.analysis.places import Place
from nbdist.client.analysis.texts import Text
from nbdist.engines.base import Buffer, PackedBlob, PackedTask
from nbdist.errors import PackingError
from nbdist.wire import bundles
from nbdist.wire.blobs import blob_name
from nbdist.wire.messages import Bundle

MAX_KEPT_BYTES = 256 * 1024 * 1024
"""Of packed modules that are kept for further jobs."""
MAX_NAME_CHARS = 16_000
"""Of all top-level local modules of a job: a message has room for so many."""
_turn = threading.RLock()
"""Held while modules are looked at: jobs may be submitted by several threads."""


@dataclass(frozen=True, slots=True)
class Packed:
    """One local module, or several, as an archive."""

    modules: tuple[str, ...]
    files: tuple[File, ...]
    data: bytes
    blob: str
    native: str
    mentions: frozenset[str]
    """Top-level modules that its files may import."""
    is_settled: bool
    """Its files are so old that a change of theirs cannot be missed."""

    @property
    def bundle(self) -> Bundle:
        """What the wire says of it."""
        return Bundle(self.blob, self.modules, self.native)


@dataclass
class Gathered:
    """The local modules of a job."""

    packed: list[Packed] = field(default_factory=list)
    installed: set[str] = field(default_factory=set)
    """Modules that these, or the job, import whenever they are imported, and that a machine must have: full names."""


def add(task: PackedTask, certain: Iterable[str], possible: Iterable[str] = ()) -> PackedTask:
    """The task with the local modules that it needs.

    `certain`: modules that will be imported, by their full names; `possible`: those that may be. Raises PackingError,
    which names file and line, if one that will be imported does not parse.
    """
    with _turn:
        places.begin()
        gathered = gather(certain, [*possible, *_referred_to(task.pieces)])
        packed = _few(gathered.packed)
        packages = packages_of(gathered.installed)
    if sum(len(name) for each in gathered.packed for name in each.modules) > MAX_NAME_CHARS:
        raise PackingError(
            f"this job may import {len(gathered.packed)} local modules, too many to be named: put them into "
            "a package, or install them on the machines"
        )
    return replace(
        task,
        blobs=[*task.blobs, *(PackedBlob(each.blob, len(each.data), [each.data]) for each in packed)],
        bundles=tuple(each.bundle for each in packed),
        modules=modules.top_level(gathered.installed),
        packages=packages,
    )


def gather(certain: Iterable[str], possible: Iterable[str]) -> Gathered:
    """The local modules among these, and all that they may import in turn."""
    gathered = Gathered()
    found: dict[str, Packed | None] = {}
    read: set[str] = set()
    waiting = deque([*((name, True) for name in certain), *((name, False) for name in possible)])
    while waiting:
        name, is_certain = waiting.popleft()
        top = name.partition(".")[0]
        place = places.find(top)
        if place is None:
            if is_certain and not is_standard(top) and places.exists(top):
                gathered.installed.add(name)
            continue
        if top not in found:
            found[top] = packed = _pack(place, is_certain=is_certain)
            if packed is not None:
                gathered.packed.append(packed)
                waiting += [(other, False) for other in sorted(packed.mentions)]
        if is_certain and found[top] is not None:
            for prefix in accumulate(name.split("."), lambda left, right: f"{left}.{right}"):
                if prefix not in read:
                    read.add(prefix)
                    waiting += [(other, True) for other in _checked(place, prefix).imports]
    _tell_of_edited(gathered.packed)
    return gathered


# --- what is packed ---------------------------------------------------------------------------------------------------

_kept: OrderedDict[str, Packed] = OrderedDict()
"""Top-level module -> how it was packed last."""
_said: set[str] = set()


def _pack(place: Place, *, is_certain: bool) -> Packed | None:
    """A module as an archive; None, with a warning, if it is too large. Raises PackingError."""
    head = place.source(place.top)
    found = contents(place, _text(head, place.top).data if head.endswith(".py") else None)
    if not place.file and not head and not (found.has_code and (is_certain or not found.problem)):
        return None  # a folder that has the name of something that a text mentions
    if found.problem:
        _say_once(
            place,
            f"the local module {place.top!r} does not travel, and must be installed on the machines: it has "
            f"{found.problem}",
        )
        return None
    if found.left_out and (is_certain or head):
        _say_once(
            place,
            f"the data files of the local package {place.top!r}, {found.left_out}, do not travel: a line "
            f'`{texts.DATA_NAME} = ["*.json"]` in its __init__.py names those that are to',
        )
    known = _kept.get(place.top)
    if known is None or known.files != found.files or not known.is_settled:
        known = _kept[place.top] = _archive(place, found)
        while sum(len(each.data) for each in _kept.values()) > MAX_KEPT_BYTES and len(_kept) > 1:
            _kept.popitem(last=False)
    _kept.move_to_end(place.top)
    return known


def _archive(place: Place, found: Contents) -> Packed:
    now = time.time_ns()
    data: dict[str, bytes] = {}
    for file in found.files:
        try:
            data[file.name] = Path(file.path).read_bytes()
        except FileNotFoundError:
            continue  # it has gone meanwhile
        except OSError as error:
            if not file.is_code:
                continue
            raise PackingError(f"the local module {place.top!r} cannot be read: {error}") from error
    origins = {file.name: file.path for file in found.files if file.name in data}
    sources = [text for name, text in data.items() if name.endswith(".py")]
    archive = bundles.pack(data | metadata_of(place.top, sources), origins)
    return Packed(
        modules=(place.top,),
        files=found.files,
        data=archive,
        blob=blob_name([archive]),
        native=bundles.native_tag() if any(file.is_native for file in found.files) else "",
        mentions=frozenset().union(*map(texts.mentioned, sources)) - {place.top},
        is_settled=all(file.mtime_ns < now - places.SETTLED_NS for file in found.files),
    )


_merged: tuple[tuple[str, ...], Packed] | None = None


def _few(packed: Sequence[Packed]) -> list[Packed]:
    """The archives in a fixed order; of more than `MAX_BUNDLES`, the smallest as one."""
    global _merged
    if len(packed) <= bundles.MAX_BUNDLES:
        return sorted(packed, key=lambda each: each.modules)
    # what has data of its own stays alone: their paths in an archive might be the same
    # … and what has compiled code is not for every machine
    by_size = sorted(packed, key=lambda each: (each.native, len(each.files) > 1, len(each.data), each.modules))
    count = len(packed) - bundles.MAX_BUNDLES + 1
    small, others = sorted(by_size[:count], key=lambda each: each.modules), by_size[count:]
    names = tuple(each.blob for each in small)
    if _merged is None or _merged[0] != names:
        _merged = (names, _merge(small))
    return sorted([_merged[1], *others], key=lambda each: each.modules)


def _merge(packed: Sequence[Packed]) -> Packed:
    files = tuple(file for each in packed for file in each.files)
    data = {"/".join(parts): text for each in packed for parts, text in bundles.read(each.data)}
    data.pop(bundles.ORIGINS)
    archive = bundles.pack(data, {file.name: file.path for file in files if file.name in data})
    return Packed(
        modules=tuple(name for each in packed for name in each.modules),
        files=files,
        data=archive,
        blob=blob_name([archive]),
        native=next((each.native for each in packed if each.native), ""),
        mentions=frozenset(),
        is_settled=False,
    )


# --- texts ------------------------------------------------------------------------------------------------------------

_texts: dict[str, tuple[tuple[int, int, int], Text]] = {}
"""File -> its inode, size and time, and what its text says."""


def _checked(place: Place, name: str) -> Text:
    """What a module's text says. Raises PackingError if it does not parse."""
    path = place.source(name)
    if not path.endswith(".py"):
        return Text()
    text = _text(path, name)
    if text.problem:
        raise PackingError(
            f"the module {name!r}, which this job imports, does not parse: {path}, {text.problem}; nothing was sent"
        )
    return text


def _text(path: str, name: str) -> Text:
    package = name if os.path.basename(path) == "__init__.py" else name.rpartition(".")[0]
    try:
        facts = os.stat(path)
        stamp = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
        known = _texts.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        is_settled = facts.st_mtime_ns < time.time_ns() - places.SETTLED_NS
        text = texts.read(Path(path).read_bytes(), package)
    except OSError as error:
        raise PackingError(f"the local module {name!r} cannot be read: {error}") from error
    if is_settled:
        _texts[path] = (stamp, text)
    return text


# --- what is imported here --------------------------------------------------------------------------------------------

_loaded: tuple[int, dict[str, list[str]]] = (0, {})
"""How many modules there were, and their full names by their top-level ones."""


def _imported_here() -> dict[str, list[str]]:
    global _loaded
    if _loaded[0] != len(sys.modules):
        by_top: dict[str, list[str]] = {}
        for name in list(sys.modules):
            by_top.setdefault(name.partition(".")[0], []).append(name)
        _loaded = (len(sys.modules), by_top)
    return _loaded[1]


def _referred_to(pieces: Sequence[Buffer]) -> set[str]:
    """The local modules that a packed task refers to: those of what is in its containers and attributes, say."""
    return globals_in(pieces, {top for top in _imported_here() if places.find(top) is not None})


def _tell_of_edited(packed: Iterable[Packed]) -> None:
    here = _imported_here()
    for each in packed:
        for top in each.modules:
            edited.tell(here.get(top, ()), each.files)


def _say_once(place: Place, text: str) -> None:
    if text not in _said:
        _said.add(text)
        warnings.warn_explicit(text, RuntimeWarning, place.file or place.folders[0], 0)
