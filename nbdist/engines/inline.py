"""The engine that runs a job's items in this process, one after another, in the thread that waits for them.

`print`, `pdb` and a profiler see the function itself. The values take the way that they take everywhere: they are
packed and unpacked, so that what cannot travel is found here too.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from nbdist.engines.alarm import Alarm
from nbdist.engines.base import Attached, Block, Deliver, Earlier, Engine, JobSpec
from nbdist.engines.inlinefiles import InlineFiles
from nbdist.engines.saying import marked
from nbdist.engines.supply import ENDLESS, supply_of
from nbdist.errors import AddressError, JobRefusedError, NbdistError
from nbdist.execution import setups
from nbdist.execution.lending import lent
from nbdist.execution.limits import Watch
from nbdist.execution.run import Run as FinishedRun
from nbdist.execution.runs import Freely, execute
from nbdist.execution.task import Setup, Task
from nbdist.packing import PackedRun, fresh_setups, pack_part, pack_runs, setup_reason
from nbdist.scheduler.timeline import Bar, BarOutcome, Timeline
from nbdist.wire import graphics, needs
from nbdist.wire.local import this_machine
from nbdist.wire.messages import JobFinished, JobProgress, Notice, Outcome, Result, WorkerRow

NAME = "inline"
"""The name of this process as a machine of the pool."""
PART_SECONDS = 0.05
PART_BYTES = 1024 * 1024
PROGRESS_SECONDS = 0.25
MAX_JOBS_KEPT = 20


def open_engine(address: str | None, workers: int | None) -> Engine:
    """The engine of this process. It has one worker, whatever is asked for."""
    if workers is not None:
        raise AddressError("the inline pool has no workers: leave out workers=, or the address for a pool of processes")
    return InlineEngine()


class InlineEngine:
    """`engines.base.Engine` in this process."""

    address = NAME

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._machine = this_machine(os.cpu_count() or 1)
        self._runs: dict[str, InlineRun] = {}
        self._turn = threading.RLock()
        """Held while items run: one after another, also where several threads wait for their jobs."""

    def submit(self, spec: JobSpec, deliver: Deliver) -> InlineRun:
        """Takes a job; its items run while somebody waits for it. Raises PackingError, and JobRefusedError if this
        process is not what the job needs."""
        spec.packed()  # what could not travel to another pool is told here too
        if spec.needs:
            _refuse_unmet(spec.needs)
        run = self._runs[spec.job] = InlineRun(spec, deliver, self._turn)
        while len(self._runs) > MAX_JOBS_KEPT:
            del self._runs[next(iter(self._runs))]
        return run

    def attach(self, job: str) -> Attached:
        """Its jobs end with their process."""
        raise NbdistError("an inline pool keeps no jobs: what runs in a notebook's own process ends with it")

    def find(self, key: str) -> str:
        """It keeps no jobs."""
        return ""

    def earlier(self, job: str) -> Earlier:
        """It keeps no results."""
        raise NbdistError(
            "an inline pool keeps no results, so that a job cannot be resumed: run it anew, without --resume, or on a "
            "pool (`%distribute connect`)"
        )

    def describe(self) -> dict[str, Any]:
        """The pool now."""
        jobs = [run.describe() for run in reversed(self._runs.values())]
        done = sum(int(job["done"]) for job in jobs)
        busy = sum(job["state"] == "running" for job in jobs)
        worker = {
            "id": NAME, "name": NAME, "slots": 1, "busy": min(1, busy), "state": "busy" if busy else "idle",
            "relative_speed": None, "done": done, "joined_seconds": time.monotonic() - self._began,
            "heard_seconds": 0.0, "load": 0.0, "memory_used_bytes": 0, "machine": asdict(self._machine),
        }  # fmt: skip
        hub = {"epoch": 0, "notebooks": 1, "slots": 1, "busy": min(1, busy), "items_per_second": 0.0}
        return {"workers": [worker], "jobs": jobs, "hub": hub}

    def explain(self, job: str, item: int) -> str:
        """Why an item is not done."""
        run = self._runs.get(job)
        return "this pool does not know the job" if run is None else run.explain(item)

    def cancel(self, job: str, reason: str) -> None:
        """Cancels a job by its id."""
        if job in self._runs:
            self._runs[job].cancel(reason)

    def stop_workers(self, names: Sequence[str]) -> list[str]:
        """This process cannot be stopped from here: no names."""
        return []

    def invite(self, *, role: str = "worker", uses: int = 0, valid_seconds: float = 86400.0) -> dict[str, Any]:
        """Nobody can join this process: raises NbdistError."""
        raise NbdistError("the inline pool is this process alone: connect to another pool to invite machines")

    def page_link(self, role: str = "notebook") -> str:
        """This process has no page: raises NbdistError."""
        raise NbdistError("the inline pool is this process alone, and has no page: connect to another pool")

    def stage(self, view: memoryview) -> Callable[[str], None]:
        """Nothing is sent."""
        return lambda name: None

    def close_invites(self) -> None:
        """There are none."""

    def clear(self) -> None:
        """Cancels all jobs and forgets them."""
        for run in list(self._runs.values()):
            run.cancel("cleared")
        self._runs.clear()

    def close(self) -> None:
        """Cancels all jobs."""
        self.clear()


class InlineRun:
    """One job of the inline engine (`engines.base.Run`)."""

    def __init__(self, spec: JobSpec, deliver: Deliver, turn: threading.RLock) -> None:
        self._spec = spec
        self._task: Task = replace(spec.task, star=True) if spec.each else spec.task
        self._is_set_up = not self._task.setups
        self._names: Mapping[str, Any] = {}
        """What its setups have defined."""
        self._deliver = deliver
        self._turn = turn
        self._began = self._reported_at = time.monotonic()
        self._supply = supply_of(spec)
        self._alarm = Alarm(self._time_is_up)
        limit_seconds = spec.options.time_limit
        self._watch = Watch(limit_seconds, time.monotonic_ns, set_timer=self._alarm.set) if limit_seconds else None
        self._closed = not spec.is_open
        self._runs = self._execute(0) if self._closed else iter(())
        self._files = InlineFiles(spec, self._supply.position)
        self._seq = self._done = self._failed = 0
        self._outcome: Outcome | None = None
        self._timeline = Timeline()
        self._is_running = False
        self._cancelled: str | None = None

    def wait(self, timeout: float | None) -> None:
        """Runs the next items, until there is an event or `timeout` seconds are over."""
        deadline = None if timeout is None else time.monotonic() + timeout
        seq = self._seq
        while self._outcome is None and self._closed and self._seq == seq:
            with self._in_turn():
                if self._outcome is None:
                    self._part()
            if deadline is not None and time.monotonic() >= deadline:
                return

    @property
    def sending_seconds(self) -> float:
        """Nothing is sent."""
        return 0.0

    def consumed(self, seq: int) -> None:
        """Results are not held back: the caller made them."""

    def add(self, values: Sequence[Any], block: Callable[[], Block]) -> None:
        """Runs further items of an open job."""
        if self._outcome is not None or self._closed:
            raise NbdistError(f"job {self._spec.job} takes no more items")
        with self._in_turn():
            self._supply.extend(values)
            self._runs = self._execute(self._done)
            while self._outcome is None and self._done < self._supply.stop:
                self._part()

    def close_items(self) -> None:
        """No more items come to an open job."""
        if self._outcome is None and not self._closed:
            self._closed = True
            self._finish("done")

    def cancel(self, reason: str) -> None:
        """Ends the job. An item that runs now (it has cancelled its own job, or another thread has) runs to its end."""
        if self._outcome is None and self._is_running:
            self._cancelled = reason
        elif self._outcome is None:
            self._finish("cancelled", reason)

    def forget(self) -> None:
        """Nothing is kept for the caller."""

    def timelines(self, *, around: bool) -> list[dict[str, Any]]:
        """Who worked on the job when: this process. What other jobs do meanwhile is not known."""
        bars = [[0, *bar] for _, bar in self._timeline.bars()]
        seconds = time.monotonic() - self._began
        return [
            {
                "job": self._spec.job, "name": self._spec.name, "ago": seconds, "slots": [[NAME, 0]], "bars": bars,
                "seconds": seconds if self._outcome is None else max((bar[4] for bar in bars), default=0.0),
                "resolution": self._timeline.resolution, "left_out": self._timeline.left_out,
            }
        ]  # fmt: skip

    def describe(self) -> dict[str, Any]:
        """The job as a row of `Engine.describe`."""
        elapsed = time.monotonic() - self._began
        return {
            "id": self._spec.job, "name": self._spec.name,
            "state": self._outcome or ("running" if self._closed else "open"), "done": self._done,
            "total": self._total(), "failed": self._failed, "running": 0, "queued": 0, "items_per_second": 0.0,
            "elapsed_seconds": elapsed, "owner": NAME, "reason": "",
        }  # fmt: skip

    def explain(self, item: int) -> str:
        """Why an item is not done."""
        if item < self._done:
            return f"item {item} is done"
        if self._outcome is not None:
            return f"the job has ended ({self._outcome}) before item {item}"
        return f"item {item} runs after the {item - self._done} before it, while somebody waits for the job"

    # --- inside -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Items may run: the variables and names that they need are lent to them, unless the job has just ended."""
        namespace = setups.namespace_of(self._task.function)
        with self._turn, lent(os.environ, self._task.env), self._limits(), self._files.given():
            if not self._is_set_up:
                self._set_up(namespace)
            with lent(namespace, self._names):
                yield

    def _set_up(self, namespace: dict[str, Any]) -> None:
        """Runs those of the job's setups that have not run in this process; if one fails, so does the job."""
        running = self._task.setups[0]

        def call(setup: Setup, names: Mapping[str, Any]) -> None:
            nonlocal running
            running = setup
            with marked(setups.mark(setup.name, NAME)), lent(namespace, names):
                setup.function()

        try:
            is_new = setups.here.lacks(self._task.setups)
            self._names = setups.here.run(fresh_setups(self._task.setups) if is_new else self._task.setups, call)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - user code: whatever it raises is why the job cannot run
            reason = setup_reason(running.name, running.function.__code__.co_filename, error)
            self._finish("refused", f"{NAME}: {reason}")
        else:
            self._is_set_up = True

    def _limits(self) -> contextlib.AbstractContextManager[None]:
        """In the main thread items are interrupted when their time is up; in others they fail once they have ended."""
        return self._alarm.on() if self._watch is not None else contextlib.nullcontext()

    def _time_is_up(self) -> None:
        if self._watch is not None:
            self._watch.strike()

    def _execute(self, start: int) -> Iterator[FinishedRun]:
        spec = self._spec
        size = spec.options.task_size or ENDLESS
        while self._supply.has(start):
            stop = start + size
            for run in execute(
                self._files.watched(self._task), spec.options, self._supply.between, start, stop, self._supply,
                time.perf_counter, watch=self._watch,
            ):  # fmt: skip
                start = run.stop
                yield run
            if not spec.options.task_size:
                return

    def _part(self) -> None:
        """Runs items for one part and delivers it."""
        runs: list[PackedRun] = []
        until = time.monotonic() + PART_SECONDS
        ended: Outcome | None = None
        self._is_running = True
        try:
            while not self._is_full(runs, until) and ended is None and self._cancelled is None:
                run = next(self._runs, None)
                if run is None:
                    ended = "done" if self._closed else None
                    break
                for packed in pack_runs(run):
                    again = self._again(packed)
                    runs += again
                    if any(one.failed for one in again) and self._spec.options.on_error == "stop":
                        ended = "failed"
                        break
                if ended is None and runs and runs[-1].stopped_at is not None:
                    ended = "stopped"
        except Exception as error:  # noqa: BLE001 - only the iterable raises here, and it may raise anything
            self._send(runs)
            self._fail_items(error)
            return
        except BaseException:
            self._send(runs)
            self._runs = self._execute(self._done)  # goes on there if somebody waits again
            raise
        finally:
            self._is_running = False
        self._send(runs)
        self._report()
        if ended is not None:
            self._finish(ended)
        elif self._cancelled is not None:
            self._finish("cancelled", self._cancelled)

    def _is_full(self, runs: Sequence[PackedRun], until: float) -> bool:
        return time.monotonic() >= until or sum(run.size for run in runs) >= PART_BYTES

    def _again(self, packed: PackedRun) -> list[PackedRun]:
        """The run, or what came of its failed item when it was tried again."""
        for _ in range(self._spec.options.retries):
            if not packed.failed:
                break
            claim = Freely()
            claim.position = self._supply.position
            retry = execute(
                self._files.watched(self._task), self._spec.options, self._supply.between, packed.start, packed.stop,
                claim, time.perf_counter, watch=self._watch,
            )  # fmt: skip
            found = [again for run in retry for again in pack_runs(run)]
            if len(found) != 1:
                return found
            packed = found[0]
        return [packed]

    def _fail_items(self, error: Exception) -> None:
        self._spec.context.get("fail_input", lambda error: None)(error)
        self._finish("cancelled", f"the items could not be read: {type(error).__name__}: {error}")

    def _send(self, runs: list[PackedRun]) -> None:
        if not runs:
            return
        self._seq += 1
        self._done = runs[-1].stop
        failed = tuple(index for run in runs for index in run.failed)
        self._failed += len(failed)
        result = Result(
            self._spec.job, self._seq, runs[0].start, runs[-1].stop, NAME, failed=failed, stopped_at=runs[-1].stopped_at
        )
        try:
            tail = self._files.bring(self._done, failed)
        except NbdistError as error:
            self._deliver(Notice(self._spec.job, "warning", str(error)), b"")
            self._seq -= 1
            self._finish("cancelled", str(error))
            return
        self._draw(runs, is_failed=bool(failed))
        self._deliver(result, b"".join(pack_part(runs, tail)))
        self._supply.forget(self._done)

    def _draw(self, runs: Sequence[PackedRun], *, is_failed: bool) -> None:
        ended = time.monotonic() - self._began
        busy = sum(run.seconds for run in runs)
        outcome: BarOutcome = "failed" if is_failed else "done"
        bar = Bar(runs[0].start, self._done, max(0.0, ended - busy), ended, busy, 1, outcome)
        self._timeline.add((NAME, 0), bar)

    def _report(self, *, now: bool = False) -> None:
        at = time.monotonic()
        if not now and at - self._reported_at < PROGRESS_SECONDS:
            return
        self._reported_at = at
        elapsed = at - self._began
        speed = self._done / elapsed if elapsed else 0.0
        running = () if self._outcome else (self._done,)
        row = WorkerRow(NAME, 1, "ready", done=self._done, items_per_second=speed, running=running)
        total = self._total()
        queued = 0 if total is None else total - self._done
        progress = JobProgress(
            self._spec.job, elapsed, total, self._done, self._failed, queued, len(running), speed, (row,)
        )
        self._deliver(progress, b"")

    def _total(self) -> int | None:
        return 1 if self._spec.each else self._spec.total

    def _finish(self, outcome: Outcome, reason: str = "") -> None:
        if self._outcome is not None:
            return
        self._outcome = outcome
        self._report(now=True)
        total = self._done if outcome == "done" else self._total()
        self._deliver(JobFinished(self._spec.job, outcome, self._seq, total, reason), b"")
        self._runs = iter(())
        self._files.close()


def _refuse_unmet(text: str) -> None:
    here = needs.Candidate(NAME, 1, this_machine(os.cpu_count() or 1, graphics.names()))
    missing = needs.unmet(text, here)
    if missing:
        raise JobRefusedError(f"no machine of the pool can run it. {NAME}: {missing}")
