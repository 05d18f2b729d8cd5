"""The bookkeeping of attempts: they begin, are cut, cancelled and end; what they leave undone is pending again."""

from __future__ import annotations

from nbdist.scheduler.records import AttemptRecord, Event, JobRecord, Phase, State, WorkerRecord
from nbdist.scheduler.timeline import Bar, BarOutcome
from nbdist.wire.messages import CancelAttempt, ForgetJob, RunSlice


def begin(
    state: State,
    job: JobRecord,
    worker: WorkerRecord,
    slot: int,
    start: int,
    stop: int,
    now: float,
    kind: str = "given",
) -> AttemptRecord:
    """Gives `[start, stop)` to a slot, to run or to wait there."""
    speed = job.shares[worker.id].speed
    blobs = job.blocks.blobs(start, stop) if job.blocks else ()
    attempt = AttemptRecord(
        key=state.next_attempt(),
        job=job,
        worker=worker,
        slot=slot,
        start=start,
        stop=stop,
        expected_seconds=(stop - start) / speed if speed else 0.0,
        reported=start,
        reported_at=now,
        item=start,
        fetching=bool(blobs),
    )
    enter(state, attempt)
    job.pending.remove(start, stop)
    job.begun = True
    job.history.append(Event(now, kind, start, stop, worker.name, slot))
    state.send(worker.id, RunSlice(job.id, attempt.key, slot, start, stop, blobs))
    return attempt


def enter(state: State, attempt: AttemptRecord) -> None:
    """Puts an attempt into all indices."""
    state.attempts[attempt.key] = attempt
    attempt.job.attempts[attempt.key] = attempt
    attempt.job.in_flight_seconds += attempt.expected_seconds
    place = (attempt.worker.id, attempt.slot)
    slot = attempt.worker.slots[attempt.slot]
    if slot.running is None:
        slot.running = attempt
        attempt.running = True
        attempt.began_at = attempt.reported_at
        state.idle.pop(place, None)
        if slot.waiting is None and not attempt.worker.leaving:
            state.thin[place] = None
    else:
        slot.waiting = attempt
        state.thin.pop(place, None)


def begun(attempt: AttemptRecord, now: float) -> None:
    """Its blobs have come, its setups have run, and its slot has begun it."""
    if attempt.is_early:
        attempt.fetching = attempt.setting_up = False
        attempt.reported_at = now


def end(state: State, attempt: AttemptRecord, now: float, outcome: BarOutcome | None = None) -> None:
    """The attempt is over: the slot goes on with what waits there, unreported items are pending again.

    `outcome`: how, unless its items are all there or it was told to stop.
    """
    if attempt.running:
        _draw(attempt, now, outcome)
    del state.attempts[attempt.key]
    del attempt.job.attempts[attempt.key]
    attempt.job.in_flight_seconds -= attempt.expected_seconds
    _leave_slot(state, attempt, now)
    if not attempt.cancelled:
        release(state, attempt, attempt.reported, attempt.stop)
    if not attempt.job.attempts and attempt.job.phase is Phase.ENDED:
        forget_on_workers(state, attempt.job)


def _draw(attempt: AttemptRecord, now: float, outcome: BarOutcome | None) -> None:
    if outcome is None:
        outcome = "cancelled" if attempt.reported < attempt.stop else "failed" if attempt.failed else "done"
    began, ended = (when - attempt.job.submitted_at for when in (attempt.began_at, now))
    bar = Bar(attempt.start, attempt.reported, began, ended, ended - began, 1, outcome, int(attempt.copy))
    attempt.job.timeline.add((attempt.worker.name, attempt.slot), bar)


def _leave_slot(state: State, attempt: AttemptRecord, now: float) -> None:
    worker = attempt.worker
    slot = worker.slots[attempt.slot]
    place = (worker.id, attempt.slot)
    if slot.waiting is attempt:
        slot.waiting = None
    else:
        slot.running, slot.waiting = slot.waiting, None
        if slot.running is not None:
            slot.running.running = True
            slot.running.reported_at = slot.running.began_at = now
    if worker.leaving:
        return
    if slot.running is None:
        state.thin.pop(place, None)
        state.idle[place] = None
    else:
        state.thin[place] = None
    state.look[place] = None


def cut(state: State, attempt: AttemptRecord, stop: int) -> None:
    """The attempt gives back what it has from `stop` on."""
    stop = max(stop, attempt.reported)
    if stop < attempt.stop:
        old, attempt.stop = attempt.stop, stop
        if not attempt.cancelled:
            release(state, attempt, stop, old)


def cancel(state: State, attempt: AttemptRecord) -> None:
    """Tells the worker to stop it. Its items are pending again at once; its slot is free when the worker says so."""
    if attempt.cancelled:
        return
    attempt.cancelled = True
    state.send(attempt.worker.id, CancelAttempt(attempt.key))
    release(state, attempt, attempt.reported, attempt.stop)


def release(state: State, attempt: AttemptRecord, start: int, stop: int) -> None:
    """Makes those of `[start, stop)` pending that are not done and that no other attempt works on."""
    job = attempt.job
    if start >= stop or not job.alive:
        return
    ranges = job.done.gaps(start, stop)
    for other in others(attempt):
        ranges = [piece for a, b in ranges for piece in _without(a, b, other.reported, other.stop)]
    for a, b in ranges:
        job.pending.add(a, b)
    if state.idle:
        state.look_everywhere = True


def others(attempt: AttemptRecord) -> list[AttemptRecord]:
    """Live attempts that may work on the same items: there are some only while an item has a copy."""
    if not (attempt.copy or attempt.copied):
        return []
    live = attempt.job.attempts.values()
    return [other for other in live if other is not attempt and not other.cancelled and (other.copy or other.copied)]


def overlapping(job: JobRecord, start: int, stop: int) -> list[AttemptRecord]:
    """Live attempts that work on any of `[start, stop)`."""
    return [a for a in job.attempts.values() if not a.cancelled and a.reported < stop and start < a.stop]


def forget_on_workers(state: State, job: JobRecord) -> None:
    """Nothing of the job runs any more: the workers may drop its task."""
    for worker in job.shares:
        if worker in state.workers:
            state.send(worker, ForgetJob(job.id))
    job.shares.clear()


def _without(start: int, stop: int, other_start: int, other_stop: int) -> list[tuple[int, int]]:
    """`[start, stop)` less `[other_start, other_stop)`."""
    if other_stop <= start or stop <= other_start:
        return [(start, stop)]
    return [(a, b) for a, b in ((start, other_start), (other_stop, stop)) if a < b]
