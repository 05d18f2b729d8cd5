"""Runs the items of a slice, in runs of about five milliseconds.

Before each run its items are claimed; what is not claimed can still be taken away by somebody else. Inside a run the
loop is as tight as Python allows: it publishes the index of the item and calls the function, and all else is done for
the run as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableSequence
from itertools import chain
from typing import Any, Protocol, TypeAlias

from nbdist.errors import NbdistError
from nbdist.execution.folding import fold_each, fold_once
from nbdist.execution.limits import Watch, limited
from nbdist.execution.loops import Function, Loop, choose_loop
from nbdist.execution.random import Streams, enter
from nbdist.execution.run import Run
from nbdist.execution.task import SKIP, Task

RUN_SECONDS = 0.005
"""What a run is meant to take: so long, at most, what a slot has claimed cannot be given to another."""
MAX_RUN_GROWTH = 8
"""A run has at most so many times the items of the one before: the next items may be slower."""
MAX_RUN_ITEMS = 16_384

ItemsBetween: TypeAlias = Callable[[int, int], Iterable[Any]]


class Rules(Protocol):
    """What a run must know of a job's options: the fields of `wire.messages.JobOptions` of these names."""

    @property
    def reduce(self) -> bool: ...
    @property
    def filters(self) -> bool: ...
    @property
    def stop_when(self) -> bool: ...
    @property
    def task_size(self) -> int: ...
    @property
    def retries(self) -> int: ...
    @property
    def on_error(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def seeded(self) -> bool: ...


class Claim(Protocol):
    """The slot's side of a slice that others may cut while it runs."""

    position: MutableSequence[int]
    """`position[0]` is the index of the item that runs."""

    def take(self, start: int, count: int) -> int:
        """Claims up to `count` items from `start` on. Gives the end of what is granted; `start`: no more."""


class Freely:
    """A claim on a slice that nobody else cuts."""

    def __init__(self) -> None:
        self.position: MutableSequence[int] = [0]

    def take(self, start: int, count: int) -> int:
        """Grants everything."""
        return start + count


def execute(
    task: Task,
    rules: Rules,
    items_between: ItemsBetween,
    start: int,
    stop: int,
    claim: Claim,
    clock: Callable[[], float],
    *,
    interrupts: type[BaseException] = KeyboardInterrupt,
    watch: Watch | None = None,
) -> Iterator[Run]:
    """Runs items `[start, stop)` and yields what is done, in order and without gaps.

    It ends early if the claim ends or `stop_when` is met. An exception of type `interrupts` ends it too: what the run
    had done is yielded, then the exception goes on. Any other exception is the failure of its item; so is taking longer
    than `watch` allows (function, `keep_if` and `stop_when` together; not `reduce`). With `retries`, or
    if errors stop the job, a failed item is a run of its own. A fold over slices of a fixed size is one run, so that
    its last bits do not depend on time.
    """
    execution = _Execution(task, rules, items_between, claim, clock, interrupts, watch)
    runs = execution.runs(start, stop)
    if task.reduce is None:
        return runs
    if rules.task_size:
        return fold_once(task.reduce, runs)
    return chain.from_iterable(fold_each(task.reduce, run) for run in runs)


class _Execution:
    """One call of `execute`, before folding."""

    def __init__(
        self,
        task: Task,
        rules: Rules,
        items_between: ItemsBetween,
        claim: Claim,
        clock: Callable[[], float],
        interrupts: type[BaseException],
        watch: Watch | None,
    ) -> None:
        self._items_between = items_between
        self._claim = claim
        self._clock = clock
        self._interrupts = interrupts
        self._streams = Streams(rules.seed, claim.position)
        self._function = _prepare(task, self._streams if rules.seeded else None)
        self._loop: Loop = choose_loop(task, is_checked=rules.filters or rules.stop_when)
        if watch is not None:
            self._loop = limited(self._loop, watch, interrupts)
        self._is_filtered = rules.filters or task.keep_if is not None
        self._is_folded = task.reduce is not None
        self._failures_apart = bool(rules.retries) or rules.on_error == "stop"

    def runs(self, start: int, stop: int) -> Iterator[Run]:
        count = 1
        while start < stop:
            granted = self._claim.take(start, min(count, stop - start))
            if granted <= start:
                return
            values: list[Any] = []
            began = self._clock()
            stopped, error = self._run(start, granted, values)
            seconds = self._clock() - began
            runs = self._finish(start, values, stopped, error, seconds)
            yield from runs
            if isinstance(error, self._interrupts):
                raise error
            if stopped:
                return
            count = _next_count(runs[-1].stop - start, seconds)
            start = runs[-1].stop

    def _run(self, start: int, stop: int, values: list[Any]) -> tuple[bool, BaseException | None]:
        """Runs the items; whether `stop_when` was met, and what was raised behind the last of `values`."""
        previous = enter(self._streams)
        try:
            items = self._items_between(start, stop)
            stopped = self._loop(self._function, items, range(start, stop), self._claim.position, values)
        except BaseException as error:  # noqa: BLE001 - whatever an item raises, SystemExit too, is its failure
            return False, error
        finally:
            enter(previous)
        if not stopped and len(values) < stop - start:
            return False, NbdistError(f"item {start + len(values)} is missing from its block: report this as a bug")
        return stopped, None

    def _finish(
        self, start: int, values: list[Any], stopped: bool, error: BaseException | None, seconds: float
    ) -> list[Run]:
        end = start + len(values)
        failed = error is not None and not isinstance(error, self._interrupts)
        each = seconds / (len(values) + failed) if values or failed else 0.0
        done = Run(start, end, each * len(values), values, stopped_at=end - 1 if stopped else None)
        if self._is_filtered:
            _drop_skipped(done)
        if not failed:
            return [done] if values else []
        assert error is not None
        if self._failures_apart or not values:
            failure = Run(end, end + 1, each, failures=[(end, error)], kept=None if self._is_folded else [])
            return [done, failure] if values else [failure]
        kept = done.kept if done.kept is not None else list(range(start, end))
        return [Run(start, end + 1, seconds, done.values, kept, [(end, error)])]


def _prepare(task: Task, seeding: Streams | None) -> Function:
    """The task's function as one of an item, seeding the global generators first if it is to."""
    function = task.function
    if task.star:
        starred = function

        def function(item: Any) -> Any:
            return starred(*item)

    if seeding is None:
        return function
    unseeded = function

    def seeded(item: Any) -> Any:
        seeding.seed_globals()
        return unseeded(item)

    return seeded


def _drop_skipped(run: Run) -> None:
    kept = [index for index, value in enumerate(run.values, run.start) if value is not SKIP]
    if len(kept) < len(run.values):
        run.values = [value for value in run.values if value is not SKIP]
        run.kept = kept


def _next_count(count: int, seconds: float) -> int:
    """How many items the next run claims, after `count` items took `seconds`."""
    fitting = count * RUN_SECONDS / seconds if seconds > 0 else MAX_RUN_ITEMS
    return max(1, int(min(fitting, count * MAX_RUN_GROWTH, MAX_RUN_ITEMS)))
