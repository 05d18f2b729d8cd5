"""A pool: what runs jobs, whatever engine that is."""

from __future__ import annotations

import contextlib
import importlib
import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

from nbdist.client import leftovers, tables
from nbdist.client.analysis.modules import needed, top_level
from nbdist.client.analysis.values import of_items
from nbdist.client.attaching import Found, SameCell, attach, find, job_of
from nbdist.client.homecoming import checked as homecoming
from nbdist.client.homecoming import home_of
from nbdist.client.inbox import Inbox, sweep
from nbdist.client.items import Items, items_of
from nbdist.client.job import Job
from nbdist.client.jobitems import items_for, with_items
from nbdist.client.options import Reduction, Rules, checked_env, checked_needs, make_options
from nbdist.client.parts import Parts, job_name, new_id
from nbdist.client.resuming import code_of, continuing, earlier_of
from nbdist.client.tasks import check_callable, functions_of, name_of_function, packer, repacker, with_files
from nbdist.client.tofile.target import checked_target, target_for
from nbdist.engines.base import Earlier, Engine, JobSpec
from nbdist.errors import NbdistError
from nbdist.execution.shipped import WithKeywords
from nbdist.execution.task import Task
from nbdist.wire.messages import Each

ENGINES = {"inline": "nbdist.engines.inline"}
"""Addresses, or what stands before `://` in them, that have an engine of their own."""
HUB_ENGINE = "nbdist.engines.hub"
POOL_VARIABLE = "NBDIST_POOL"
RECENT_JOBS = 4
"""What so many jobs sent along stays at the hub, so that the next one need not send it again."""
LOOK_SECONDS = 0.1
"""Between two looks at a pool that is waited for."""

last_job: Job | None = None
"""The job that was submitted last, on any pool."""
_current: weakref.ref[Pool] | None = None


def connect(address: str | None = None, *, workers: int | None = None) -> Pool:
    """Connects to a pool and makes it the current one.

    `address`: `inline`, a hub's URL (`ws://…`, `wss://…`) or a saved name; None is the address in the environment
    variable NBDIST_POOL, or else the pool of this machine, which starts by itself. `workers`: a private pool on this
    machine with so many slots, which ends with `close()`, with this process, or when neither it nor any unfinished job
    or call of it is held any more. Raises AddressError, AccessError, VersionError and ConnectionFailedError.
    """
    global _current
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise ValueError(f"workers is a whole number from 1, not {workers!r}")
    if address is None and workers is None:
        address = os.environ.get(POOL_VARIABLE) or None
    home = HUB_ENGINE if address is None else ENGINES.get(address.partition("://")[0], HUB_ENGINE)
    pool = Pool(importlib.import_module(home).open_engine(address, workers))
    _current = weakref.ref(pool)
    _held.append(pool)
    return pool


_held: deque[Pool] = deque(maxlen=1)
"""Keeps the current pool alive for a notebook that does not hold it."""


def current() -> Pool | None:
    """The pool that was connected to last, unless it is closed."""
    pool = _current() if _current is not None else None
    return None if pool is None or pool.is_closed else pool


class Pool:
    """Machines that run jobs. A context manager: leaving it closes the connection.

    One that nobody holds any more is closed too, once its jobs and calls are over.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._parts = Parts(engine)
        self._recent: deque[Inbox] = deque()
        self.is_closed = False
        leftovers.start()
        self._dropped = weakref.finalize(self, leftovers.later, self._parts.close)
        self._dropped.atexit = False

    def __repr__(self) -> str:
        return f"<Pool {self.address}{', closed' if self.is_closed else ''}>"

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Where it is, without a secret."""
        return self._engine.address

    # --- jobs -------------------------------------------------------------------------------------------------------

    def map(
        self,
        function: Callable[..., Any],
        *iterables: Iterable[Any],
        reduce: Callable[..., Any] | None = None,
        keep_if: Callable[[Any], Any] | None = None,
        stop_when: Callable[[Any], Any] | None = None,
        task_size: int | None = None,
        time_limit: float | None = None,
        retries: int = 0,
        on_error: str = "stop",
        seed: int | None = None,
        speculate: bool = True,
        needs: str = "",
        env: str | Iterable[str] = (),
        files: str | os.PathLike[str] | None = None,
        name: str | None = None,
        resume: Job | str | None = None,
        to: str | os.PathLike[str] | None = None,
        stats: bool = False,
    ) -> Job:
        """Calls the function with each item; with several iterables, with one item of each, until the shortest ends.

        `keep_if(value)` says whether a value is a result at all; `stop_when(value)` whether it is the one that was
        looked for: then the result is a list of just that. `reduce` folds the values: an associative function of two,
        or one of sum, min, max, any and all. `task_size` fixes how many items travel together. `time_limit`: seconds;
        an item that takes longer is interrupted, and fails with ItemTimeoutError. `retries`: how often an item that
        raised or took too long is tried again. `on_error="keep"` puts an ItemFailure in a failed item's place;
        otherwise the first failure ends the job. `seed` makes `nbdist.rng()`, `random` and `numpy.random` repeatable.
        `speculate`: the last long items may be copied to idle machines. `needs` chooses machines: `"gpu"`,
        `"memory>=8GB, linux"`, `"worker=laptop-2"`. `env`: names of environment variables whose values here the items
        see too. `files`: a folder here, for what items write to `nbdist.files()`. `resume`: a job over the same items
        that has ended, or its id: only the items that failed or never finished there run, with this function, and its
        other results are taken over, with its seed (`job.resumed`). `to`: a .csv, .jsonl, .npy or .parquet file that
        the values go to as they come, in order, and not into memory: `result()` is then a `ResultFile`. `stats`:
        `job.stats` is saved beside it, as FILE.stats.json.

        What the function has captured travels as it is now. Items travel while the job runs, each as it is when its
        turn comes: change one (an array in a list) after the call, and the job may see it changed. Raises TypeError and
        ValueError for wrong arguments, and PackingError for what cannot travel.
        """
        check_callable(function, "the first argument of map")
        if not iterables:
            raise TypeError("map needs an iterable: pool.map(function, items); pool.run(function) calls it once")
        return self.run_task(
            Task(function, star=len(iterables) > 1, keep_if=keep_if, stop_when=stop_when, reduce=reduce),
            items=items_of(iterables, star=len(iterables) > 1),
            task_size=task_size,
            time_limit=time_limit,
            retries=retries,
            on_error=on_error,
            seed=seed,
            speculate=speculate,
            needs=needs,
            env=env,
            files=files,
            name=name,
            resume=resume,
            to=to,
            stats=stats,
        )

    def starmap(self, function: Callable[..., Any], iterable: Iterable[Sequence[Any]], **options: Any) -> Job:
        """Calls the function with the elements of each item as its arguments; options as of `map`."""
        check_callable(function, "the first argument of starmap")
        task = Task(
            function,
            star=True,
            keep_if=options.pop("keep_if", None),
            stop_when=options.pop("stop_when", None),
            reduce=options.pop("reduce", None),
        )
        return self.run_task(task, iterable=iterable, **options)

    def run_task(
        self,
        task: Task,
        *,
        ranges: Sequence[range] | None = None,
        iterable: Iterable[Any] | None = None,
        items: Items | None = None,
        total: int | None = None,
        loop_names: tuple[str, ...] = (),
        each: Each = "",
        reduce: Callable[..., Any] | None = None,
        filters: bool = False,
        stop_when: bool = False,
        needs: str = "",
        env: str | Iterable[str] = (),
        files: str | os.PathLike[str] | None = None,
        name: str | None = None,
        key: str = "",
        items_key: str = "",
        resume: Job | str | None = None,
        to: str | os.PathLike[str] | None = None,
        stats: bool = False,
        **rules: Unpack[Rules],
    ) -> Job:
        """Runs a task on its items: `ranges` (their product, the last fastest), or `iterable`, or `items`; or once on
        `each` machine or slot, without an item.

        `filters` and `stop_when` say that the task's function may return SKIP or StopHere by itself. `key` and
        `items_key` are what `find` finds it by (`analysis/identity.py`). Other options as of `map`.
        """
        task = _checked(task, reduce, env)
        reduction = Reduction.of(task.reduce)
        options = make_options(
            reduce=reduction is not None,
            filters=filters or task.keep_if is not None,
            stop_when=stop_when or task.stop_when is not None,
            files=files is not None,
            **rules,
        )
        if each not in ("", "machine", "slot"):
            raise ValueError(f"each is 'machine' or 'slot', not {each!r}")
        target = target_for(options, to, stats=stats, each=each)
        if items is None:
            items = items_for(ranges, iterable, total, each)
        imports = needed(*functions_of(task := with_files(task)))
        spec = JobSpec(
            job=new_id(),
            name=job_name(name, task),
            options=options,
            task=task,
            packed=packer(task, self._engine.stage, imports, of_items(items)),
            repack=repacker(task),
            ranges=items.ranges,
            total=items.total,
            each=each,
            modules=top_level(imports),
            needs=checked_needs(needs),
            files=homecoming(files),
            key=key,
            items_key=items_key,
            code=code_of(task),
            to="" if target is None else str(target.path),
        )
        spec, earlier = self._resuming(spec, resume)
        return self._submit(job_of(spec, items, reduction, target, loop_names, home_of(spec)), spec, items, earlier)

    def run(self, function: Callable[..., Any], *arguments: Any, each: str | None = None, **keywords: Any) -> Any:
        """Calls the function once, on one slot, and gives its value; or once on each `machine` or `slot`, and gives the
        values by name."""
        check_callable(function, "the first argument of run")
        name = name_of_function(function)
        if each is None:  # the arguments are its item: large ones go to the one machine that runs it
            task = Task(WithKeywords(function) if keywords else function, star=True)
            item = (arguments, keywords) if keywords else arguments
            return self.run_task(task, iterable=[item], name=name).result()[0]
        call = partial(function, *arguments, **keywords) if arguments or keywords else function
        if each not in ("machine", "slot"):
            raise ValueError(f"each is 'machine' or 'slot', or None: run it once; not {each!r}")
        return self.run_task(Task(call), each="machine" if each == "machine" else "slot", name=name).result()

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future[Any]:
        """Calls the function once, and gives the Future of its value at once. Many small calls travel together."""
        self._check_open()
        return self._parts.calls.submit(function, arguments, keywords, keeper=self)

    # --- the pool ---------------------------------------------------------------------------------------------------

    @property
    def workers(self) -> tables.Table[tables.WorkerInfo]:
        """The machines that are here now."""
        return tables.Table(tables.WorkerInfo.of(row) for row in self.describe()["workers"])

    @property
    def jobs(self) -> tables.Table[tables.JobInfo]:
        """The jobs that the pool knows, newest first."""
        return tables.Table(tables.JobInfo.of(row) for row in self.describe()["jobs"])

    def describe(self) -> dict[str, Any]:
        """The pool now, as plain data: `workers`, `jobs`, `hub`."""
        self._check_open()
        return {"workers": [], "jobs": [], "hub": {}} | self._engine.describe()

    def attach(
        self, job_id: str, *, files: str | os.PathLike[str] | None = None, to: str | os.PathLike[str] | None = None
    ) -> Job:
        """A job whose notebook has gone (its kernel was restarted): its results from the first one on, and its view.
        `files`: where the files of a job with `files=` go.

        A file that its results went to is continued; `to` names another one, or one for a job that had none.
        Raises NbdistError with the reason if there is none, or its notebook is still open.
        """
        self._check_open()
        job = attach(self._engine, job_id, checked_target(to), homecoming(files))
        return self._hold(job).hand_out(self.address)

    def find(
        self,
        key: str,
        task: Task,
        *,
        ranges: Sequence[range] | None = None,
        iterable: Iterable[Any] | None = None,
        total: int | None = None,
        loop_names: tuple[str, ...] = (),
        files: str | os.PathLike[str] | None = None,
        to: str | os.PathLike[str] | None = None,
        stats: bool = False,
    ) -> Found | None:
        """A job of this key that has ended well, or that goes on without its notebook, attached to; None if there is
        none. The task, its items and its file as of `run_task`."""
        self._check_open()
        items = items_for(ranges, iterable, total, "")
        cell = SameCell(task, items, loop_names, homecoming(files), checked_target(to, stats=stats))
        found = find(self._engine, key, cell)
        if found is not None:
            self._hold(found.job).hand_out(self.address)
        return found

    def explain(self, job: Job | str, index: int) -> str:
        """Why item `index` is not done."""
        return self._engine.explain(job.id if isinstance(job, Job) else job, index)

    def wait(self, workers: int | None = None, *, slots: int | None = None, timeout: float | None = 60.0) -> None:
        """Waits until so many workers, or slots, are here. Raises TimeoutError after `timeout` seconds."""
        if workers is None and slots is None:
            workers = 1
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            here = self.workers
            some = sum(worker.slots for worker in here)
            if len(here) >= (workers or 0) and some >= (slots or 0):
                return
            if deadline is not None and time.monotonic() >= deadline:
                wanted = f"{workers} workers" if workers is not None else f"{slots} slots"
                raise TimeoutError(
                    f"{wanted} are not here after {timeout} s, only {len(here)} with {some} slots; "
                    "pool.invite() makes the line that adds a machine"
                )
            time.sleep(LOOK_SECONDS)

    def cancel(self, job: Job | str, reason: str = "cancelled") -> None:
        """Cancels a job of this pool."""
        self._engine.cancel(job.id if isinstance(job, Job) else job, reason)

    def stop_workers(self, names: Sequence[str] = ()) -> list[str]:
        """Lets these machines (all, if none is named) finish their running items and leave; gives their names."""
        return self._engine.stop_workers([names] if isinstance(names, str) else names)

    def invite(self, *, role: str = "worker", uses: int = 0, valid_seconds: float = 86400.0) -> dict[str, Any]:
        """Makes an invite: `url`, and `lines`, pairs of a label and the line to type on the other machine."""
        self._check_open()
        return self._engine.invite(role=role, uses=uses, valid_seconds=valid_seconds)

    def page_link(self, role: str = "notebook") -> str:
        """A link to the hub's web page that logs a browser in; good once, for ten minutes.

        A browser that came by a link for a "viewer" may look; one for a "notebook" may also stop jobs and machines.
        """
        self._check_open()
        return self._engine.page_link(role)

    def close_invites(self) -> None:
        """Revokes all invites; nobody new can join from the network."""
        self._engine.close_invites()

    def clear(self) -> None:
        """Cancels this notebook's jobs, forgets their results and gives every slot a fresh process."""
        self._check_open()
        self._parts.renew_calls()
        self._recent.clear()
        self._engine.clear()

    def close(self) -> None:
        """Ends the connection, and a private pool with it. Jobs of the pool that still run are cancelled only if it is
        private."""
        if self.is_closed:
            return
        self._dropped.detach()
        self.is_closed = True
        self._recent.clear()
        self._parts.close()
        with contextlib.suppress(ValueError):
            _held.remove(self)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self.is_closed:
            raise NbdistError("this pool is closed: nbdist.connect() opens one")

    def _resuming(self, spec: JobSpec, resume: Job | str | None) -> tuple[JobSpec, Earlier | None]:
        self._check_open()
        if resume is None:
            return spec, None
        earlier = earlier_of(self._engine, resume)
        return continuing(spec, earlier, has_seed=spec.options.seeded), earlier

    def _submit(self, job: Job, spec: JobSpec, items: Items, earlier: Earlier | None) -> Job:
        sweep()
        if not spec.each:
            spec = with_items(spec, items, job.inbox)
        job.begin(partial(self._engine.submit, spec, job.inbox.deliver))
        self._hold(job)
        if earlier is not None:
            try:
                job.take_over(earlier, spec.code)
            except BaseException:
                job.cancel("the results of the job that it resumes could not be read")
                raise
        return job.hand_out(self.address)

    def _hold(self, job: Job) -> Job:
        """Keeps what was sent along with the last few jobs, and the pool until this one has ended."""
        global last_job
        job.inbox.keeper = self
        self._recent.append(job.inbox)
        while len(self._recent) > RECENT_JOBS:
            self._recent.popleft().release()
        last_job = job
        return job


def _checked(task: Task, reduce: Callable[..., Any] | None, env: str | Iterable[str]) -> Task:
    """The task with these too. Raises TypeError and ValueError."""
    for function, what in ((task.keep_if, "keep_if"), (task.stop_when, "stop_when")):
        if function is not None:
            check_callable(function, what)
    return replace(task, reduce=task.reduce if reduce is None else reduce, env={**task.env, **checked_env(env)})
