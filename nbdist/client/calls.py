"""`pool.submit`: single calls, as items of one open job for each function.

A call that finds nothing under way is sent by the thread that makes it. While calls are under way, further ones are
gathered, and a thread sends all that has come as one message: the more calls, the fewer messages for each.
"""

from __future__ import annotations

import operator
import threading
import time
import types
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any

from nbdist.client.analysis.modules import needed
from nbdist.client.analysis.names import global_names
from nbdist.client.analysis.values import held_by_main
from nbdist.client.bursts import Burst, Call, Gate, Opener
from nbdist.client.tasks import check_callable, pack, with_files, with_sources
from nbdist.engines.base import PackedTask
from nbdist.errors import NbdistError
from nbdist.execution.shipped import WithKeywords
from nbdist.execution.task import Task

IDLE_SECONDS = 5.0
"""The job of a function that was not called for so long, and has no call under way, is closed."""
MAX_OPEN = 16
"""So many functions have an open job; the one that was called longest ago makes room."""


class Calls:
    """The calls of one pool."""

    def __init__(self, opener: Opener) -> None:
        self._open = opener
        self._gate = Gate(self._wake)
        self._lines: dict[Hashable, Line] = {}
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._sender: threading.Thread | None = None
        self._is_closed = False

    def submit(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        *,
        keeper: object = None,
    ) -> Future[Any]:
        """Calls the function somewhere; never waits. `keeper` is kept alive until the call has ended.

        Raises PackingError if the function cannot be packed.
        """
        line = self._line(function, bool(keywords))
        future: Future[Any] = Future()
        if line.add(Call((arguments, keywords) if keywords else arguments, future, keeper)):
            self._wake()
        return future

    def close(self) -> None:
        """No more calls come: those under way end as they will, those that wait for their turn are cancelled."""
        with self._lock:
            self._is_closed = True
            lines = list(self._lines.values())
            self._lines.clear()
        self._work.set()
        for line in lines:
            line.close()
        self._gate.close()

    def _line(self, function: Callable[..., Any], has_keywords: bool) -> Line:
        # a bound method is another object each time; the others are kept by their line, so that their ids stay theirs
        key: Hashable = (function if isinstance(function, types.MethodType) else id(function), has_keywords)
        line = self._lines.get(key)
        if line is not None:
            return line
        check_callable(function, "the first argument of submit")
        with self._lock:
            if self._is_closed:
                raise NbdistError("this pool is closed: nbdist.connect() opens one")
            line = self._lines.setdefault(key, Line(function, has_keywords, self._open, self._gate))
            dropped = [] if len(self._lines) <= MAX_OPEN else [self._lines.pop(self._oldest())]
        for one in dropped:
            one.close()
        return line

    def _oldest(self) -> Hashable:
        return min(self._lines, key=lambda key: self._lines[key].used_at)

    def _wake(self) -> None:
        if self._sender is None:
            with self._lock:
                if self._sender is None:
                    self._sender = threading.Thread(target=self._send, name="nbdist-calls", daemon=True)
                    self._sender.start()
        self._work.set()

    def _send(self) -> None:
        """The thread that sends what has gathered, and closes what is idle."""
        while True:
            self._work.wait(IDLE_SECONDS)
            self._work.clear()
            if self._is_closed:
                return
            self._gate.admit()
            now = time.monotonic()
            for line in list(self._lines.values()):
                line.flush()
                if now - line.used_at > IDLE_SECONDS:
                    line.rest()


class Line:
    """The calls of one function."""

    def __init__(self, function: Callable[..., Any], has_keywords: bool, opener: Opener, gate: Gate) -> None:
        self.used_at = time.monotonic()
        self._function = function
        self._open = opener
        self._gate = gate
        inner = WithKeywords(function) if has_keywords else function
        self._task = with_files(with_sources(Task(inner, star=True)))
        self._needed = needed(function)
        self._captured = _Captured(function)
        self._snapshot: tuple[Any, ...] | None = None
        self._packed: PackedTask | None = None
        self._burst: Burst | None = None
        self._pending: list[Call] = []
        self._is_closed = False
        self._lock = threading.Lock()
        """Guards `_pending`; held for moments."""
        self._sending = threading.RLock()
        """Held while calls are packed and sent, so that they keep their order. A Future's callback may call again."""

    def add(self, call: Call) -> bool:
        """Takes a call; sends it if nothing is under way, else says that there is something to flush."""
        snapshot = self._captured.snapshot()
        with self._lock:
            begins = not self._pending
        if begins or self._snapshot is None or not _are_same(snapshot, self._snapshot):
            self._renew(snapshot)
        with self._lock:
            self._pending.append(call)
            self.used_at = time.monotonic()
            is_first = len(self._pending) == 1
        burst = self._burst
        if self._is_closed or (is_first and (burst is None or not burst.under_way)):
            self.flush()
            return False
        return is_first

    def flush(self) -> None:
        """Sends what has gathered."""
        with self._sending:
            with self._lock:
                calls, self._pending = self._pending, []
            if calls:
                self._send(calls)
            if self._is_closed:
                self._end()

    def rest(self) -> None:
        """Closes the job if no call is under way; the next call opens another one."""
        with self._sending:
            if self._burst is not None and not self._burst.under_way:
                self._end()

    def close(self) -> None:
        """Its calls are sent to their end, and further ones, which may be on their way here, one by one."""
        self._is_closed = True
        self.flush()

    def _renew(self, snapshot: tuple[Any, ...]) -> None:
        """Packs the function once for a burst of calls; if it is another one by now, the next calls go to a new job."""
        packed = pack(self._task, None, self._needed, held_by_main())
        if self._packed is None or not _same(packed, self._packed):
            self.flush()  # what has gathered belongs to the function as it was
            with self._sending:
                self._packed = packed
                self._end()
        self._snapshot = snapshot

    def _end(self) -> None:
        burst, self._burst = self._burst, None
        if burst is not None:
            burst.close()

    def _send(self, calls: list[Call]) -> None:
        """Adds calls to the open job, or to a new one, which begins when its turn has come."""
        if self._burst is None or self._burst.is_over:
            packed = self._packed
            assert packed is not None
            self._burst = Burst(self._task, lambda: packed, self._open, self._gate, self._sending)
            self._burst.add(calls)
            self._gate.enter(self._burst)
        else:
            self._burst.add(calls)


class _Captured:
    """Tells whether a function's captured names are bound to other values by now."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._names: list[str] = []
        self._globals: dict[str, Any] = {}
        self._cells: tuple[types.CellType, ...] = ()
        if isinstance(function, types.FunctionType):
            self._globals = function.__globals__
            self._names = [name for name in global_names(function.__code__) if name in self._globals]
            self._cells = function.__closure__ or ()

    def snapshot(self) -> tuple[Any, ...]:
        """The values of the names; not their ids, for those of values that are gone are used again."""
        values = list(map(self._globals.get, self._names))
        for cell in self._cells:
            try:
                values.append(cell.cell_contents)
            except ValueError:
                values.append(None)
        return tuple(values)


def _are_same(first: tuple[Any, ...], second: tuple[Any, ...]) -> bool:
    return len(first) == len(second) and all(map(operator.is_, first, second))


def _same(first: PackedTask, second: PackedTask) -> bool:
    if [blob.name for blob in first.blobs] != [blob.name for blob in second.blobs]:
        return False
    return b"".join(first.pieces) == b"".join(second.pieces)
