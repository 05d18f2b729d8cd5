"""`%distribute debug [INDEX]`: runs one item of a job again, in the notebook's own process, under the debugger."""

from __future__ import annotations

import bdb
import os
from collections.abc import Mapping
from typing import Any, Protocol

from nbdist.client.job import Job
from nbdist.errors import NbdistError
from nbdist.execution import setups
from nbdist.execution.lending import lent
from nbdist.execution.random import Streams, enter
from nbdist.execution.task import Setup, Task
from nbdist.packing import fresh_setups, user_frames


class Debugger(Protocol):
    """What is used of `pdb.Pdb`."""

    def runcall(self, function: Any, /, *arguments: Any) -> Any: ...
    def reset(self) -> None: ...
    def interaction(self, frame: Any, traceback: Any) -> None: ...


def item_to_debug(job: Job, wanted: int | None) -> int:
    """The index that was asked for; without one the first item that failed, or else the first of all."""
    if wanted is None:
        return min((failure.index for failure in job.failures), default=0)
    if wanted < 0 or (job.total is not None and wanted >= job.total):
        raise NbdistError(f"job {job.name!r} has no item {wanted}: its items are 0 to {(job.total or 0) - 1}")
    return wanted


def debug_item(job: Job, index: int, debugger: Debugger) -> Any:
    """Calls the job's function with item `index` and the random numbers that it had; stops at its first line.

    An exception opens the debugger once more where it was raised. Gives the item's value, or None.
    """
    task = job.task
    item = job.item(index)
    streams = Streams(job.seed, [index])
    if job.options.seeded:
        streams.seed_globals()
    previous = enter(streams)
    try:
        with lent(os.environ, task.env), lent(setups.namespace_of(task.function), _set_up(task)):
            return debugger.runcall(task.function, *(item if task.star else (item,)))
    except bdb.BdbQuit:
        return None
    except Exception as error:  # noqa: BLE001 - whatever the item raises is what the person looks for
        print(f"{type(error).__name__}: {error}")
        debugger.reset()
        debugger.interaction(None, user_frames(error.__traceback__))
        return None
    finally:
        enter(previous)


def _set_up(task: Task) -> Mapping[str, Any]:
    """The names that the task's setups define; those that have not run in this process yet run now."""
    namespace = setups.namespace_of(task.function)

    def call(setup: Setup, names: Mapping[str, Any]) -> None:
        with lent(namespace, names):
            setup.function()

    return setups.here.run(fresh_setups(task.setups), call)
