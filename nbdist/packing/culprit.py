"""Finds what it is in a value that cannot be packed, and says so."""

from __future__ import annotations

import types
from collections.abc import Collection, Iterator
from typing import Any

from nbdist.errors import PackingError
from nbdist.packing import portable as portables
from nbdist.packing.hiding import Hidden

MAX_TRIES = 2_000
"""So many values are tried before the search gives up and names the last one that is known to fail."""
MAX_SHOWN = 80

_HINTS = {
    "lock": "make it inside the function, or use one per machine",
    "socket": "open the connection inside the function",
    "file": "open the file inside the function (its path can travel)",
    "database": "connect to the database inside the function",
    "generator": "turn it into a list first, or map over it: pool.map(f, generator)",
    "module": "import it inside the function",
    "thread": "start it inside the function",
    "frame": "keep its text instead",
    "coroutine": "run it inside the function: asyncio.run(f(x))",
    "pool": "use the pool where it was opened: let the function return what is to be done next, and map over that",
    "job": "its values can travel: job.result()",
}
_KINDS = {
    "lock": ("lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier", "_thread.lock"),
    "socket": ("socket", "SSLSocket"),
    "file": ("TextIOWrapper", "BufferedReader", "BufferedWriter", "BufferedRandom", "FileIO"),
    "database": ("Connection", "Cursor", "Engine", "Session", "connection", "cursor"),
    "generator": ("generator", "async_generator"),
    "coroutine": ("coroutine",),
    "module": ("module",),
    "thread": ("Thread", "ThreadPoolExecutor", "ProcessPoolExecutor"),
    "frame": ("frame", "traceback"),
    "pool": ("nbdist.client.pool.Pool",),
    "job": ("nbdist.client.job.Job",),
}
_WHOLE = ("thread", "pool", "job")
"""What these are made of is nothing that the reader knows."""


def find(value: Any, name: str, hidden: Hidden | None = None, *, portable: bool = False) -> str | None:
    """One line that says what in `value`, which the reader knows as `name`, cannot be packed; None if all of it can.

    `hidden` names are not packed. `portable`: packed for other versions of Python.
    """
    search = _Search(hidden, portable)
    if not search.fails(value):
        return None
    path = name
    while _kind(value) not in _WHOLE:
        for label, inner in _inside(value, hidden):
            if search.tries < MAX_TRIES and search.fails(inner):
                value, path = inner, f"{label} of {path}" if path else label
                break
        else:
            break
    reason = search.reason(value)
    return f"{path}: {reason}" if search.is_told(value) else _describe(value, path, reason)


class _Search:
    """Tries values, and never descends into the same one twice."""

    def __init__(self, hidden: Hidden | None, portable: bool) -> None:
        self.tries = 0
        self._hidden = hidden
        self._portable = portable
        self._seen: set[int] = set()
        self._reasons: dict[int, Exception] = {}

    def fails(self, value: Any) -> bool:
        if id(value) in self._seen:
            return False
        self.tries += 1
        try:
            portables.by_value(value, hidden=self._hidden, portable=self._portable)
        except Exception as error:  # noqa: BLE001 - pickling runs user code, which may raise anything
            self._seen.add(id(value))
            self._reasons[id(value)] = error
            return True
        return False

    def reason(self, value: Any) -> str:
        error = self._reasons[id(value)]
        return str(error) if self.is_told(value) else f"{type(error).__name__}: {error}"

    def is_told(self, value: Any) -> bool:
        """Whether the reason says by itself what it is about, and the way out."""
        return isinstance(self._reasons[id(value)], PackingError)


def _describe(value: Any, path: str, reason: str) -> str:
    kind = type(value)
    where = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    text = f"{path} cannot be packed: it is of type {where}{kind.__qualname__}"
    hint = _HINTS.get(_kind(value))
    return f"{text}; {hint}" if hint else f"{text} ({reason[:200]})"


def _kind(value: Any) -> str:
    """Of which kind the value is; empty: of none that is known."""
    kind = type(value)
    names = {kind.__name__, f"{kind.__module__}.{kind.__name__}"}
    return next((name for name, types_ in _KINDS.items() if not names.isdisjoint(types_)), "")


def _inside(value: Any, hidden: Hidden | None) -> Iterator[tuple[str, Any]]:
    """The values that a value is made of, with names for them. An entry is given once, in a fixed order."""
    if isinstance(value, dict):
        for key, inner in list(value.items()):
            yield f"the key {_short(key)}", key
            yield f"the value at {_short(key)}", inner
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, inner in enumerate(value):
            yield f"element {index}", inner
    elif isinstance(value, types.FunctionType):
        yield from _in_function(value, () if hidden is None else hidden.of(value))
    elif isinstance(value, types.MethodType):
        yield f"the object behind {value.__name__!r}", value.__self__
    elif isinstance(value, type):
        for name, inner in list(vars(value).items()):
            yield f"attribute {name!r}", inner.__func__ if isinstance(inner, (staticmethod, classmethod)) else inner
    else:
        yield from _in_object(value)


def _in_function(function: types.FunctionType, hidden: Collection[str]) -> Iterator[tuple[str, Any]]:
    names = set(_names(function.__code__)).difference(hidden)
    for name in sorted(names & function.__globals__.keys()):
        yield f"the captured name {name!r}", function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"the captured name {name!r}", cell.cell_contents
        except ValueError:
            continue  # an empty cell
    for index, default in enumerate(function.__defaults__ or ()):
        yield f"default value {index}", default
    for name, default in (function.__kwdefaults__ or {}).items():
        yield f"the default of {name!r}", default


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _in_object(value: Any) -> Iterator[tuple[str, Any]]:
    fields = dict(getattr(value, "__dict__", {}) or {})
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name):
                fields[name] = getattr(value, name)
    for attribute in ("func", "args", "keywords"):  # functools.partial
        if type(value).__module__ == "functools" and hasattr(value, attribute):
            fields[attribute] = getattr(value, attribute)
    for name, inner in fields.items():
        yield f"attribute {name!r}", inner


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything
        text = f"<{type(value).__name__}>"
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
