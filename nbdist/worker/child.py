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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from nbdist.errors import PackingError
from nbdist.execution.lending import lent
from nbdist.execution.limits import Watch
from nbdist.execution.run import Run
from nbdist.execution.runs import ItemsBetween, execute
from nbdist.execution.setups import Made, give
from nbdist.execution.task import Setup, Task
from nbdist.filing import inputs, written
from nbdist.packing import innermost, load_task, setup_reason
from nbdist.packing.failures import cut
from nbdist.wire.messages import (
    ForgetJob,
    JobOptions,
    LoadTask,
    Message,
    Output,
    RunSlice,
    SetupBegun,
    SliceBegun,
    SliceEnded,
    SlotReady,
    TaskRefused,
)
from nbdist.worker import system
from nbdist.worker.claim import SlotClaim
from nbdist.worker.fileparts import FileParts
from nbdist.worker.items import BlockItems, from_ranges
from nbdist.worker.link import BlockingLink
from nbdist.worker.localmodules import LocalModules
from nbdist.worker.mainnames import MainNames
from nbdist.worker.outbox import Outbox
from nbdist.worker.output import Capture
from nbdist.worker.setup import SlotSetup
from nbdist.worker.workplace import Workplace

TICK_SECONDS = 0.05
"""How often output is sent while items run."""
REFUSAL_CHARACTERS = 2_000
"""Of why a task cannot be loaded, and of what to do: both must fit a header, at up to twelve bytes a character."""
MIN_TICK_SECONDS = 0.001
"""An item whose time is up is interrupted so much too late at most, if its job's time limit is short."""


_MACHINES_OWN = (AttributeError, OSError, MemoryError, PackingError)
"""What is raised because of what a machine has, or has not: the next one may load it."""


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
    is_own_fault: bool = False
    """It is refused because its own code fails when it is loaded."""
    function: Any = None
    """The task's, as it was loaded."""
    is_set_up: bool = False
    """Its setups have run here, and its function sees their names."""


class Slot:
    """Runs what its socket says."""

    def __init__(self, link: BlockingLink, claim: SlotClaim, capture: Capture, spool: str, work: str = "") -> None:
        self._link = link
        self._claim = claim
        self._capture = capture
        self._spool = spool
        self._workplace = Workplace(Path(work or os.path.join(spool, f"work-{os.getpid()}")))
        self._jobs: dict[str, _Job] = {}
        self._modules = LocalModules()
        self._main = MainNames()
        self._made = Made()
        self._setup = ""
        """The setup that runs."""
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
                self._jobs[message.job] = _load(message, payload, self._modules, self._workplace)
            elif isinstance(message, ForgetJob):
                self._jobs.pop(message.job, None)
                self._workplace.leave(message.job)
                self._modules.keep(job.message.bundles for job in self._jobs.values())

    def _run_slice(self, message: RunSlice, payload: memoryview) -> None:
        job = self._jobs.get(message.job)
        if job is None or job.task is None:
            job = job or _Job(LoadTask(message.job, JobOptions()), None, None, "its task was not sent")
            self._send(TaskRefused(message.job, message.attempt, job.refusal, job.todo, setup=job.is_own_fault))
            return
        self._modules.use(job.message.bundles)
        try:
            self._workplace.enter(message.job, job.task.home)
        except OSError as error:
            self._send(TaskRefused(message.job, message.attempt, f"there is no folder for its items: {error}"))
            return
        inputs.give(job.task.given)
        self._main.use(job.function)
        self._begin_output(message)
        with lent(os.environ, job.task.env):
            if job.is_set_up or self._set_up(job, job.task, message):
                self._run_items(job, job.task, message, payload)

    def _run_items(self, job: _Job, task: Task, message: RunSlice, payload: memoryview) -> None:
        options = job.message.options
        files = FileParts(self._workplace, message.job, self._claim.position, are_wanted=options.files)
        self._outbox = Outbox(
            self._send,
            time.monotonic,
            job=message.job,
            attempt=message.attempt,
            start=message.start,
            spool=self._spool,
            failures_apart=bool(options.retries) or options.on_error == "stop",
            reduce=task.reduce,
            portable=job.message.portable,
            files=files,
        )
        if options.time_limit:
            self._watch = Watch(options.time_limit, time.monotonic_ns, self._claim.began)
        self._ticker.begin(_pause(self._watch))
        paths = {file.name: file.path for file in message.files}
        items = job.items or BlockItems(payload, paths, self._workplace.slice_inputs()).between
        runs = execute(
            files.watched(task),
            options,
            items,
            message.start,
            message.stop,
            self._claim,
            time.perf_counter,
            interrupts=Interrupted,
            watch=self._watch,
        )
        with files.given():
            is_whole = self._drain(runs, self._outbox)
        self._finish(message, self._outbox, is_whole=is_whole)
        self._workplace.end_slice()

    # --- setups -----------------------------------------------------------------------------------------------------

    def _set_up(self, job: _Job, task: Task, message: RunSlice) -> bool:
        """Runs those of the job's setups that have not run here; False if the slice is over with that."""
        is_new = self._made.lacks(task.setups)
        if is_new:
            self._ticker.begin(TICK_SECONDS)
        try:
            give(job.function, self._made.run(task.setups, partial(self._call_setup, job)))
        except Interrupted:
            self._leave_setup(SliceEnded(message.attempt, "cancelled"))
            return False
        except BaseException as error:  # noqa: BLE001 - user code: whatever it raises is why the job cannot run here
            reason = setup_reason(self._setup, _file_of(task, self._setup), error)
            self._leave_setup(TaskRefused(message.job, message.attempt, reason, setup=True))
            return False
        job.is_set_up = True
        if is_new:
            self._send(SliceBegun(message.attempt))
            self._begin_output(message)
        return True

    def _call_setup(self, job: _Job, setup: Setup, names: Mapping[str, Any]) -> None:
        message = self._slice
        assert message is not None
        give(job.function, names)  # the methods of classes look there
        self._setup = setup.name
        self._send(SetupBegun(message.attempt, setup.name))
        try:
            self._is_interruptible = True
            if self._claim.is_cancelled:
                raise Interrupted
            setup.function()
        finally:
            self._is_interruptible = False
        if self._claim.is_cancelled:
            raise Interrupted  # it may have kept an interrupt to itself, and be half done
        self._send_output(message, is_last=True)
        self._setup = ""

    def _leave_setup(self, last: Message) -> None:
        assert self._slice is not None
        self._ticker.end()
        self._end_output(self._slice)
        self._setup = ""
        self._send(last)

    # --- items ------------------------------------------------------------------------------------------------------

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
        self._end_output(message)
        self._outbox = self._watch = None
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
        if outbox is not None:
            outbox.send_due()
        if message is not None:
            self._send_output(message)
        return _pause(watch, left)

    def _begin_output(self, message: RunSlice) -> None:
        with self._send_lock:
            self._slice = message
            self._capture.begin_slice(message.job)

    def _end_output(self, message: RunSlice) -> None:
        with self._send_lock:
            self._write_output(message, is_last=True)
            self._slice = None

    def _send_output(self, message: RunSlice, *, is_last: bool = False) -> None:
        with self._send_lock:
            if self._slice is message:  # a tick may be late: what there is then is the next slice's
                self._write_output(message, is_last=is_last)

    def _write_output(self, message: RunSlice, *, is_last: bool) -> None:
        for text in self._capture.take(is_last=is_last):
            head = Output(
                message.job, message.attempt, text.item, text.stream, cut_bytes=text.cut_bytes, setup=self._setup
            )
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


def _load(message: LoadTask, payload: memoryview, modules: LocalModules, workplace: Workplace) -> _Job:
    """Loads a task. Whatever importing its modules raises is the reason why this slot cannot run it."""
    data: Any = payload
    try:
        modules.use(message.bundles)
        if message.task:
            data = Path(message.task).read_bytes()
        paths = {file.name: file.path for file in message.files}
        with inputs.placed(paths, workplace.inputs(message.job)):
            task = load_task(data, paths)
        function = task.function
        if message.each:
            task = replace(task, function=_WithoutItem(function))
            return _Job(message, task, range, function=function)
        return _Job(message, task, from_ranges(message.ranges) if message.ranges else None, function=function)
    except ImportError as error:
        name = (error.name or "").partition(".")[0]
        todo = f"{sys.executable} -m pip install {name}" if isinstance(error, ModuleNotFoundError) and name else ""
        return _refused(message, str(error), todo)
    except BaseException as error:  # noqa: BLE001 - unpickling runs user code, which may raise anything
        where = innermost(error)
        text = f"{type(error).__name__}: {error}{where and f' (in {where})'}"
        return replace(_refused(message, text), is_own_fault=not isinstance(error, _MACHINES_OWN))


def _refused(message: LoadTask, why: str, todo: str = "") -> _Job:
    reason = f"the function cannot be loaded: {cut(why, REFUSAL_CHARACTERS)}"
    return _Job(message, None, None, reason, todo if len(todo) <= REFUSAL_CHARACTERS else "")


def _file_of(task: Task, setup: str) -> str:
    """The file of a setup's code."""
    files = (each.function.__code__.co_filename for each in task.setups if each.name == setup)
    return next(files, "")


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
    written.settle()
    if setup.cwd not in sys.path and "" not in sys.path:
        sys.path.insert(0, setup.cwd)
    Slot(BlockingLink(sock), claim, capture, setup.spool, setup.work).run()


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
