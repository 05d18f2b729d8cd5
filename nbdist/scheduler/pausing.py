"""A job whose notebook does not take its results is paused: these wait on disk, and a disk is not for one job alone."""

from __future__ import annotations

from nbdist.scheduler.history import waits_for_notebook
from nbdist.scheduler.orders import ResultsWait
from nbdist.scheduler.policy import Policy
from nbdist.scheduler.records import Event, JobRecord, State
from nbdist.wire.messages import Notice


def results_wait(state: State, message: ResultsWait, now: float) -> None:
    """So much waits for the notebook of a job: it begins nothing new, or it goes on, or all stays as it is.

    What runs of a paused job, or waits at a slot, is finished, and its results are kept.
    """
    job = state.active.get(message.job)
    if job is None:
        return
    job.waiting_bytes = message.waiting_bytes
    may_wait, todo = _may_wait(message, state.policy)
    if not job.paused and message.waiting_bytes > may_wait:
        job.pause_todo = todo
        job.history.append(Event(now, "paused", 0, 0, note=waits_for_notebook(job)))
        state.send(job.owner, notice(job))
    elif job.paused and message.waiting_bytes <= may_wait * state.policy.resume_share:
        _resume(state, job, now)


def notice(job: JobRecord) -> Notice:
    """Tells the notebook of a paused job."""
    return Notice(job.id, "warning", f"job {job.id} is paused: {waits_for_notebook(job)}")


def _may_wait(message: ResultsWait, policy: Policy) -> tuple[int, str]:
    """How many bytes may wait, and what to do if there are more."""
    half = max(policy.least_results_bytes, (message.waiting_bytes + message.free_bytes) // 2)
    if half < policy.results_bytes:
        return half, "take them, or make room where the hub keeps them"
    return policy.results_bytes, "take them, or raise the hub's --results-limit"


def _resume(state: State, job: JobRecord, now: float) -> None:
    """The job goes on; what others have had while it could not does not give it precedence now."""
    job.pause_todo = ""
    others = [other.usage(now) for other in state.active.values() if other is not job and not other.paused]
    job.used_seconds = max(job.used_seconds, min(others, default=0.0))
    job.history.append(Event(now, "goes on", 0, 0))
    state.send(job.owner, Notice(job.id, "info", f"job {job.id} goes on: its results were taken"))
    state.look_everywhere = True
