"""A hub that is started anew takes up its jobs where they stood; one whose disk is full begins nothing new."""

from __future__ import annotations

from collections import deque

from nbdist.scheduler import delivery, jobs
from nbdist.scheduler.intervals import Intervals
from nbdist.scheduler.orders import KeptJob, Restarted, StoresFull
from nbdist.scheduler.records import Event, JobRecord, Phase, State
from nbdist.scheduler.resuming import Taken


def restore(state: State, kept: KeptJob, now: float) -> None:
    """Takes a job up. It waits for its blobs, as a new one does, even if they are all here."""
    job = JobRecord(
        spec=kept.spec,
        owner=kept.owner,
        submitted_at=now - kept.age_seconds,
        total=kept.total,
        available=kept.available,
        history=deque(maxlen=state.policy.history_events),
        done=Intervals(kept.done),
        taken=Taken(Intervals(kept.ahead), kept.resumed_total, Intervals(kept.again)),
        failed_items=kept.failed_items,
        seq=kept.seq,
        begun=bool(kept.seq),
        portable=kept.portable,
        native=next((block.native for block in kept.blocks if block.native), ""),
        orphaned_at=now,
    )
    state.jobs[job.id] = job
    job.history.append(Event(now, "taken up by a hub that was started anew", 0, job.available))
    if kept.finished is not None:
        job.phase, job.ended_at = Phase.ENDED, now - kept.ended_seconds
        job.outcome, job.stop_reason = kept.finished.outcome, kept.finished.reason
        job.stopped_at = kept.finished.stopped_at
        return
    state.active[job.id] = job
    state.wake("notice", now + state.policy.notice_seconds)
    state.wake("orphans", now + state.policy.orphan_seconds)
    job.targets = {target: item for item, target in enumerate(kept.targets)}
    for block in kept.blocks:
        job.blocks.add(block.start, block.stop, block.size, block.blobs)
        job.largest_block = max(job.largest_block, sum(ref.size for ref in block.blobs))
    job.window_bytes = state.policy.max_window_bytes  # the notebook may have been granted so much
    for start, stop in job.done:
        job.blocks.finish(start, stop)
    for start, stop in job.done.gaps(0, job.available):
        job.pending.add(start, stop)
    _recount(state, job, kept)
    _end_if_over(state, job, kept, now)


def _recount(state: State, job: JobRecord, kept: KeptJob) -> None:
    """What items have done before is still held against them."""
    for tried in kept.tried:
        counts = ((job.crashes, tried.crashes), (job.losses, tried.losses), (job.failures, tried.failures))
        for count, number in counts:
            if number:
                count[tried.item] = number
        if tried.crashes or tried.losses >= state.policy.losses_before_alone:
            job.alone.add(tried.item)


def _end_if_over(state: State, job: JobRecord, kept: KeptJob, now: float) -> None:
    """The hub died between what ended the job and the word of that."""
    if kept.stopping is not None:
        jobs.end(state, job, "cancelled", now, reason=kept.stopping.reason)
    elif kept.stopped_at is not None:
        jobs.end(state, job, "stopped", now, stopped_at=kept.stopped_at)
    elif kept.first_failed is not None and job.spec.options.on_error == "stop":
        jobs.end(state, job, "failed", now, reason=f"item {kept.first_failed} failed")
    elif job.complete:
        jobs.end(state, job, "done", now)


def restarted(state: State, message: Restarted, now: float) -> None:
    """Nothing is given out until the workers that were here have said what they still work on, or for a while."""
    if state.active and message.workers:
        state.awaited = set(message.workers)
        state.wake("settle", now + state.policy.settle_seconds)


def stores_full(state: State, message: StoresFull) -> None:
    """Running slices go on, and wait with their results; nothing new is begun until these can be kept."""
    state.stores_full = message.is_full
    state.look_everywhere = True


def heard_facts(state: State, worker: str) -> None:
    """One of those that are awaited is back, or gone for good."""
    state.awaited.discard(worker)
    if not state.awaited:
        state.look_everywhere = True


def settle(state: State, now: float) -> None:
    """Who is not back by now is not waited for; items that were meant for these machines alone have no value."""
    for worker in sorted(state.awaited):
        for job in list(state.active.values()):
            delivery.fail_targets(state, job, worker, worker, "the machine has not come back", now)
    state.awaited.clear()
    state.look_everywhere = True
