"""A distributed run, as the user holds it."""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nbdist.client.failures import ItemFailure
from nbdist.client.homecoming import Homecoming
from nbdist.client.inbox import Inbox
from nbdist.client.items import Items
from nbdist.client.options import Reduction
from nbdist.client.progress import Progress
from nbdist.client.resuming import Resumed, is_older_code
from nbdist.client.state import JobState, OutputText, StoppedBy
from nbdist.client.stats import Stats
from nbdist.client.values import Values
from nbdist.engines.base import Earlier, JobSpec, Run
from nbdist.errors import JobCancelledError, JobError, JobRefusedError, NbdistError
from nbdist.wire.messages import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WAIT_SLICE_SECONDS = 0.25
"""A wait is cut into these, so that an interrupt gets through on every operating system."""
INTERRUPT_SECONDS = 3.0
"""After an interrupt the pool has so long to confirm that nothing of the job runs any more."""


class Job:
    """One distributed run. Iterate over it for values in order, as they come, or ask for `result()`.

    Its events are dealt with by the thread that asks it for something; until then they wait, within the bounds that the
    engine has for results.
    """

    def __init__(
        self,
        spec: JobSpec,
        items: Items,
        reduction: Reduction | None,
        *,
        loop_names: tuple[str, ...] = (),
        home: Homecoming | None = None,
    ) -> None:
        self.id = spec.job
        self.name = spec.name
        self.total = items.total
        """How many items there are; None while it is not known."""
        self.seed = spec.options.seed
        """What `nbdist.rng()` was seeded from: the same seed gives the same values."""
        self.options = spec.options
        self.loop_names = loop_names
        self.task = spec.task
        """The function and what goes with it, as it is run."""
        self.is_each = bool(spec.each)
        """It ran once on each machine or slot, without an item."""
        self._resumes = spec.resumes
        self._items = items
        self._reduction = reduction
        self._values = Values()
        self._values.job = self
        self._began = time.monotonic()
        self._home = home
        self._state = self._new_state(spec, items, lambda began=self._began: time.monotonic() - began)  # type: ignore[misc]
        self._applying = threading.Lock()
        self._output_taken = 0
        self._is_given_up = False
        self._warned: set[str] = set()
        self.inbox = Inbox()
        weakref.finalize(self, self.inbox.abandon).atexit = False

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.name!r}: {self.progress}>"

    # --- how far it is ----------------------------------------------------------------------------------------------

    @property
    def outcome(self) -> Outcome | None:
        """How it ended: done, stopped, failed, cancelled or refused; None until all its results are in."""
        state = self._pump()
        return state.finish.outcome if state.is_complete and state.finish is not None else None

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return self._pump().progress.now

    @property
    def values(self) -> Values:
        """The values in order, so far: up to the first missing item. With `reduce`: the fold so far, in a list."""
        fold = self._pump().fold
        return self._values if fold is None else Values(fold.value)

    @property
    def failures(self) -> list[ItemFailure]:
        """The items that failed, so far, in the order in which they came."""
        return self._pump().failures

    @property
    def files(self) -> dict[int, list[Path]]:
        """Item -> the files that it has written to `nbdist.files()` and that are here, of a job with `files=DIR`."""
        home = self._pump().home
        return {} if home is None else home.paths

    @property
    def resumed(self) -> Resumed | None:
        """Of a job that resumes another: the id of that, how many items were done there, and whether the code was
        another one then."""
        return self._state.resumed

    @property
    def stopped_by(self) -> StoppedBy | None:
        """The item whose value met `stop_when`, as (index, item, value); None: none has."""
        return self._pump().stopped_by

    @property
    def segments(self) -> list[Any]:
        """Which machine ran which items, and how long that took: see `client.assembly.Segment`. With `reduce` ranges
        that follow on each other are one, without a machine if several had a part in it."""
        return self._pump().segments

    @property
    def places(self) -> dict[int, tuple[str, int]]:
        """Of a job for each machine or slot: the (machine, slot) that ran each item."""
        return self._pump().places or {}

    @property
    def stats(self) -> Stats:
        """Figures and timings, so far: see `client.stats.Stats`. `job.stats.save(path)` writes them as JSON."""
        return self._stats_of(self._pump())

    def _stats_of(self, state: JobState) -> Stats:
        run = self.inbox.run
        return Stats.of(
            job=self.id,
            name=self.name,
            progress=state.progress.now,
            overall_seconds=time.monotonic() - self._began,
            activity=state.activity,
            tallies=state.machines,
            sending_seconds=0.0 if run is None else run.sending_seconds,
        )

    @property
    def output(self) -> list[OutputText]:
        """What its items wrote, so far (the last few megabytes)."""
        return list(self._pump().output)

    def take_output(self) -> list[OutputText]:
        """What its items wrote since the last call."""
        state = self._pump()
        come = state.output_dropped + len(state.output)
        new = list(itertools.islice(reversed(state.output), come - self._output_taken))  # a deque is slow in its middle
        self._output_taken = come
        return new[::-1]

    def item(self, index: int) -> Any:
        """Item `index`. Raises NbdistError if it is no longer known: items of a generator are not kept."""
        try:
            return self._items.at(index)
        except LookupError:
            raise NbdistError(
                f"item {index} of job {self.name!r} is no longer known: items of a generator are not kept, those of a "
                "list are"
            ) from None

    # --- its end ----------------------------------------------------------------------------------------------------

    def timeline(self, color: Literal["outcome", "job"] = "outcome") -> Figure:
        """A chart of which slot worked on the job when: idle time, stragglers, losses and work done twice are seen.

        A matplotlib figure: a line for each slot, in seconds since the job was submitted. Bars are coloured by how
        their slices ended, or with "job" by job; then other jobs that ran at the same time are there too. Bars whose
        slices are copies have an edge. Raises NbdistError if the pool knows nothing of the job any more, or if
        matplotlib is missing.
        """
        if color not in ("outcome", "job"):
            raise NbdistError(f"a timeline is coloured by 'outcome' or by 'job', not by {color!r}")
        if self.inbox.run is None:
            raise NbdistError(f"job {self.name!r} was never submitted")
        from nbdist.figures.timeline import draw

        return draw(self.inbox.run.timelines(around=color == "job"), color)

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the job has ended and all its results are in; gives False after `timeout` seconds."""
        return self._wait_until(lambda state: state.is_complete, timeout)

    def result(self, timeout: float | None = None) -> Any:
        """The values as `Values`, in order; with `reduce` the folded value.

        Raises the exception of a failed item, JobCancelledError, JobRefusedError, and TimeoutError after `timeout`
        seconds. An interrupt stops the job on all machines.
        """
        try:
            if not self._wait_until(self._aloud(lambda state: state.is_complete), timeout):
                raise TimeoutError(f"job {self.name!r} is not done after {timeout} s: {self._standing()}")
        except KeyboardInterrupt:
            self._interrupted()
            raise
        return self._result()

    def cancel(self, reason: str = "cancelled") -> None:
        """Stops the job on all machines; what is finished stays in `values`. Does not wait."""
        if self.inbox.run is not None and self._state.finish is None:
            self.inbox.run.cancel(reason)

    def __iter__(self) -> Iterator[Any]:
        """Values in order, as they come; with `reduce` or `stop_when` the one result, when it is there."""
        if self._reduction is not None:
            yield self.result()
            return
        if self.options.stop_when:
            yield from self.result()
            return
        given = 0
        while True:
            self._wait_for_more(lambda state, given=given: self._ready_in_order(state) > given)  # type: ignore[misc]
            state = self._pump()
            ready = self._ready_in_order(state)
            while given < ready:
                yield self._values[given]
                given += 1
            if state.is_complete:
                self._result()
                return

    def _ready_in_order(self, state: JobState) -> int:
        """How many values may be given in order: none behind an item that is missing, or whose failure is raised."""
        assert state.list is not None
        if state.failures and self.options.on_error == "stop":
            return state.list.count_before(min(failure.index for failure in state.failures))
        return state.list.count_before(math.inf) if state.is_complete else len(self._values)

    def as_completed(self) -> Iterator[tuple[int, Any]]:
        """Pairs of index and value, in the order in which they come."""
        results = self._state.list
        if results is None:
            raise NbdistError("a job with reduce has one value, which is there at the end: result()")
        given = 0
        while True:
            self._wait_for_more(lambda state, given=given: len(results.arrivals) > given)  # type: ignore[misc]
            while given < len(results.arrivals):
                yield from results.arrived(given)
                given += 1
            if self._pump().is_complete and given == len(results.arrivals):
                self._result()
                return

    def __await__(self) -> Generator[Any, None, Any]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> Any:
        try:
            while not await asyncio.to_thread(self.wait, WAIT_SLICE_SECONDS):
                pass
        except asyncio.CancelledError:
            self.cancel("interrupted")
            raise
        return self._result()

    def take_over(self, earlier: Earlier, code: str) -> None:
        """Takes what the job has done that this one resumes, and what jobs before it had. Raises NbdistError."""
        resumed = Resumed(earlier.spec.job, 0, is_older_code(code, earlier))
        with self._applying:
            self._state.resumed = resumed
            for result, payload in earlier.results(self._state.home):
                resumed = self._state.take_over(result, payload, resumed)

    @property
    def kept_in(self) -> str:
        """Where the values of a job are that did not end well."""
        return "job.values"

    @property
    def begins_after(self) -> int:
        """The number of the last result that need not come again."""
        return 0

    def begin(self, submit: Callable[[], Run]) -> None:
        """Has an engine take it. Raises what that raises."""
        self.inbox.run = submit()

    def hand_out(self, address: str) -> Job:
        """The job, which is whole now; `address`: of its pool."""
        return self

    # --- inside -----------------------------------------------------------------------------------------------------

    def _new_state(self, spec: JobSpec, items: Items, elapsed_seconds: Callable[[], float]) -> JobState:
        return JobState(
            items,
            spec.options,
            self._reduction,
            self._values,
            elapsed_seconds,
            keeps_places=self.is_each,
            home=self._home,
        )

    def _pump(self) -> JobState:
        """Applies the events that are here. An event goes only when it is done, so that an interrupt loses none."""
        state, inbox = self._state, self.inbox
        if not inbox.has_news:
            return state
        with self._applying:
            before = state.seq
            for report in inbox.take_reports():
                state.apply(*report)
            while inbox.events:
                state.apply(*inbox.events[0])
                inbox.events.popleft()
            if (state.seq > before or state.is_complete) and inbox.run is not None:
                inbox.run.consumed(state.seq)
            if state.progress.now.total is not None:
                self.total = state.progress.now.total
            if state.is_complete:
                inbox.over()
            elif state.error is not None and state.finish is None and not self._is_given_up:
                self._is_given_up = True
                self.cancel(f"its results cannot be used: {type(state.error).__name__}")
        return state

    def _wait_until(self, condition: Callable[[JobState], bool], timeout: float | None) -> bool:
        deadline = None if timeout is None else time.monotonic() + timeout
        while not condition(self._pump()):
            left = WAIT_SLICE_SECONDS if deadline is None else min(WAIT_SLICE_SECONDS, deadline - time.monotonic())
            if left <= 0:
                return False
            if self.inbox.run is None:
                raise NbdistError(f"job {self.name!r} was never submitted")
            self._wait_for_news(left)
        return True

    def _wait_for_news(self, seconds: float) -> None:
        assert self.inbox.run is not None
        self.inbox.run.wait(seconds)

    def _aloud(self, condition: Callable[[JobState], bool]) -> Callable[[JobState], bool]:
        """The condition; while it does not hold, what the pool warns of becomes a Python warning: a script that waits
        for machines says so."""

        def holds(state: JobState) -> bool:
            if condition(state):
                return True
            found = {notice.text for notice in state.progress.now.notices if notice.level == "warning"}
            new, self._warned = found - self._warned, found
            for text in new:
                warnings.warn(text, RuntimeWarning, stacklevel=4)
            return False

        return holds

    def _wait_for_more(self, condition: Callable[[JobState], bool]) -> None:
        try:
            self._wait_until(self._aloud(lambda state: condition(state) or state.is_complete), None)
        except KeyboardInterrupt:
            self._interrupted()
            raise

    def _standing(self) -> str:
        """How far it is; if nothing of it runs, also what the pool has said about that last."""
        now = self.progress
        warned = [notice.text for notice in now.notices if notice.level == "warning"]
        return f"{now}; {warned[-1]}" if warned and not now.running_slots else str(now)

    def _interrupted(self) -> None:
        """Stops everything, and waits a little for the pool to confirm that; a second interrupt ends the wait."""
        self.cancel("interrupted")
        self.wait(INTERRUPT_SECONDS)

    def _result(self) -> Any:
        state = self._pump()
        assert state.finish is not None
        outcome, reason = state.finish.outcome, state.finish.reason
        if state.error is not None:
            raise state.error.with_traceback(None)
        if outcome == "failed":
            if not state.failures:
                raise JobError(f"job {self.name!r} failed: {reason or 'no item says why'}")
            raise min(state.failures, key=lambda failure: failure.index).error.with_traceback(None)
        if outcome == "cancelled":
            if self.inbox.input_error is not None:
                raise self.inbox.input_error
            raise JobCancelledError(
                f"job {self.name!r} was cancelled after {state.progress.now.done} items"
                + (f": {reason}" if reason else "")
                + f"; what it had is in {self.kept_in}"
            )
        if outcome == "refused" and self._resumes:
            raise JobRefusedError(f"job {self.name!r} was refused: {reason}")
        if outcome == "refused":
            raise JobRefusedError(f"no machine of the pool can run job {self.name!r}: {reason}")
        return self._final(state)

    def _final(self, state: JobState) -> Any:
        if self.is_each:
            return self._by_place(state)
        if self.options.stop_when:
            return Values(() if state.stopped_by is None else (state.stopped_by.value,))
        if self._reduction is not None:
            assert state.fold is not None
            return self._reduction.final(state.fold.value)
        return self._values

    def _by_place(self, state: JobState) -> dict[str, Any]:
        """The values by machine, or by machine/slot where a machine has several."""
        places = state.places or {}
        machines = [machine for machine, _ in places.values()]
        found = {}
        for segment in state.segments:
            machine, slot = places[segment.start]
            name = machine if machines.count(machine) == 1 else f"{machine}/{slot}"
            for value in self._values[segment.position : segment.position + segment.count]:
                found[name] = value
        return dict(sorted(found.items()))
