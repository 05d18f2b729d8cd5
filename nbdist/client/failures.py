"""Failed items, as the user sees them: an `ItemFailure` in the item's place, or the exception itself, raised."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from nbdist.client.hints import missing_file
from nbdist.errors import (
    ItemError,
    ItemExitError,
    ItemTimeoutError,
    RemoteTraceback,
    ResultError,
    WorkerCrashedError,
    WorkerLostError,
)
from nbdist.packing import Failure
from nbdist.wire.messages import FaultKind, ItemFault

MAX_ITEM_CHARS = 200
"""An item whose text is longer is not shown."""

LONGER = "give it a larger time_limit, or retries= to try it again, elsewhere if there is another machine"

READ_ONLY = (
    "what a cell or function takes along is shared by all items of a machine, and arrays in it cannot be written to: "
    "change a copy, as in `mine = array.copy()`"
)
_FAULTS: dict[FaultKind, type[Exception]] = {
    "crashed": WorkerCrashedError,
    "lost": WorkerLostError,
    "timeout": ItemTimeoutError,
    "unsent": ResultError,
    "unfetched": ItemError,
}


@dataclass(frozen=True, slots=True, eq=False)
class ItemFailure:
    """One item that has no value."""

    index: int
    item: object
    """The item itself; None where it is no longer known (items of a long generator)."""
    error: BaseException
    """The exception that the item's code raised, with `RemoteTraceback` as its cause; what is no `Exception` is the
    `raised` of an `ItemExitError`."""
    machine: str
    traceback: str
    """The traceback on that machine, as text."""

    def __repr__(self) -> str:
        return f"<ItemFailure of item {self.index} on {self.machine}: {type(self.error).__name__}: {self.error}>"


def from_failure(failure: Failure, item: object, machine: str, what: str | None = None) -> ItemFailure:
    """An item whose code raised. `what` it is called, if not by its index."""
    error = failure.exception()
    if what is not None and isinstance(error, ResultError):
        error = ResultError(str(error).replace(f"the value of item {failure.index} ", f"the value of {what} "))
    if isinstance(error, ItemTimeoutError) and str(error).startswith(ItemTimeoutError.TEXT):
        error = ItemTimeoutError(f"{what or f'item {failure.index}{shown(item)}'} {error} on {machine}: {LONGER}")
    if not isinstance(error, Exception):
        error = _exit_error(error, failure, f"{what or f'item {failure.index}{shown(item)}'} on {machine}")
    error.__cause__ = RemoteTraceback(failure.traceback)
    add_note(error, f"raised by {what or f'item {failure.index}{shown(item)}'} on {machine}")
    if isinstance(error, ValueError | TypeError) and "read-only" in failure.message:
        add_note(error, READ_ONLY)
    if hint := missing_file(error, machine):
        add_note(error, hint)
    return ItemFailure(failure.index, item, error, machine, failure.traceback)


def _exit_error(raised: BaseException, failure: Failure, what: str) -> ItemExitError:
    said = f": {failure.message}" if failure.message else ""
    error = ItemExitError(
        f"{what} raised {failure.type_name}{said}. That ends the item alone: return, or raise an Exception"
    )
    error.raised = raised
    return error


def from_fault(fault: ItemFault, item: object, what: str | None = None) -> ItemFailure:
    """An item that ended the process, or the machines, that ran it. `what` it is called, if not by its index."""
    tries = f"after {fault.attempts} attempts" if fault.attempts > 1 else "at the first attempt"
    fate = {
        "crashed": f"ended the process that ran it on {fault.worker} ({fault.reason})",
        "lost": f"was lost with the machines that ran it, {fault.worker} the last ({fault.reason})",
        "timeout": f"{ItemTimeoutError.TEXT} on {fault.worker} ({fault.reason}): {LONGER}",
        "unfetched": f"could not be brought to the machine that was to run it, {fault.worker} ({fault.reason})",
        "unsent": f"has a value that could not be brought to the hub from {fault.worker} ({fault.reason})",
    }[fault.kind]
    text = f"{what or f'item {fault.item}{shown(item)}'} {fate}, given up {tries}"
    if fault.stderr:
        text += f"; the end of what it wrote to stderr:\n{fault.stderr.rstrip()}"
    return ItemFailure(fault.item, item, _FAULTS[fault.kind](text), fault.worker, fault.stderr)


def shown(item: object) -> str:
    """The item for a message, with ` = ` before it; nothing if it is not known, empty or too long."""
    if item is None or (isinstance(item, tuple) and not item):
        return ""
    try:
        text = repr(item)
    except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything
        return ""
    return f" = {text}" if len(text) <= MAX_ITEM_CHARS and "\n" not in text else ""


def add_note(error: BaseException, note: str) -> None:
    """Adds a line to what is shown of an exception, once."""
    with contextlib.suppress(TypeError, AttributeError):  # a class of the user's may spoil __notes__
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
