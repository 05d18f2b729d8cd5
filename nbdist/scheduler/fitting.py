"""Which machines take part in a job, which do not and why: the table, and the line under the cell."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from nbdist.scheduler.fit import Unfit, unfit
from nbdist.scheduler.packages import Comparison, Gap, Listing, compare, told
from nbdist.scheduler.portable import obstacle
from nbdist.scheduler.reasons import MAX_REASON, grouped
from nbdist.scheduler.records import JobRecord, ShareState, State, WorkerRecord
from nbdist.wire import needs
from nbdist.wire.messages import Notice, Package, SubmitJob

_NOTHING_KNOWN = Comparison()


class FitRow(NamedTuple):
    """One machine's row of the table."""

    machine: str
    fits: bool
    reason: str
    """Why it does not fit, what it installs first, or what differs there and need not matter."""
    todo: str = ""

    @property
    def text(self) -> str:
        """The row in a few words."""
        todo = f" ({self.todo})" if self.todo else ""
        return f"{'fits' if self.fits else 'left out'}{': ' if self.reason else ''}{self.reason}{todo}"


def problem(job: JobRecord, worker: WorkerRecord, *, has_notebook: bool = True) -> Unfit | None:
    """Why the worker cannot run the job, as far as is known without asking it; None: nothing is known against it.

    `has_notebook`: the job's notebook is here, which may have its code as source for other versions of Python.
    """
    found = unfit(job.spec, candidate(worker)) or obstacle(job, worker, has_notebook=has_notebook)
    if found is not None or worker.hello.machine.installs:
        return found
    packages = _packages(job.spec, worker.listing)
    return Unfit(packages.reason, packages.todo) if packages.lacking else None


def to_install(spec: SubmitJob, worker: WorkerRecord) -> tuple[Package, ...]:
    """What a worker that installs must have in an environment for this job; nothing if its own will do."""
    if not worker.hello.machine.installs or not _packages(spec, worker.listing).lacking:
        return ()
    return spec.packages


def installing(spec: SubmitJob, worker: WorkerRecord) -> str:
    """What that is for, in words."""
    lacking = _packages(spec, worker.listing).lacking if worker.hello.machine.installs else []
    return f"installing {told(lacking)}" if lacking else ""


def candidate(worker: WorkerRecord) -> needs.Candidate:
    """What needs are held against."""
    return needs.Candidate(worker.name, len(worker.slots), worker.hello.machine)


def row(job: JobRecord, worker: WorkerRecord) -> FitRow:
    """Whether a machine fits a job: what it has said itself counts more than what is known of it."""
    share = job.shares.get(worker.id)
    if share is not None and share.state is ShareState.REFUSED:
        return FitRow(worker.name, False, share.reason[:MAX_REASON], share.todo[:MAX_REASON])
    against = problem(job, worker)
    if against is not None:
        return FitRow(worker.name, False, against.reason[:MAX_REASON], against.todo[:MAX_REASON])
    note = installing(job.spec, worker) or _packages(job.spec, worker.listing).note()
    return FitRow(worker.name, True, note[:MAX_REASON])


def table(state: State, job: JobRecord) -> list[FitRow]:
    """A row for each machine that is here, by name."""
    here = [worker for worker in state.workers.values() if worker.stated and not worker.leaving]
    return sorted(row(job, worker) for worker in here)


def tell(state: State, job: JobRecord) -> None:
    """Tells the notebook which machines its job does without, and where versions differ; not what its needs chose."""
    here = [worker for worker in state.workers.values() if worker.stated and not worker.leaving]
    notice = summary(job, here) if job.alive else None
    if notice is not None:
        state.send(job.owner, notice)


def summary(job: JobRecord, workers: Iterable[WorkerRecord]) -> Notice | None:
    """The line; None if all fit and have what the notebook has, or if none fits, which is told elsewhere."""
    count, left_out, differing = 0, [], []
    for worker in workers:
        share = job.shares.get(worker.id)
        is_in = share is not None and share.state is not ShareState.REFUSED
        if is_in and not job.spec.packages:
            count += 1
            continue
        if job.spec.needs and needs.unmet(job.spec.needs, candidate(worker)):
            continue
        count += 1
        found = row(job, worker)
        if not found.fits:
            left_out.append(found)
        elif note := _packages(job.spec, worker.listing).note(Gap.MINOR):
            differing.append(found._replace(reason=note[:MAX_REASON]))
    if len(left_out) == count or not (left_out or differing):
        return None
    parts = [f"{count - len(left_out)} of {count} machines fit: {_grouped(left_out)}"] if left_out else []
    parts += [f"taking part with other versions: {_grouped(differing)}"] if differing else []
    return Notice(job.id, "warning" if left_out else "info", "; ".join(parts))


def _packages(spec: SubmitJob, listing: Listing | None) -> Comparison:
    if not spec.packages or listing is None:
        return _NOTHING_KNOWN
    return _compared(spec.packages, listing, needs.versions(spec.needs))


_compared = lru_cache(maxsize=512)(compare)
"""Most machines of a pool have the same list, and most jobs of a notebook the same packages."""


def _grouped(rows: Iterable[FitRow]) -> str:
    return grouped((each.reason + (f" ({each.todo})" if each.todo else ""), each.machine) for each in sorted(rows))
