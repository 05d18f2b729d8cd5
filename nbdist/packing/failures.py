"""Exceptions of user code on their way home: as themselves where they can be pickled, and always as text."""

from __future__ import annotations

import pickle
import traceback
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeAlias

from nbdist.errors import ItemError
from nbdist.packing.encoding import dumps

MAX_MESSAGE_CHARS = 8 * 1024
MAX_TRACEBACK_CHARS = 32 * 1024
MAX_EXCEPTION_BYTES = 1024 * 1024
"""An exception that drags more along comes home as text only."""

REASON_LINES = 8
"""So many of the last lines of a traceback say why a machine cannot run a job …"""
MAX_REASON_CHARS = 2_000
"""… in so many characters: it travels in the header of a message."""

FailureRow: TypeAlias = tuple[int, str, str, str, bytes | None]
"""A failure as plain data: the fields of `Failure`, in order."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An item whose code raised."""

    index: int
    type_name: str
    message: str
    traceback: str
    """The traceback with the frames of the user's code only, as Python prints it."""
    packed: bytes | None
    """The exception itself, if it can travel."""

    def exception(self) -> BaseException:
        """The exception; an ItemError with its description if it cannot be rebuilt here."""
        if self.packed is not None:
            try:
                error = pickle.loads(self.packed)
            except Exception:  # noqa: BLE001 - unpickling runs user code, which may raise anything
                error = None
            if isinstance(error, BaseException):
                return error
        return ItemError(f"{self.type_name}: {self.message}" if self.message else self.type_name)


def pack_failure(index: int, error: BaseException, *, portable: bool = False) -> FailureRow:
    """Describes the exception that item `index` raised."""
    return (
        index,
        _type_name(type(error)),
        cut(_text(error), MAX_MESSAGE_CHARS),
        traceback_text(error),
        _pack_exception(error, portable),
    )


def traceback_text(error: BaseException) -> str:
    """The traceback as Python prints it, without the frames of nbdist that called the user's code."""
    error.__traceback__ = user_frames(error.__traceback__)
    try:
        text = "".join(traceback.TracebackException.from_exception(error, compact=True).format())
    except Exception as trouble:  # noqa: BLE001 - it calls the user's __str__ and __repr__
        text = f"{_type_name(type(error))} (its traceback cannot be shown: {type(trouble).__name__})\n"
    return cut(text, MAX_TRACEBACK_CHARS)


def setup_reason(name: str, filename: str, error: BaseException) -> str:
    """Why a setup, whose code is that of `filename`, has not run: one line, and the last lines of its traceback."""
    lines = traceback_text(error).rstrip().splitlines()
    own = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == filename]
    place = f", line {own[-1]}" if own else ""
    first = f"setup {name!r}{place}: {_type_name(type(error))}: {_text(error)}".splitlines()[0].rstrip(": ")
    return cut("\n".join([first, *lines[-REASON_LINES:]]), MAX_REASON_CHARS)


def user_frames(trace: TracebackType | None) -> TracebackType | None:
    """A traceback from the first frame on that is not nbdist's; the whole of it if there is none."""
    frame = trace
    while frame is not None and _is_ours(frame):
        frame = frame.tb_next
    return frame or trace


def innermost(error: BaseException) -> str:
    """The function that raised it: `Model.__setstate__`; empty if that is none of the user's."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or _is_ours(trace):
        return ""
    name = trace.tb_frame.f_code.co_qualname.rpartition("<locals>.")[2]
    return "" if name.startswith("<") else name


def cut(text: str, limit: int) -> str:
    """The text, its middle left out and marked if it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def _is_ours(frame: TracebackType) -> bool:
    name = str(frame.tb_frame.f_globals.get("__name__", ""))
    return name == "nbdist" or name.startswith("nbdist.")


def _type_name(kind: type) -> str:
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as trouble:  # noqa: BLE001 - a user's __str__ may raise anything
        return f"(its message cannot be shown: {type(trouble).__name__})"


def _pack_exception(error: BaseException, portable: bool) -> bytes | None:
    """The pickled exception, if it comes back as what it is; exceptions with an `__init__` of their own often do not
    by themselves, but do by their arguments and attributes."""
    for candidate in (error, _Parts(error)):
        try:
            packed = dumps(candidate, portable=portable)
            if len(packed) <= MAX_EXCEPTION_BYTES and _is_same(pickle.loads(packed), error):
                return packed
        except Exception:  # noqa: BLE001 - pickling runs user code; the text always travels
            continue
    return None


def _is_same(again: Any, error: BaseException) -> bool:
    """An `__init__` that makes its message of its argument makes another one of that."""
    return type(again) is type(error) and _text(again) == _text(error)


class _Parts:
    """Pickles as an exception that is rebuilt without its `__init__`."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, (type(self._error), self._error.args, dict(self._error.__dict__))


def rebuild(kind: type[BaseException], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    """An exception by its class, arguments and attributes; its `__init__` is not called."""
    error = kind.__new__(kind)
    error.args = arguments
    error.__dict__.update(attributes)
    return error
