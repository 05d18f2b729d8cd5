"""A job whose values go to a file."""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from nbdist.client.homecoming import Homecoming
from nbdist.client.items import Items
from nbdist.client.job import Job
from nbdist.client.resuming import Resumed, is_older_code
from nbdist.client.state import JobState
from nbdist.client.tofile.opened import ResultFile
from nbdist.client.tofile.part import Part, cannot_write, no_room
from nbdist.client.tofile.state import FileState
from nbdist.client.tofile.target import Target
from nbdist.engines.base import Buffer, Earlier, JobSpec, Run
from nbdist.errors import NbdistError
from nbdist.wire.messages import Message, Notice, Result

INLINE = "inline"
"""The address of an engine that runs items in the thread that waits for them."""
CHECKPOINT_BYTES = 3 * 1024 * 1024
"""So much of results has come since the last checkpoint: the next one is due. Only then is there credit for more: see
`TOLD_BYTES` of the hub's engine."""
RESULT_BYTES = 512
"""What a result counts beside its payload."""
AGAIN_SECONDS = 1.0
"""Between two tries to write to a disk that is full."""

_TROUBLE = (OSError, sqlite3.Error)


class FileJob(Job):
    """A `Job` whose values go to a file as they come, in order; `result()` is a `ResultFile`.

    Where others run its items, a thread of its own writes, whether the job is asked for something or not. The hub is
    told that results were dealt with only when they are on the disk.
    """

    def __init__(
        self,
        spec: JobSpec,
        items: Items,
        target: Target,
        *,
        loop_names: tuple[str, ...] = (),
        home: Homecoming | None = None,
    ) -> None:
        self.target = target
        self._part = Part(target, spec.job)
        try:
            super().__init__(spec, items, None, loop_names=loop_names, home=home)
        except BaseException:
            self._part.close()
            raise
        self._undurable: deque[tuple[Message, Buffer]] = deque()
        """Results that have come since the last checkpoint."""
        self._undurable_bytes = 0
        self._thread: threading.Thread | None = None
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()
        """Holds an entry if something has come for the thread."""
        self._done_news: queue.SimpleQueue[None] = queue.SimpleQueue()
        """Holds an entry if the thread has dealt with something."""
        self._is_full = self._is_over = False
        self._is_closed = False
        """Part and notes are: nothing is written any more."""

    def _new_state(self, spec: JobSpec, items: Items, elapsed: Callable[[], float]) -> JobState:
        return FileState(items, spec.options, self._part, self.loop_names, elapsed, home=self._home)

    @property
    def begins_after(self) -> int:
        """Results up to this number are in the file, or in the notes beside it."""
        return self._state.seq

    def hand_out(self, address: str) -> Job:
        """Writes on a thread of its own from now on, where items run elsewhere."""
        if address != INLINE:
            self._thread = threading.Thread(target=self._write_on, name=f"nbdist-to-{self.id}", daemon=True)
            self.inbox.on_news = self._ring
            self._thread.start()
        return self

    @property
    def kept_in(self) -> str:
        """Where the values of a job are that did not end well."""
        return self.target.part.name

    def begin(self, submit: Callable[[], Run]) -> None:
        """Has an engine take it; if that fails the file stays as it was."""
        try:
            super().begin(submit)
        except BaseException:
            if self.begins_after or self._file_state.rows:
                self._part.close()
            else:
                self._part.discard()
            raise

    # --- values -----------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        self._no_values()

    def as_completed(self) -> Iterator[tuple[int, Any]]:
        """Its values are in the file: raises NbdistError."""
        self._no_values()

    def _no_values(self) -> NoReturn:
        raise NbdistError(
            f"the values of job {self.name!r} go to {self.target.path.name} and not into memory: job.result() is that "
            "file once it is whole (.frame(), .open()); leave out to= to have them here"
        )

    def take_over(self, earlier: Earlier, code: str) -> None:
        """Takes what the job has done that this one resumes, and what jobs before it had. Raises NbdistError."""
        resumed, size = Resumed(earlier.spec.job, 0, is_older_code(code, earlier)), 0
        state = self._file_state
        with self._applying:
            state.resumed = resumed
            try:
                for result, payload in earlier.results(self._state.home):
                    resumed = state.take_over(result, payload, resumed)
                    size += len(payload)
                    if size >= CHECKPOINT_BYTES:
                        size = 0
                        state.checkpoint()
                state.checkpoint()
            except _TROUBLE as error:
                raise cannot_write(self.target, error) from None

    def _final(self, state: JobState) -> Any:
        return ResultFile(self.target.path, self._file_state.rows, self.target.format)

    # --- events -----------------------------------------------------------------------------------------------------

    @property
    def _file_state(self) -> FileState:
        assert isinstance(self._state, FileState)
        return self._state

    def _pump(self) -> JobState:
        if self._thread is None or threading.current_thread() is self._thread:
            state = self._file_state
            if self.inbox.has_news or (state.has_all and not state.is_settled) or self._is_full:
                with self._applying:
                    self._deal()
        return self._state

    def _wait_for_news(self, seconds: float) -> None:
        if self._thread is None:
            super()._wait_for_news(seconds)
            return
        try:
            self._done_news.get(timeout=seconds)
        except queue.Empty:
            return

    def _ring(self) -> None:
        if self._news.empty():
            self._news.put(None)

    def _write_on(self) -> None:
        """On the thread: deals with events until the job is over, or its pool is closed."""
        while not self._is_over:
            self._pump()
            if self._done_news.empty():
                self._done_news.put(None)
            if self._file_state.is_settled:
                self._is_over = True
            elif self._is_full:
                time.sleep(AGAIN_SECONDS)
            else:
                self._wait_for_events()

    def _wait_for_events(self) -> None:
        try:
            self._news.get(timeout=AGAIN_SECONDS)
        except queue.Empty:
            if getattr(self.inbox.keeper, "is_closed", False) and not self.inbox.has_news:
                with self._applying:
                    self._part.close()  # the hub has what is missing
                self._is_over = True

    def _deal(self) -> None:
        """Deals with what has come. Whatever fails on the way leaves the file as the last checkpoint has it, and the
        events since then where they were."""
        state = self._file_state
        try:
            self._apply_all()
            if state.has_all and state.error is None and not self._is_closed:
                self._end(state)
        except _TROUBLE as error:
            self._back()
            if self._thread is None or not no_room(error):
                state.error = state.error or cannot_write(self.target, error)
            self._told_full(error)
        except Exception as error:  # noqa: BLE001 - nobody else on this thread would tell it
            self._back()
            state.error = state.error or cannot_write(self.target, error)
        except BaseException:
            self._back()
            raise
        else:
            self._told_room()
        if state.progress.now.total is not None:
            self.total = state.progress.now.total
        if state.error is not None and not self._is_closed:
            self._give_up(state, state.error)
        if state.has_all and self._is_closed:
            state.is_settled = True
            self.inbox.over()

    def _apply_all(self) -> None:
        state, inbox = self._file_state, self.inbox
        for report in inbox.take_reports():
            state.apply(*report)
        while inbox.events:
            message, payload = inbox.events[0]
            state.apply(message, payload)
            if isinstance(message, Result) and state.error is None:
                self._undurable.append((message, payload))  # before it goes there: an interrupt loses none
                self._undurable_bytes += len(payload) + RESULT_BYTES
            inbox.events.popleft()
            if self._undurable_bytes >= CHECKPOINT_BYTES:
                self._checkpoint()

    def _checkpoint(self) -> None:
        self._file_state.checkpoint()
        self._undurable.clear()
        self._undurable_bytes = 0
        if self.inbox.run is not None:
            self.inbox.run.consumed(self._state.seq)

    def _end(self, state: FileState) -> None:
        """The job is over, and all its results have come."""
        assert state.finish is not None
        if state.finish.outcome == "done":
            if self.target.stats:
                self._stats_of(state).save(self.target.stats_path)
            state.whole()
            self._is_closed = True
            self._undurable.clear()
            if self.inbox.run is not None:
                self.inbox.run.consumed(state.seq)
        else:
            self._checkpoint()
            self._leave(state)

    def _leave(self, state: FileState) -> None:
        """Closes what will not be whole."""
        if state.rows:
            self._part.close()
            text = f"the first {state.rows:,} rows are in {self.target.part}"
            state.progress.noticed(Notice(self.id, "info", text))
        elif self._part.facts.get("seq"):
            self._part.close()
        else:
            self._part.discard()  # nothing has come, or all is at the hub
        self._is_closed = True

    def _back(self) -> None:
        """To the last checkpoint: the results since then come again from here."""
        state = self._file_state
        self.inbox.events.extendleft(reversed(self._undurable))
        self._undurable.clear()
        self._undurable_bytes = 0
        try:
            state.restore()
        except _TROUBLE as error:
            state.error = state.error or cannot_write(self.target, error)

    def _told_full(self, error: BaseException) -> None:
        state = self._file_state
        if state.error is None and not self._is_full:
            self._is_full = True
            text = f"{self.target.path} waits for room on its disk ({error}); nothing is lost, and it goes on then"
            state.progress.noticed(Notice(self.id, "warning", text))

    def _told_room(self) -> None:
        if self._is_full:
            self._is_full = False
            self._state.progress.noticed(Notice(self.id, "info", f"there is room again: {self.target.path} goes on"))

    def _give_up(self, state: FileState, error: BaseException) -> None:
        """A value, or the disk, is to blame: the job ends, and the file stays as the last checkpoint has it."""
        self._undurable.clear()
        self._undurable_bytes = 0
        state.give_up(error)
        self._leave(state)
        if state.finish is None:
            self.cancel(f"its results cannot be used: {type(error).__name__}")
