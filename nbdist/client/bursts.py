"""Calls of one function on their way: a burst of them is an open job, and only so many jobs are at the pool at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from nbdist.client.failures import from_failure, from_fault
from nbdist.client.feed import Chunker, PackedChunk
from nbdist.client.tasks import name_of_function
from nbdist.engines.base import Block, Buffer, Deliver, PackedTask, Run
from nbdist.errors import JobCancelledError, JobError, JobRefusedError, NbdistError, PackingError
from nbdist.execution.task import Task
from nbdist.packing import unpack_part
from nbdist.wire import blocks
from nbdist.wire.messages import JobFinished, Message, Result

MAX_UNFINISHED = 200
"""So many jobs of one pool's calls may be unfinished at once; a hub takes 1,000 of all its notebooks."""


class Opener(Protocol):
    """Opens a job for calls."""

    def __call__(self, task: Task, packed: Callable[[], PackedTask], deliver: Deliver) -> Run: ...


@dataclass(slots=True)
class Call:
    """One call: its arguments as the item of a job, and where its value goes. It can be cancelled until it is sent."""

    item: tuple[Any, ...]
    future: Future[Any]
    keeper: object = None
    """Kept alive as long as the call is under way."""


class Gate:
    """Lets bursts become jobs, in the order in which they came, at most `MAX_UNFINISHED` at once.

    `wake` is called, on any thread, when one that waits could begin: `admit` is then to be called.
    """

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._waiting: deque[Burst] = deque()
        self._unfinished = 0
        self._is_closed = False

    def enter(self, burst: Burst) -> None:
        """Begins the burst now if there is room, else when its turn has come."""
        with self._lock:
            is_closed = self._is_closed
            has_room = self._unfinished < MAX_UNFINISHED and not self._waiting
            if not is_closed and has_room:
                self._unfinished += 1
            elif not is_closed:
                self._waiting.append(burst)
        if is_closed:
            burst.abandon()
        elif has_room:
            burst.begin()

    def leave(self) -> None:
        """A job has ended."""
        with self._lock:
            self._unfinished -= 1
            is_awaited = bool(self._waiting)
        if is_awaited:
            self._wake()

    def admit(self) -> None:
        """Begins those whose turn has come."""
        while True:
            with self._lock:
                if not self._waiting or self._unfinished >= MAX_UNFINISHED:
                    return
                burst = self._waiting.popleft()
                self._unfinished += 1
            burst.begin()

    def close(self) -> None:
        """Nothing begins any more: cancels what waits."""
        with self._lock:
            self._is_closed = True
            waiting, self._waiting = self._waiting, deque()
        for burst in waiting:
            burst.abandon()


class Burst:
    """One open job, and the calls that wait for it to begin or are under way in it.

    `lock` is held while calls are packed and sent, so that they keep their order; it is the caller's too.
    """

    def __init__(
        self, task: Task, packed: Callable[[], PackedTask], opener: Opener, gate: Gate, lock: threading.RLock
    ) -> None:
        self.is_over = False
        """It takes no more calls."""
        self._task = task
        self._what = f"a call of {name_of_function(getattr(task.function, 'function', task.function))}"
        self._packed = packed
        self._open = opener
        self._gate = gate
        self._lock = lock
        self._chunker = Chunker()
        self._waiting: list[Call] = []
        self._futures: dict[int, tuple[Future[Any], object]] = {}
        """Of each call that is under way: its future, and its keeper."""
        self._next = 0
        self._run: Run | None = None
        self._has_begun = self._is_closed = self._has_left = False

    @property
    def under_way(self) -> int:
        """How many calls have no value yet."""
        return len(self._futures) + len(self._waiting)

    def add(self, calls: list[Call]) -> None:
        """Sends calls, now or when the job begins."""
        with self._lock:
            if self._run is None:
                self._waiting += calls
            else:
                self._send(calls)

    def close(self) -> None:
        """No more calls come."""
        with self._lock:
            self._is_closed = True
            if self._run is not None and not self.is_over:
                self._run.close_items()

    def begin(self) -> None:
        """Its turn has come: becomes a job, unless all its calls were cancelled and no more come."""
        with self._lock:
            self._waiting = _alive(self._waiting)
            if self._is_closed and not self._waiting:
                self._leave()
                return
            try:
                self._run = self._open(self._task, self._packed, self._deliver)
            except NbdistError as error:
                _refuse(self._take_waiting(), _of_call(error))
                self._leave()
                return
            self._send(self._take_waiting())
            if self._is_closed and not self.is_over:
                self._run.close_items()

    def abandon(self) -> None:
        """It will never begin: its calls are cancelled."""
        with self._lock:
            self.is_over = True
            for call in self._take_waiting():
                call.future.cancel()
                call.future.set_running_or_notify_cancel()

    def _take_waiting(self) -> list[Call]:
        calls, self._waiting = self._waiting, []
        return calls

    # --- sending ----------------------------------------------------------------------------------------------------

    def _send(self, calls: list[Call]) -> None:
        calls = _alive(calls)
        chunks: list[tuple[int, Buffer]] = []
        packed: list[Call] = []
        size = 0
        native = ""
        while calls:
            count = min(self._chunker.items, len(calls))
            batch, calls = calls[:count], calls[count:]
            for some, chunk in self._pack(batch):
                if not chunk.entries:
                    chunks.append((chunk.count, chunk.data))
                    packed += some
                    size += len(chunk.data)
                    native = native or chunk.native
                if packed and (chunk.entries or size >= blocks.BLOCK_BYTES):
                    self._add(packed, Block(len(packed), blocks.join(chunks), native=native))
                    chunks, packed, size, native = [], [], 0, ""
                if chunk.entries:
                    self._add(some, chunk.as_block())
        if packed:
            self._add(packed, Block(len(packed), blocks.join(chunks), native=native))

    def _add(self, calls: list[Call], block: Block) -> None:
        assert self._run is not None
        first = self._next
        self._next += len(calls)
        for index, call in enumerate(calls, first):
            if call.future.set_running_or_notify_cancel():  # one that was cancelled meanwhile runs, for nobody
                self._futures[index] = (call.future, call.keeper)
        try:
            self._run.add([call.item for call in calls], lambda: block)
        except NbdistError as error:
            self.is_over = True
            for index in range(first, self._next):
                self._fail(index, error)

    def _pack(self, batch: list[Call]) -> Iterator[tuple[list[Call], PackedChunk]]:
        """The chunks of these calls, without those that cannot be packed: these know why."""
        try:
            made = list(self._chunker.pack([call.item for call in batch], 0))
        except PackingError as error:
            if len(batch) == 1:
                _refuse(batch, _of_call(error))
                return
            self._chunker.items = 1
            for call in batch:
                yield from self._pack([call])
            return
        at = 0
        for chunk in made:
            yield batch[at : at + chunk.count], chunk
            at += chunk.count

    # --- what comes back --------------------------------------------------------------------------------------------

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
            self._fail(message.start, from_fault(message.fault, None, self._what).error)
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
                future = self._pop(index)
                if future is not None:
                    future.set_result(value)
            for failure in run.failures:
                self._fail(failure.index, from_failure(failure, None, message.worker, self._what).error)

    def _pop(self, index: int) -> Future[Any] | None:
        found = self._futures.pop(index, None)
        return None if found is None else found[0]

    def _fail(self, index: int, error: BaseException) -> None:
        future = self._pop(index)
        if future is not None:
            future.set_exception(error)

    def _finished(self, message: JobFinished) -> None:
        self._leave()
        kinds = {"cancelled": JobCancelledError, "refused": JobRefusedError}
        error = kinds.get(message.outcome, JobError)(f"the call was not made: {message.reason or message.outcome}")
        for index in list(self._futures):
            self._fail(index, error)
        if self._run is not None:
            self._run.forget()

    def _leave(self) -> None:
        self.is_over = True
        if not self._has_left:
            self._has_left = True
            self._gate.leave()


def _alive(calls: Iterable[Call]) -> list[Call]:
    """Those that nobody has cancelled; whoever waits for the others is told."""
    alive = []
    for call in calls:
        if call.future.cancelled():
            call.future.set_running_or_notify_cancel()
        else:
            alive.append(call)
    return alive


def _refuse(calls: list[Call], error: Exception) -> None:
    """Fails calls that were not sent."""
    for call in calls:
        if call.future.set_running_or_notify_cancel():
            call.future.set_exception(error)


def _of_call(error: NbdistError) -> NbdistError:
    if not isinstance(error, PackingError):
        return error
    return PackingError(
        str(error)
        .replace("item 0 has", "item 0 have")
        .replace("item 0", "the arguments of the call")
        .replace("element 0 of ", "argument 0 of ")
    )
