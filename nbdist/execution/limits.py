"""Time limits: each item by itself, on a watch that whoever interrupts asks whether that item's time is up.

The watch is what makes an interrupt strike the item that it is meant for: `strike` is called in the thread that runs
the items, where none can begin or end meanwhile, and says no unless the one that runs now is itself over its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableSequence
from types import TracebackType
from typing import Any, NoReturn

from nbdist.errors import ItemTimeoutError
from nbdist.execution.loops import Function, Loop

NANOSECONDS = 1_000_000_000


class Overtime(KeyboardInterrupt):
    """Raised in an item whose time is up."""


class Watch:
    """When the running item began, and whether its time is up.

    `began[0]` is that time in nanoseconds by `clock_ns`, and 0 while none runs: others may read it. `set_timer` is
    called with the limit in seconds when an item begins and with 0 when it has ended.
    """

    def __init__(
        self,
        limit_seconds: float,
        clock_ns: Callable[[], int],
        began: MutableSequence[int] | None = None,
        set_timer: Callable[[float], object] | None = None,
    ) -> None:
        self.limit_seconds = limit_seconds
        self._limit_ns = max(1, int(limit_seconds * NANOSECONDS))
        self._clock_ns = clock_ns
        self._began: MutableSequence[int] = [0] if began is None else began
        self._set_timer = set_timer
        self._is_struck = False

    def begin(self) -> None:
        """An item runs from now on."""
        self._is_struck = False
        self._began[0] = self._clock_ns()
        if self._set_timer is not None:
            self._set_timer(self.limit_seconds)

    def end(self) -> bool:
        """None runs any more. Whether the one that did was interrupted, or took too long without."""
        began = self._began[0]
        is_late = self._is_struck or (began > 0 and self._clock_ns() - began >= self._limit_ns)
        self._began[0] = 0
        if self._set_timer is not None:
            self._set_timer(0.0)
        return is_late

    def left_seconds(self) -> float | None:
        """How long the running item has, 0 if it is to be interrupted now; None if none runs or it was already."""
        began = self._began[0]
        if began == 0 or self._is_struck:
            return None
        return max(0, self._limit_ns - (self._clock_ns() - began)) / NANOSECONDS

    def strike(self) -> None:
        """Raises Overtime if the running item's time is up: once for each item. Call it in the thread that runs it."""
        if self.left_seconds() == 0:
            self._is_struck = True
            raise Overtime


def limited(loop: Loop, watch: Watch, interrupts: type[BaseException]) -> Loop:
    """The loop with a watch on each item; one that takes too long fails with ItemTimeoutError, however it ends.

    What `interrupts` passes through, as everywhere.
    """

    def one(function: Function, item: Any, index: int, position: MutableSequence[int], found: list[Any]) -> bool:
        watch.begin()
        try:
            stopped = loop(function, (item,), range(index, index + 1), position, found)
        except Overtime:
            raise
        except interrupts:
            watch.end()
            raise
        except BaseException as error:
            if watch.end():
                _fail(watch, error)
            raise
        if watch.end():
            _fail(watch, None)
        return stopped

    def run(
        function: Function, items: Iterable[Any], indices: range, position: MutableSequence[int], values: list[Any]
    ) -> bool:
        for position[0], item in zip(indices, items):  # noqa: B905 - as in the other loops
            found: list[Any] = []
            try:
                stopped = one(function, item, position[0], position, found)
            except Overtime as error:  # wherever in `one` it struck; there is no second one before the next item
                watch.end()
                _fail(watch, error)
            values += found
            if stopped:
                return True
        return False

    return run


def _fail(watch: Watch, error: BaseException | None) -> NoReturn:
    """Raises the failure of the item, with the traceback of what the interrupt has come to."""
    failure = ItemTimeoutError(f"{ItemTimeoutError.TEXT} of {watch.limit_seconds:g} s")
    if error is None:
        raise failure
    if isinstance(error, Overtime):  # it says nothing by itself, but its traceback shows where the item was
        raise failure.with_traceback(_without_handler(error.__traceback__)) from None
    raise failure from error


def _without_handler(trace: TracebackType | None) -> TracebackType | None:
    """A traceback up to the last frame that is not nbdist's: behind it is what was called to interrupt it."""
    last, frame = None, trace
    while frame is not None:
        if not str(frame.tb_frame.f_globals.get("__name__", "")).startswith("nbdist."):
            last = frame
        frame = frame.tb_next
    if last is not None:
        last.tb_next = None
    return trace
