"""A job's life: submitted, filled with items, cancelled, ended, forgotten."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from nbdist.errors import ProtocolError
from nbdist.scheduler import attempts, delivery, pausing, resuming, shares, versions
from nbdist.scheduler.history import progress
from nbdist.scheduler.orders import (
    STORES,
    BlobsReady,
    ItemsClosed,
    ItemsTaken,
    JobEnded,
    JobStopping,
    JobTaken,
    OwnerChanged,
    ReleaseJob,
    Resumption,
)
from nbdist.scheduler.records import Event, JobRecord, Phase, State, item_count
from nbdist.wire import needs
from nbdist.wire.messages import (
    AddItems,
    CancelJob,
    CloseItems,
    ForgetJob,
    JobFinished,
    Outcome,
    PortableTask,
    SubmitJob,
)


def submit(state: State, owner: str, spec: SubmitJob, now: float, resumption: Resumption | None = None) -> None:
    """A notebook hands in a job. The same job again changes nothing: the notebook did not hear the answer."""
    job = state.jobs.get(spec.job)
    if job is not None:
        if job.owner != owner:
            raise ProtocolError("a job of another notebook")
        restate(state, job)
        return
    total = _check(spec)
    job = JobRecord(
        spec=spec,
        owner=owner,
        submitted_at=now,
        total=total,
        available=total or 0 if spec.ranges else 0,
        history=deque(maxlen=state.policy.history_events),
    )
    job.used_seconds = min((other.usage for other in state.active.values()), default=0.0)
    job.pending.add(0, job.available)
    reason = resuming.take_over(state, job, resumption or Resumption(spec)) if spec.resumes else ""
    if reason:
        job.spec = replace(spec, resumes="")  # nothing is to be kept for it
    elif len(state.active) >= state.policy.max_jobs:
        reason = f"this hub has {len(state.active)} unfinished jobs already; cancel some"
    state.jobs[job.id] = job
    state.send(STORES, JobTaken(owner, job.spec))
    job.history.append(Event(now, "submitted", 0, job.available))
    if reason:
        end(state, job, "refused", now, reason=reason)
        return
    state.active[job.id] = job
    state.wake("notice", now + state.policy.notice_seconds)


def _check(spec: SubmitJob) -> int | None:
    """The number of items, if it is known. Raises ProtocolError if the job is not well formed."""
    if any(step == 0 for _, _, step in spec.ranges):
        raise ProtocolError("a range whose step is 0")
    try:
        needs.parse(spec.needs)
    except ValueError as error:
        raise ProtocolError(str(error)) from None
    options = spec.options
    if options.task_size < 0 or options.retries < 0 or (spec.total or 0) < 0:
        raise ProtocolError("a job with a negative number")
    if spec.each and (spec.ranges or spec.total is not None):
        raise ProtocolError("a job for each machine has no items")
    if not spec.ranges:
        return spec.total
    try:
        total = item_count(spec.ranges)
    except OverflowError:
        raise ProtocolError("a range with more than 2**62 items") from None
    if spec.total not in (None, total):
        raise ProtocolError(f"a job whose ranges have {total} items claims {spec.total}")
    if total >= 2**62:
        raise ProtocolError("a job with more than 2**62 items")
    return total


def change_owner(state: State, message: OwnerChanged, now: float) -> None:
    """Another notebook has taken the job over."""
    job = state.jobs.get(message.job)
    if job is not None:
        job.owner, job.orphaned_at = message.owner, None
        job.told_at, job.told_left_out = -1.0, False  # it knows nothing yet
        state.send(STORES, message)
        if job.alive and job.portable is None:
            versions.go_on(state, job, now)


def restate(state: State, job: JobRecord) -> None:
    """Tells a notebook that came back how its job stands."""
    job.orphaned_at = None
    if job.phase is Phase.ENDED:
        state.send(job.owner, _finished(job))
    elif job.paused:
        state.send(job.owner, pausing.notice(job))


def blobs_ready(state: State, message: BlobsReady, now: float) -> None:
    """Everything that the job needs is at the hub."""
    job = state.jobs.get(message.job)
    if job is None or job.phase is not Phase.WAITING:
        return
    job.phase = Phase.RUNNING
    if job.spec.each and not job.targets:
        shares.add_targets(state, job, state.workers.values())
    for worker in state.workers.values():
        shares.prepare(state, job, worker, now)
    if job.complete and job.alive:
        end(state, job, "done", now)


def broken(what: str) -> str:
    """Why a job ends whose notebook breaks the protocol in what concerns that job alone."""
    return f"its notebook broke the protocol: {what}; run it again, and if that happens again report it as a bug"


def add_items(state: State, owner: str, message: AddItems, now: float, size: int) -> None:
    """More items have arrived. What makes no sense ends the job, and nothing else."""
    job = _own(state, owner, message.job)
    if job is None or not job.alive:
        return
    stop = message.start + message.count
    if message.count >= 1 and message.start < job.available and stop <= job.available:
        return  # sent again after a reconnect
    if message.start != job.available or message.count < 1 or job.spec.ranges or job.spec.each:
        cancel(state, job, broken(f"items [{message.start}, {stop}) came for a job that has {job.available}"), now)
        return
    if stop > (stop if job.total is None else job.total):
        cancel(state, job, broken(f"more items came than the {job.total} that the job has"), now)
        return
    if reason := resuming.mismatch(job, stop, is_last=False):
        cancel(state, job, reason, now)
        return
    job.blocks.add(message.start, stop, size, message.blobs)
    job.available = stop
    state.send(STORES, ItemsTaken(job.id, message.start, stop, size, message.blobs, message.native))
    if message.native:
        versions.only_here(state, job, message.native, now)
    if message.blobs:
        job.largest_block = max(job.largest_block, sum(ref.size for ref in message.blobs))
        shares.widen_window(state, job)
    job.pending.add(message.start, stop)
    state.look_everywhere = True
    taken = resuming.arrive(job, message.start, stop)
    for first, behind in taken:
        job.pending.remove(first, behind)
        delivery.finish_items(state, job, first, behind, exclusive=True, now=now)
    if taken:
        delivery.end_if_complete(state, job, now)


def close_items(state: State, owner: str, message: CloseItems, now: float) -> None:
    """The notebook says how many items there are. What makes no sense ends the job, and nothing else."""
    job = _own(state, owner, message.job)
    if job is None or not job.alive:
        return
    if message.total != job.available or job.spec.ranges or job.spec.each:
        cancel(state, job, broken(f"a job with {job.available} items was closed at {message.total}"), now)
        return
    if reason := resuming.mismatch(job, message.total, is_last=True):
        cancel(state, job, reason, now)
        return
    job.total = message.total
    state.send(STORES, ItemsClosed(job.id, message.total))
    if job.complete and job.phase is Phase.RUNNING:
        end(state, job, "done", now)


def cancel(state: State, job: JobRecord, reason: str, now: float) -> None:
    """Stops what runs of the job; it ends once the workers have confirmed that, or after `stop_seconds`."""
    if not job.alive:
        return
    state.active.pop(job.id, None)
    state.stopping[job.id] = job
    job.phase = Phase.STOPPING
    job.stop_reason = reason
    job.stop_by = now + state.policy.stop_seconds
    state.send(STORES, JobStopping(job.id, reason))
    job.history.append(Event(now, "cancelled", 0, job.available, note=reason))
    for attempt in list(job.attempts.values()):
        attempts.cancel(state, attempt)
    job.pending.clear()
    state.wake("stopping", job.stop_by)


def cancel_by_message(state: State, message: CancelJob, now: float) -> None:
    """Any notebook of the hub may cancel any of its jobs."""
    job = state.jobs.get(message.job)
    if job is not None:
        cancel(state, job, message.reason, now)


def end_stopped(state: State, now: float) -> None:
    """Ends the cancelled jobs of which nothing runs any more."""
    for job in list(state.stopping.values()):
        if not job.attempts or now >= job.stop_by:
            reason = job.stop_reason
            if job.attempts:
                machines = ", ".join(sorted({attempt.worker.name for attempt in job.attempts.values()}))
                reason = f"{reason} (not confirmed yet by {machines})".strip()
            end(state, job, "cancelled", now, reason=reason)
        else:
            state.wake("stopping", job.stop_by)


def wait_again(state: State, now: float) -> None:
    """Word that what was cancelled has stopped could not be heard until now: it may come as long again."""
    for job in state.stopping.values():
        job.stop_by = now + state.policy.stop_seconds


def end(
    state: State, job: JobRecord, outcome: Outcome, now: float, *, reason: str = "", stopped_at: int | None = None
) -> None:
    """The job is over: what still runs of it is cancelled, and the notebook is told."""
    state.active.pop(job.id, None)
    state.stopping.pop(job.id, None)
    job.phase = Phase.ENDED
    job.outcome, job.stopped_at, job.stop_reason, job.ended_at = outcome, stopped_at, reason, now
    job.pending.clear()
    job.history.append(Event(now, outcome, 0, job.available, note=reason))
    shares.rate_workers(job)
    if job.owner in state.notebooks:
        state.send(job.owner, progress(state, job, now))
    state.send(STORES, JobEnded(_finished(job)))
    state.send(job.owner, _finished(job))
    for attempt in list(job.attempts.values()):
        attempts.cancel(state, attempt)
    if not job.attempts:
        attempts.forget_on_workers(state, job)
    _forget_old_jobs(state)


def _finished(job: JobRecord) -> JobFinished:
    assert job.outcome is not None
    return JobFinished(job.id, job.outcome, job.seq, job.total, job.stop_reason, job.stopped_at)


def portable_task(state: State, owner: str, message: PortableTask, now: float) -> None:
    """The notebook says what there is of the job for other versions of Python."""
    versions.taken(state, _own(state, owner, message.job), message, now)


def forget(state: State, owner: str, message: ForgetJob, now: float) -> None:
    """The notebook needs nothing of the job any more."""
    job = _own(state, owner, message.job)
    if job is None:
        return
    if job.alive:
        cancel(state, job, "forgotten by its notebook", now)
    state.send(STORES, ForgetJob(job.id))


def _forget_old_jobs(state: State) -> None:
    """Keeps the memory of ended jobs bounded; their results went with `ForgetJob`, or go once they are fetched."""
    ended = [job for job in state.jobs.values() if job.phase is Phase.ENDED and not job.attempts]
    for job in ended[: max(0, len(ended) - state.policy.kept_jobs)]:
        del state.jobs[job.id]
        state.send(STORES, ReleaseJob(job.id))


def _own(state: State, owner: str, job_id: str) -> JobRecord | None:
    """The notebook's job; None if it is not known (any more). Raises ProtocolError if it is another's."""
    job = state.jobs.get(job_id)
    if job is not None and job.owner != owner:
        raise ProtocolError("a job of another notebook")
    return job
