"""Takes over a job whose notebook has gone: its view, its results, and what they are folded with."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from nbdist.client.homecoming import Homecoming
from nbdist.client.items import Items, RangeItems, UnknownItems
from nbdist.client.job import Job
from nbdist.client.options import Reduction
from nbdist.client.tofile.job import FileJob
from nbdist.client.tofile.part import facts_at
from nbdist.client.tofile.target import Target, check_options, checked_target
from nbdist.engines.base import Attached, Engine, JobSpec
from nbdist.errors import NbdistError, PackingError
from nbdist.execution.task import Task
from nbdist.packing import load_task


@dataclass(frozen=True)
class SameCell:
    """What a cell has that is run again: it need not be fetched from the job."""

    task: Task
    items: Items
    loop_names: tuple[str, ...] = ()
    files: Homecoming | None = None
    target: Target | None = None
    """Where its values go."""


@dataclass(frozen=True)
class Found:
    """A job that computes, or has computed, what another one would."""

    job: Job
    ended_seconds: float | None
    """So long ago it ended; None: it goes on."""


def find(engine: Engine, key: str, cell: SameCell) -> Found | None:
    """The job with this key, attached to; None if there is none. Raises NbdistError if the pool does not answer."""
    job_id = engine.find(key)
    if not job_id:
        return None
    try:
        attached = engine.attach(job_id)
    except NbdistError:
        return None  # it went, or somebody else has it, since it was found
    spec = replace(attached.spec, task=cell.task)
    job = job_of(spec, cell.items, Reduction.of(cell.task.reduce), cell.target, cell.loop_names, cell.files)
    job.begin(lambda: attached.take_over(job.inbox.deliver, cell.files, job.begins_after))
    return Found(job, attached.ended_seconds)


def job_of(
    spec: JobSpec,
    items: Items,
    reduction: Reduction | None,
    target: Target | None,
    loop_names: tuple[str, ...] = (),
    files: Homecoming | None = None,
) -> Job:
    """A job whose values go into memory, or to a file; what its items write goes to `files`.

    Raises NbdistError if the file cannot be written.
    """
    if target is None:
        return Job(spec, items, reduction, loop_names=loop_names, home=files)
    return FileJob(spec, items, target, loop_names=loop_names, home=files)


def attach(engine: Engine, job_id: str, target: Target | None = None, files: Homecoming | None = None) -> Job:
    """The job, from its first result on, or from what is in its file on.

    Raises NbdistError with the reason if that cannot be done.

    Names of loop variables, and the items of a job that were no numbers, went with the notebook.
    """
    attached = engine.attach(job_id)
    if target is None:
        target = _continued(attached)
    else:
        check_options(target, attached.spec.options, each=attached.spec.each)
    job = job_of(attached.spec, _items(attached), _reduction(attached), target, files=files)
    job.begin(lambda: attached.take_over(job.inbox.deliver, files, job.begins_after))
    if attached.earlier is not None:
        job.take_over(attached.earlier, attached.spec.code)
    if attached.spec.total is None and not attached.spec.each:
        warnings.warn(
            f"the notebook that made the items of job {job_id} has gone: it ends with those {attached.available} that "
            "have come",
            RuntimeWarning,
            stacklevel=3,
        )
    return job


def _continued(attached: Attached) -> Target | None:
    """The file that the job's results went to, if what there is of it is here."""
    if not attached.spec.to:
        return None
    with contextlib.suppress(ValueError):
        target = checked_target(attached.spec.to)
        assert target is not None
        facts = facts_at(target)
        if facts.get("job") == attached.spec.job:
            return replace(target, stats=bool(facts.get("stats")))
    warnings.warn(
        f"the results of job {attached.spec.job} went to {attached.spec.to}, and nothing unfinished of that is here: "
        "they come into memory now; attach with to= for a file",
        RuntimeWarning,
        stacklevel=4,
    )
    return None


def _items(attached: Attached) -> Items:
    if attached.spec.ranges:
        return RangeItems([range(*numbers) for numbers in attached.spec.ranges])
    return UnknownItems(attached.spec.total)


def _reduction(attached: Attached) -> Reduction | None:
    if not attached.spec.options.reduce:
        return None
    with tempfile.TemporaryDirectory(prefix="nbdist-attach-") as folder:
        try:
            task = load_task(*attached.task(Path(folder)))
        except (NbdistError, OSError):
            raise
        except Exception as error:
            raise PackingError(f"what the values are folded with cannot be loaded here: {error}") from error
    return Reduction.of(task.reduce)
