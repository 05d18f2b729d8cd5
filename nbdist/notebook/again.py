"""A cell that is run again: by its key, the pool may know a job that has done the same, or is at it."""

from __future__ import annotations

from typing import Any, NamedTuple

from nbdist.client.analysis.identity import items_key, job_key
from nbdist.client.attaching import Found
from nbdist.client.job import Job
from nbdist.client.tofile.job import FileJob
from nbdist.errors import NbdistError
from nbdist.notebook.cell import Cell, CellJob

FETCH_SECONDS = 60.0
"""Known results that do not come within so long are computed again."""
ID_CHARS = 4
"""Of a job's id; `%distribute attach` takes its beginning."""
_CHANGE_VALUES = ("filters", "stop_when", "task_size", "on_error", "seed")
"""Options of `Pool.run_task` with which the same functions give other values."""


class Keys(NamedTuple):
    """What the job of a cell is found by; empty: it is not."""

    key: str = ""
    items_key: str = ""


NO_KEYS = Keys()


def keys_of(cell: Cell, job: CellJob) -> Keys:
    """The keys of a cell's job. A cell that is run for its effect has none."""
    if not cell.loops or cell.each or cell.body.value is None:
        return NO_KEYS
    of_items = items_key(job.source)
    if of_items is None:
        return NO_KEYS
    options = {name: value for name, value in job.options.items() if name in _CHANGE_VALUES}
    if "files" in job.options:
        options["files"] = True  # wherever they go: the job has them
    return Keys(job_key(job.task, job.source, of_items=of_items, **options) or "", of_items)


def find(pool: Any, job: CellJob, key: str) -> Found | None:
    """The job of the same cell: one that goes on, or one whose results are here now; None if there is none."""
    try:
        found: Found | None = pool.find(
            key,
            job.task,
            ranges=job.ranges or None,
            iterable=job.iterable,
            total=job.total,
            loop_names=job.loop_names,
            files=job.options.get("files"),
            to=job.options.get("to"),
            stats=job.options.get("stats", False),
        )
    except NbdistError:
        return None  # to submit the job says what is wrong, and waits if that helps
    return found if found is None or found.ended_seconds is None or _is_usable(found.job) else None


def story(found: Found) -> str:
    """The line that tells what a cell shows."""
    name = f"job {found.job.id[:ID_CHARS]}…"
    if found.ended_seconds is None:
        return f"this cell's {name} still runs: attached to it"
    return f"same cell as {name} ({ago(found.ended_seconds)}): its results, not computed again; --fresh computes them"


def ago(seconds: float) -> str:
    """`5 seconds ago`, `12 minutes ago`, `3 hours ago`."""
    for size, unit in ((3600.0, "hour"), (60.0, "minute"), (1.0, "second")):
        count = int(seconds / size)
        if count:
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"


def is_nothing(result: Any) -> bool:
    """Whether a body ended in a call for its effect, `time.sleep(1)`, say: all its values are None."""
    return isinstance(result, list) and bool(result) and all(value is None for value in result)


def _is_usable(job: Job) -> bool:
    """Whether the results of a job that has ended are all here, and are what a person may want to see again."""
    try:
        return not is_nothing(job.result(None if isinstance(job, FileJob) else FETCH_SECONDS))  # a file takes its time
    except Exception:  # noqa: BLE001 - they may be gone, or not be unpacked here, which runs user code
        return False
