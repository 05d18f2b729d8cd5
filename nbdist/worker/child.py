"""A slot: the process that runs user code, one slice at a time.

It reads messages from its socket and waits for each. A second thread, the ticker, sends what is due while an item runs
long; it sleeps while there is nothing to run.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from nbdist.execution.limits import Watch
from nbdist.execution.run import Run
from nbdist.execution.runs import ItemsBetween, execute
from nbdist.execution.task import Task
from nbdist.packing import load_task
from nbdist.packing.failures import cut
from nbdist.wire.messages import (
    ForgetJob,
    LoadTask,
    Message,
    Output,
    RunSlice,
    SliceEnded,
    SlotReady,
    TaskRefused,
)
from nbdist.worker import system
from nbdist.worker.claim import SlotClaim
from nbdist.worker.items import BlockItems, from_ranges
from nbdist.worker.link import BlockingLink
from nbdist.worker.localmodules import LocalModules
from nbdist.worker.outbox import Outbox
from nbdist.worker.output import Capture
from nbdist.worker.setup import SlotSetup

TICK_SECONDS = 0.05
"""How often output is sent while items run."""
REFUSAL_CHARACTERS = 2_000
"""Of why a task cannot be loaded, and of what to do: both must fit a header, at up to twelve bytes a character."""
MIN_TICK_SECONDS = 0.001
"""An item whose time is up is interrupted so much too late at most, if its job's time limit is short."""


class Interrupted(KeyboardInterrupt):
    """Raised in an item whose attempt is not wanted any more."""


@dataclass(slots=True)
class _Job:
    message: LoadTask
    task: Task | None
    items: ItemsBetween | None
    """None: items come as blocks, slice by slice."""
    refusal: str = ""
    todo: str = ""


class Slot:
    """Runs what its socket says."""

    def __init__(self, link: BlockingLink, claim: SlotClaim, capture: Capture, spool: str) -> None:
        self._link = link
        self._claim = claim
        self._capture = capture
        self._spool = spool
        self._jobs: dict[str, _Job] = {}
        self._modules = LocalModules()
        self._send_lock = threading.Lock()
        self._outbox: Outbox | None = None
        self._slice: RunSlice | None = None
        self._watch: Watch | None = None
        self._ticker = _Ticker(self._tick)
        self._is_interruptible = False
        self._parent = os.getppid()

    def run(self) -> None:
        """Until the agent closes the socket."""
        signal.signal(signal.SIGINT, self._on_interrupt)
        self._ticker.start()
        self._send(SlotReady(os.getpid()))
        while (received := self._link.receive()) is not None:
            message, payload = received
            if isinstance(message, RunSlice):
                self._run_slice(message, payload)
            elif isinstance(message, LoadTask):
                self._jobs[message.job] = _load(message, payload, self._modules)
            elif isinstance(message, ForgetJob):
                self._jobs.pop(message.job, None)
                self._modules.keep(job.message.bundles for job in self._jobs.values())

    def _run_slice(self, message: RunSlice, payload: memoryview) -> None:
        job = self._jobs.get(message.job)
        if job is None or job.task is None:
            reason = "its task was not sent" if job is None else job.refusal
            self._send(TaskRefused(message.job, message.attempt, reason, "" if job is None else job.todo))
            return
        self._modules.use(job.message.bundles)
        options = job.message.options
        self._outbox = Outbox(
            self._send,
            time.monotonic,
            job=message.job,
            attempt=message.attempt,
            start=message.start,
            spool=self._spool,
            failures_apart=bool(options.retries) or options.on_error == "stop",
            reduce=job.task.reduce,
        )
        self._slice = message
        if options.time_limit:
            self._watch = Watch(options.time_limit, time.monotonic_ns, self._claim.began)
        self._capture.begin_slice(message.job)
        self._ticker.begin(_pause(self._watch))
        items = job.items or BlockItems(payload, {file.name: file.path for file in message.files}).between
        runs = execute(
            job.task,
            options,
            items,
            message.start,
            message.stop,
            self._claim,
            time.perf_counter,
            interrupts=Interrupted,
            watch=self._watch,
        )
        self._finish(message, self._outbox, is_whole=self._drain(runs, self._outbox))

    def _drain(self, runs: Iterator[Run], outbox: Outbox) -> bool:
        """Runs to the end of the slice; False if it was interrupted."""
        try:
            while (run := self._next(runs)) is not None:
                outbox.add(run)
        except Interrupted:
            return False
        return not self._claim.is_cancelled

    def _next(self, runs: Iterator[Run]) -> Run | None:
        """The only place where an interrupt may strike: anywhere else it could cut a message in two."""
        self._is_interruptible = True
        try:
            if self._claim.is_cancelled:
                raise Interrupted
            return next(runs, None)
        finally:
            self._is_interruptible = False

    def _finish(self, message: RunSlice, outbox: Outbox, *, is_whole: bool) -> None:
        self._ticker.end()
        self._send_output(message, is_last=True)
        self._outbox = self._slice = self._watch = None
        if not is_whole:
            outbox.abandon()
            self._send(SliceEnded(message.attempt, "cancelled"))
        elif not outbox.finish():
            self._send(SliceEnded(message.attempt))

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._claim.is_cancelled:
            if self._is_interruptible:
                self._is_interruptible = False  # once: a second would lose what the first one left to be sent
                raise Interrupted
        elif self._watch is not None:
            self._watch.strike()

    def _tick(self) -> float:
        """Does what is due; gives the time to the next tick."""
        if system.is_orphaned(self._parent):
            os._exit(1)
        watch = self._watch
        left = watch.left_seconds() if watch is not None else None
        is_cancelled = not system.SENT_SIGNALS and self._is_interruptible and self._claim.is_cancelled
        if is_cancelled or left == 0:
            system.interrupt_main_thread()
        outbox, message = self._outbox, self._slice
        if outbox is not None and message is not None:
            outbox.send_due()
            self._send_output(message)
        return _pause(watch, left)

    def _send_output(self, message: RunSlice, *, is_last: bool = False) -> None:
        with self._send_lock:
            for text in self._capture.take(is_last=is_last):
                head = Output(message.job, message.attempt, text.item, text.stream, cut_bytes=text.cut_bytes)
                self._link.send(head, text.data)

    def _send(self, message: Message, payload: bytes | bytearray | memoryview = b"") -> None:
        with self._send_lock:
            self._link.send(message, payload)


def _pause(watch: Watch | None, left_seconds: float | None = None) -> float:
    """The time to the next tick, of an item with so much time left; one that begins meanwhile has all of its time."""
    if watch is None:
        return TICK_SECONDS
    return min(TICK_SECONDS, max(MIN_TICK_SECONDS, left_seconds or watch.limit_seconds))


class _Ticker(threading.Thread):
    """Calls back while a slice runs, as often as it is told each time, and not at all while none does."""

    def __init__(self, tick: Callable[[], float]) -> None:
        super().__init__(name="nbdist-ticker", daemon=True)
        self._call = tick
        self._changed = threading.Condition()
        self._is_busy = self._is_asleep = False
        self._first_seconds = TICK_SECONDS

    def begin(self, first_seconds: float) -> None:
        """A slice begins. Wakes the thread only if it sleeps: short slices in a row cost no switch of threads.

        If it does, its first tick comes after so long.
        """
        with self._changed:
            self._is_busy = True
            if self._is_asleep:
                self._first_seconds = first_seconds
                self._changed.notify()

    def end(self) -> None:
        """No slice runs; the thread notices at its next tick."""
        self._is_busy = False

    def run(self) -> None:
        """The thread."""
        pause = TICK_SECONDS
        while True:
            with self._changed:
                while not self._is_busy:
                    self._is_asleep = True
                    self._changed.wait()
                    pause = self._first_seconds
                self._is_asleep = False
            time.sleep(pause)
            pause = self._call()


def _load(message: LoadTask, payload: memoryview, modules: LocalModules) -> _Job:
    """Loads a task. Whatever importing its modules raises is the reason why this slot cannot run it."""
    data: Any = payload
    try:
        modules.use(message.bundles)
        if message.task:
            data = Path(message.task).read_bytes()
        task = load_task(data, {file.name: file.path for file in message.files})
        if message.each:
            task = replace(task, function=_WithoutItem(task.function))
            return _Job(message, task, range)
        return _Job(message, task, from_ranges(message.ranges) if message.ranges else None)
    except ImportError as error:
        name = (error.name or "").partition(".")[0]
        todo = f"{sys.executable} -m pip install {name}" if isinstance(error, ModuleNotFoundError) and name else ""
        return _refused(message, str(error), todo)
    except BaseException as error:  # noqa: BLE001 - unpickling runs user code, which may raise anything
        return _refused(message, f"{type(error).__name__}: {error}")


def _refused(message: LoadTask, why: str, todo: str = "") -> _Job:
    reason = f"the function cannot be loaded: {cut(why, REFUSAL_CHARACTERS)}"
    return _Job(message, None, None, reason, todo if len(todo) <= REFUSAL_CHARACTERS else "")


class _WithoutItem:
    """The function of a job that runs once on each machine or slot, called with an item that it does not take."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, item: Any) -> Any:
        return self._function()


def run_slot(sock: socket.socket, setup: SlotSetup) -> None:
    """The life of a slot's process, from a socket to its agent on."""
    sock.setblocking(True)
    faulthandler.enable(_redirect(setup.output), all_threads=False)
    claim = SlotClaim(Path(setup.claim))
    capture = Capture(claim.position)
    capture.install()
    if setup.cwd not in sys.path and "" not in sys.path:
        sys.path.insert(0, setup.cwd)
    Slot(BlockingLink(sock), claim, capture, setup.spool).run()


def _redirect(output: str) -> int:
    """Standard input becomes empty, standard output and error become files; gives the descriptor of the last."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for number in (1, 2):
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        descriptor = os.open(f"{output}.{number}", flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    return 2
