"""A job that resumes an ended one: what is done there is done here too, and only the rest is pending.

Results stay where they are: the stores keep the earlier job's for as long as the new one is known. `kept.py` finds the
same from the journal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nbdist.scheduler.intervals import Intervals
from nbdist.wire import resuming
from nbdist.wire.messages import Result
from nbdist.wire.resuming import Shape

if TYPE_CHECKING:
    from nbdist.scheduler.orders import Resumption
    from nbdist.scheduler.records import JobRecord, State

MAX_AGAIN_RUNS = 100_000
"""A job with more separate failures is not resumed: remembering each takes memory."""

Ranges = Iterable[tuple[int, int]]


@dataclass(slots=True, eq=False)
class Taken:
    """What a job has from earlier ones, and what it would not leave to a later one."""

    ahead: Intervals = field(default_factory=Intervals)
    """Done by earlier jobs, and not among the items that have arrived. Of ranges there are none."""
    total: int | None = None
    """How many items the earlier jobs had, if that is known."""
    again: Intervals = field(default_factory=Intervals)
    """Items with a result that a job which resumes this one runs again: those that failed."""


def note_again(again: Intervals, result: Result, *, folds: bool) -> None:
    """Takes note of what of a result is to be run again, within the bound."""
    if again.runs < MAX_AGAIN_RUNS:
        for start, stop in resuming.again(result, folds=folds):
            again.add(start, stop)


def takeable(done: Ranges, ahead: Ranges, again: Ranges, lost: Ranges) -> Intervals:
    """What a later job takes over from one of which this is known. `lost`: the results are not kept any more."""
    taken = Intervals(done)
    for start, stop in ahead:
        taken.add(start, stop)
    return taken.without(again).without(lost)


def left(job: JobRecord) -> int | None:
    """How many items a job would run that resumes this one; None: that is not known."""
    total = job.total if job.total is not None else job.taken.total
    if total is None:
        return None
    return total - job.finished_items + job.taken.again.count


def take_over(state: State, job: JobRecord, resumption: Resumption) -> str:
    """Gives a new job what the one has done that it resumes. If it cannot resume that, gives the reason."""
    old = state.jobs.get(job.spec.resumes)
    if resumption.problem or old is None:
        return resumption.problem or resuming.unknown(job.spec.resumes)
    if old.taken.again.runs >= MAX_AGAIN_RUNS:
        return f"job {old.id} has more than {MAX_AGAIN_RUNS:,} failures: run it anew, without --resume"
    taken = takeable(old.done, old.taken.ahead, old.taken.again, resumption.lost)
    total = old.total if old.total is not None else old.taken.total
    reason = resuming.refusal(
        _shape(job, job.total, job.available),
        _shape(old, total, max(old.available, end(taken))),
        old.id,
        old.outcome or "",
        None if total is None else total - taken.count,
    )
    if not reason:
        job.taken.ahead, job.taken.total = taken, total
        for start, stop in arrive(job, 0, job.available):
            job.pending.remove(start, stop)
    return reason


def _shape(job: JobRecord, total: int | None, available: int) -> Shape:
    spec = job.spec
    return Shape(spec.options, spec.ranges, total, available, spec.each, spec.items_key)


def arrive(job: JobRecord, start: int, stop: int) -> list[tuple[int, int]]:
    """Items have come: those that earlier jobs have done are done now; gives them."""
    if not job.taken.ahead:
        return []
    ranges = job.taken.ahead.within(start, stop)
    for a, b in ranges:
        job.done.add(a, b)
    job.taken.ahead.remove(start, stop)
    return ranges


def mismatch(job: JobRecord, stop: int, *, is_last: bool) -> str:
    """Why items up to `stop`, all of them if `is_last`, cannot be those that the earlier jobs had; or empty."""
    total = job.taken.total
    if total is not None and (stop > total or (is_last and stop != total)):
        more = "" if is_last else " or more"
        return f"job {job.spec.resumes}, which it resumes, had {total:,} items, and now {stop:,}{more} came; {_TODO}"
    if is_last and job.taken.ahead:
        had = end(job.taken.ahead)
        return f"job {job.spec.resumes}, which it resumes, had {had:,} items or more, and now {stop:,} came; {_TODO}"
    return ""


_TODO = "a job can be resumed with its own items only: run it anew, without --resume"


def end(ranges: Intervals) -> int:
    """The index behind the last item."""
    return max((stop for _, stop in ranges), default=0)
