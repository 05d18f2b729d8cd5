"""`pool.submit`: single calls, as items of one open job for each function.

A call that finds nothing under way is sent by the thread that makes it. While calls are under way, further ones are
gathered, and a thread sends all that has come as one message: the more calls, the fewer messages for each.
"""

from __future__ import annotations

import operator
import threading
import time
import types
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from nbdist.client.analysis.names import global_names
from nbdist.client.failures import from_failure, from_fault
from nbdist.client.feed import Chunker, PackedChunk
from nbdist.client.tasks import check_callable, pack, with_sources
from nbdist.engines.base import Block, Buffer, Deliver, PackedTask, Run
from nbdist.errors import JobCancelledError, JobError, JobRefusedError, NbdistError, PackingError
from nbdist.execution.shipped import WithKeywords
from nbdist.execution.task import Task
from nbdist.packing import unpack_part
from nbdist.wire import blocks
from nbdist.wire.messages import JobFinished, Message, Result

IDLE_SECONDS = 5.0
"""The job of a function that was not called for so long, and has no call under way, is closed."""
MAX_OPEN = 16
"""So many functions have an open job; the one that was called longest ago makes room."""


class Opener(Protocol):
    """Opens a job for calls."""

    def __call__(self, task: Task, packed: Callable[[], PackedTask], deliver: Deliver) -> Run: ...


@dataclass(slots=True)
class Call:
    """One call: its arguments as the item of a job, and where its value goes."""

    item: tuple[Any, ...]
    future: Future[Any]


class Calls:
    """The calls of one pool."""

    def __init__(self, opener: Opener) -> None:
        self._open = opener
        self._lines: dict[Hashable, Line] = {}
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._sender: threading.Thread | None = None
        self._is_closed = False

    def submit(self, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Future[Any]:
        """Calls the function somewhere. Raises PackingError if the function cannot be packed."""
        line = self._line(function, bool(keywords))
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        if line.add(Call((arguments, keywords) if keywords else arguments, future)):
            self._wake()
        return future

    def close(self) -> None:
        """No more calls come; those under way end as they will."""
        with self._lock:
            self._is_closed = True
            lines = list(self._lines.values())
            self._lines.clear()
        self._work.set()
        for line in lines:
            line.close()

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
            line = self._lines.setdefault(key, Line(function, has_keywords, self._open))
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
            now = time.monotonic()
            for line in list(self._lines.values()):
                line.flush()
                if now - line.used_at > IDLE_SECONDS:
                    line.rest()


class Line:
    """The calls of one function."""

    def __init__(self, function: Callable[..., Any], has_keywords: bool, opener: Opener) -> None:
        self.used_at = time.monotonic()
        self._function = function
        self._open = opener
        inner = WithKeywords(function) if has_keywords else function
        self._task = with_sources(Task(inner, star=True))
        self._captured = _Captured(function)
        self._snapshot: tuple[Any, ...] | None = None
        self._packed: PackedTask | None = None
        self._session: Session | None = None
        self._pending: list[Call] = []
        self._chunker = Chunker()
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
        session = self._session
        if self._is_closed or (is_first and (session is None or not session.under_way)):
            self.flush()
            return False
        return is_first

    def flush(self) -> None:
        """Sends what has gathered."""
        with self._sending:
            with self._lock:
                calls, self._pending = self._pending, []
            if calls:
                self._send(self._session_for(calls), calls)
            if self._is_closed:
                self._end()

    def rest(self) -> None:
        """Closes the job if no call is under way; the next call opens another one."""
        with self._sending:
            if self._session is not None and not self._session.under_way:
                self._end()

    def close(self) -> None:
        """Its calls are sent to their end, and further ones, which may be on their way here, one by one."""
        self._is_closed = True
        self.flush()

    def _renew(self, snapshot: tuple[Any, ...]) -> None:
        """Packs the function once for a burst of calls; if it is another one by now, the next calls go to a new job."""
        packed = pack(self._task)
        if self._packed is None or not _same(packed, self._packed):
            self.flush()  # what has gathered belongs to the function as it was
            with self._sending:
                self._packed = packed
                self._end()
        self._snapshot = snapshot

    def _end(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _session_for(self, calls: list[Call]) -> Session | None:
        """The open job; None, and the calls know why, if there can be none."""
        if self._session is None or self._session.is_over:
            packed = self._packed
            assert packed is not None
            try:
                self._session = Session(self._task, packed, self._open)
            except NbdistError as error:
                _fail(calls, error)
                return None
        return self._session

    def _send(self, session: Session | None, calls: list[Call]) -> None:
        if session is None:
            return
        chunks: list[tuple[int, Buffer]] = []
        packed: list[Call] = []
        size = 0
        while calls:
            count = min(self._chunker.items, len(calls))
            batch, calls = calls[:count], calls[count:]
            for some, chunk in self._pack(batch):
                if not chunk.entries:
                    chunks.append((chunk.count, chunk.data))
                    packed += some
                    size += len(chunk.data)
                if packed and (chunk.entries or size >= blocks.BLOCK_BYTES):
                    session.add(packed, Block(len(packed), blocks.join(chunks)))
                    chunks, packed, size = [], [], 0
                if chunk.entries:
                    session.add(some, chunk.as_block())
        if packed:
            session.add(packed, Block(len(packed), blocks.join(chunks)))

    def _pack(self, batch: list[Call]) -> Iterator[tuple[list[Call], PackedChunk]]:
        """The chunks of these calls, without those that cannot be packed: these know why."""
        try:
            made = list(self._chunker.pack([call.item for call in batch], 0))
        except PackingError as error:
            if len(batch) == 1:
                batch[0].future.set_exception(_of_call(error))
                return
            self._chunker.items = 1
            for call in batch:
                yield from self._pack([call])
            return
        at = 0
        for chunk in made:
            yield batch[at : at + chunk.count], chunk
            at += chunk.count


class Session:
    """One open job and the calls that are under way in it."""

    def __init__(self, task: Task, packed: PackedTask, opener: Opener) -> None:
        self.is_over = False
        self._futures: dict[int, Future[Any]] = {}
        self._next = 0
        self._run: Run | None = None
        self._run = opener(task, lambda: packed, self._deliver)

    @property
    def under_way(self) -> int:
        """How many calls have no value yet."""
        return len(self._futures)

    def add(self, calls: list[Call], block: Block) -> None:
        """Sends calls."""
        assert self._run is not None
        for call in calls:
            self._futures[self._next] = call.future
            self._next += 1
        try:
            self._run.add([call.item for call in calls], lambda: block)
        except NbdistError as error:
            for index in range(self._next - len(calls), self._next):
                self._fail(index, error)
            self.is_over = True

    def close(self) -> None:
        """No more calls come."""
        if self._run is not None and not self.is_over:
            self._run.close_items()

    def _deliver(self, message: Message, payload: Buffer) -> None:
        """Takes an event, on the engine's thread: values go straight to those who wait for them."""
        if isinstance(message, Result):
            self._result(message, payload)
            if self._run is not None:
                self._run.consumed(message.seq)
        elif isinstance(message, JobFinished):
            self._finished(message)

    def _result(self, message: Result, payload: Buffer) -> None:
        if message.fault is not None:
            self._fail(message.start, from_fault(message.fault, None).error)
            return
        try:
            runs = unpack_part(payload)
        except Exception as error:  # noqa: BLE001 - unpickling runs user code, which may raise anything
            for index in range(message.start, message.stop):
                self._fail(index, error)
            return
        for run in runs:
            indices = range(run.start, run.stop) if run.kept is None else run.kept
            for index, value in zip(indices, run.values, strict=False):
                future = self._futures.pop(index, None)
                if future is not None:
                    future.set_result(value)
            for failure in run.failures:
                self._fail(failure.index, from_failure(failure, None, message.worker).error)

    def _fail(self, index: int, error: BaseException) -> None:
        future = self._futures.pop(index, None)
        if future is not None:
            future.set_exception(error)

    def _finished(self, message: JobFinished) -> None:
        self.is_over = True
        kinds = {"cancelled": JobCancelledError, "refused": JobRefusedError}
        error = kinds.get(message.outcome, JobError)(f"the call was not made: {message.reason or message.outcome}")
        for index in list(self._futures):
            self._fail(index, error)
        if self._run is not None:
            self._run.forget()


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


def _fail(calls: list[Call], error: Exception) -> None:
    for call in calls:
        call.future.set_exception(error)


def _same(first: PackedTask, second: PackedTask) -> bool:
    if [blob.name for blob in first.blobs] != [blob.name for blob in second.blobs]:
        return False
    return b"".join(first.pieces) == b"".join(second.pieces)


def _of_call(error: PackingError) -> PackingError:
    return PackingError(
        str(error)
        .replace("item 0 has", "item 0 have")
        .replace("item 0", "the arguments of the call")
        .replace("element 0 of ", "argument 0 of ")
    )
