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
MAX_STEPS_SHOWN = 6
"""Of the way to a value: the nearest to it, and the captured name."""

_HINTS = {
    "lock": "make it inside the function, or use one per machine",
    "socket": "open the connection inside the function",
    "file": "open the file inside the function: nbdist.file('its name') is its path on every machine",
    "database": "connect to the database inside the function",
    "generator": "turn it into a list first, or map over it: pool.map(f, generator)",
    "module": "import it inside the function",
    "thread": "start it inside the function",
    "frame": "keep its text instead",
    "coroutine": "run it inside the function: asyncio.run(f(x))",
    "pool": "use the pool where it was opened: let the function return what is to be done next, and map over that",
    "job": "its values can travel: job.result()",
    "future": "its value can travel: future.result()",
    "queue": "let the function return its values; what items are to do can be the items",
    "process": "start it inside the function",
}
_KINDS = {
    "lock": (
        "lock",
        "RLock",
        *(f"threading.{name}" for name in ("Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier")),
        *(f"multiprocessing.synchronize.{name}" for name in ("Lock", "RLock", "Condition", "Semaphore", "Event")),
    ),
    "future": ("concurrent.futures._base.Future", "_asyncio.Future", "_asyncio.Task", "asyncio.futures.Future"),
    "queue": (
        *(f"queue.{name}" for name in ("Queue", "LifoQueue", "PriorityQueue")),
        "_queue.SimpleQueue",
        *(f"multiprocessing.queues.{name}" for name in ("Queue", "JoinableQueue", "SimpleQueue")),
    ),
    "process": ("subprocess.Popen",),
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
_WHOLE = ("lock", "thread", "pool", "job", "future", "queue", "process")
"""What these are made of is nothing that the reader knows."""


def find(value: Any, name: str, hidden: Hidden | None = None, *, portable: bool = False) -> str | None:
    """One line that says what in `value`, which the reader knows as `name`, cannot be packed; None if all of it can.

    `hidden` names are not packed. `portable`: packed for other versions of Python.
    """
    search = _Search(hidden, portable)
    if not search.fails(value):
        return None
    steps = [name] if name else []
    while _kind(value) not in _WHOLE and (not search.is_too_deep(value) or isinstance(value, types.FunctionType)):
        for label, inner in _inside(value, hidden):
            if search.tries < MAX_TRIES and search.fails(inner):
                value, steps = inner, [label, *steps]
                break
        else:
            break
    path, reason = _path(steps), search.reason(value)
    if search.is_too_deep(value):
        return f"{path} cannot be packed: it is nested too deeply (a chain of objects?); keep them in a list"
    return f"{path}: {reason}" if search.is_told(value) else _describe(value, path, reason)


def _path(steps: list[str]) -> str:
    """The way to a value, from inside; of a long one not all."""
    if len(steps) > MAX_STEPS_SHOWN + 2:
        steps = [*steps[:MAX_STEPS_SHOWN], "…", *steps[-2:]]
    return " of ".join(steps)


class _Search:
    """Tries values, and never descends into the same one twice."""

    def __init__(self, hidden: Hidden | None, portable: bool) -> None:
        self.tries = 0
        self._hidden = hidden
        self._portable = portable
        self._seen: set[int] = set()
        self._reasons: dict[int, str] = {}
        self._told: set[int] = set()
        self._too_deep: set[int] = set()

    def fails(self, value: Any) -> bool:
        if id(value) in self._seen:
            return False
        self.tries += 1
        try:
            portables.by_value(value, hidden=self._hidden, portable=self._portable)
        except Exception as error:  # noqa: BLE001 - pickling runs user code, which may raise anything
            self._seen.add(id(value))
            told = isinstance(error, PackingError)
            if told:
                self._told.add(id(value))
            self._reasons[id(value)] = str(error) if told else f"{type(error).__name__}: {error}"
            if _is_recursion(error):
                self._too_deep.add(id(value))
            return True  # the error is not kept: its traceback would hold the value until a collection
        return False

    def is_too_deep(self, value: Any) -> bool:
        """Whether it fails because of how deeply things are nested in it."""
        return id(value) in self._too_deep

    def reason(self, value: Any) -> str:
        return self._reasons[id(value)]

    def is_told(self, value: Any) -> bool:
        """Whether the reason says by itself what it is about, and the way out."""
        return id(value) in self._told


def _is_recursion(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, RecursionError):
        error = error.__context__
    return error is not None


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
        yield from in_function(value, () if hidden is None else hidden.of(value))
    elif isinstance(value, types.MethodType):
        yield f"the object behind {value.__name__!r}", value.__self__
    elif isinstance(value, type):
        for name, inner in list(vars(value).items()):
            yield f"attribute {name!r}", inner.__func__ if isinstance(inner, (staticmethod, classmethod)) else inner
    else:
        yield from _in_object(value)


def in_function(function: types.FunctionType, hidden: Collection[str]) -> Iterator[tuple[str, Any]]:
    """What a function takes along, with names for it; `hidden` names are left out."""
    names = set(_names(function.__code__)).difference(hidden)
    for name in sorted(names & function.__globals__.keys()):
        yield f"the captured name {name!r}", function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"the captured name {name!r}", cell.cell_contents
        except ValueError:
            continue  # an empty cell
    defaults = function.__defaults__ or ()
    parameters = function.__code__.co_varnames[: function.__code__.co_argcount]
    for parameter, default in zip(parameters[len(parameters) - len(defaults) :], defaults, strict=True):
        yield f"the default of {parameter!r}", default
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
