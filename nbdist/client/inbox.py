"""Where an engine leaves the events of a job until somebody asks the job for something."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from nbdist.client import leftovers
from nbdist.engines.base import Buffer, Run, Sending
from nbdist.wire.messages import JobFinished, JobProgress, Message, Output, Result

MAX_WAITING_OUTPUT_BYTES = 4 * 1024 * 1024
"""So much of what items wrote waits until the job is asked for something; the oldest goes, and is counted."""
OUTPUT_BYTES = 500
"""What a text counts in addition, with its message: many short ones take more memory than their characters."""


class Inbox:
    """Where an engine's thread leaves a job's events; and what is left of a job that nobody holds any more.

    The engine is told to forget a job once it has ended, its results are in or not wanted, and its pool has released
    it: until then what was sent along with it (captured arrays) is kept for the next job.
    """

    def __init__(self) -> None:
        self.events: deque[tuple[Message, Buffer]] = deque()
        self._progress: JobProgress | None = None
        self._sending: Sending | None = None
        self._outputs: deque[tuple[Output, Buffer]] = deque()
        self._output_bytes = 0
        self._lost: dict[str, Output] = {}
        """By stream, of what had no room: its last message, which counts all its bytes."""
        self._reports = threading.Lock()
        """Guards the five above; held for moments."""
        self._draining = threading.Lock()
        self.run: Run | None = None
        self.keeper: object = None
        """What must live until the job has ended and its results are in: its pool."""
        self.on_news: Callable[[], None] = lambda: None
        """Is called on the engine's thread once something has come; it must return at once."""
        self.input_error: BaseException | None = None
        self._is_abandoned = self._is_over = self._is_released = self._is_forgotten = False

    def deliver(self, message: Message, payload: Buffer) -> None:
        """Takes an event, on the engine's thread."""
        if isinstance(message, JobProgress):
            with self._reports:
                self._progress = message  # it says all that the one before said
        elif isinstance(message, Sending):
            with self._reports:
                self._sending = message  # and so does this
        elif isinstance(message, Output):
            self._keep_output(message, payload)
        else:
            self.events.append((message, payload))
        self.on_news()
        if self._is_abandoned:
            self.drain()

    @property
    def has_news(self) -> bool:
        """Whether anything waits."""
        return bool(self.events or self._outputs or self._progress is not None or self._sending is not None)

    def take_reports(self) -> list[tuple[Message, Buffer]]:
        """What has come beside `events`: the newest progress, and the newest texts that items wrote."""
        with self._reports:
            reports = (self._progress, self._sending)
            found: list[tuple[Message, Buffer]] = [(message, b"") for message in reports if message is not None]
            found += [(message, b"") for message in self._lost.values()]
            found += self._outputs
            self._progress = self._sending = None
            self._output_bytes = 0
            self._outputs.clear()
            self._lost.clear()
        return found

    def fail_input(self, error: BaseException) -> None:
        """The iterable has raised, or an item cannot be packed: that is how the job ends. On any thread."""
        self.input_error = error

    def abandon(self) -> None:
        """The job is no longer held: it runs to its end, and its results go. Called by the garbage collector, at any
        moment and on any thread, so it only leaves a note."""
        self._is_abandoned = True
        _abandoned.append(self)
        leftovers.later(sweep)

    def release(self) -> None:
        """The pool has no use for the job any more."""
        self._is_released = True
        self._settle()

    def over(self) -> None:
        """The job has ended and its results are in."""
        self._is_over, self.keeper = True, None
        self._settle()

    def drain(self) -> None:
        """Drops the events of an abandoned job."""
        self.take_reports()
        with self._draining:
            while self.events and self.run is not None:
                message, _ = self.events.popleft()
                if isinstance(message, Result):
                    self.run.consumed(message.seq)
                elif isinstance(message, JobFinished):
                    self.over()

    def _keep_output(self, message: Output, payload: Buffer) -> None:
        with self._reports:
            self._outputs.append((message, payload))
            self._output_bytes += len(payload) + OUTPUT_BYTES
            while self._output_bytes > MAX_WAITING_OUTPUT_BYTES and len(self._outputs) > 1:
                oldest, text = self._outputs.popleft()
                self._output_bytes -= len(text) + OUTPUT_BYTES
                before = self._lost.get(oldest.stream)
                cut_bytes = oldest.cut_bytes + len(text) + (before.cut_bytes if before is not None else 0)
                self._lost[oldest.stream] = replace(oldest, cut_bytes=cut_bytes)

    def _settle(self) -> None:
        if self._is_over and self._is_released and not self._is_forgotten and self.run is not None:
            self._is_forgotten = True
            self.run.forget()


_abandoned: deque[Inbox] = deque()


def sweep() -> None:
    """Drops the results of jobs that nobody holds any more."""
    with contextlib.suppress(IndexError):
        while True:
            _abandoned.popleft().drain()
