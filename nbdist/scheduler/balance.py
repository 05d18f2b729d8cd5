"""Work for idle slots when nothing is pending: waiting slices are recalled, running ones trimmed, last items copied."""

from __future__ import annotations

from typing import NamedTuple

from nbdist.scheduler import attempts
from nbdist.scheduler.records import AttemptRecord, Event, JobRecord, Phase, Place, ShareState, State
from nbdist.wire.messages import SliceCut, TrimSlice


def balance(state: State, now: float, *, is_news: bool) -> None:
    """Lets idle slots take over what others would finish later.

    `is_news`: something has happened; not only time has passed. Then every job is looked at again as soon as its pause
    is over, otherwise after a while.
    """
    if not state.idle:
        return
    for job in sorted(state.active.values(), key=lambda job: job.usage(now)):
        if job.phase is not Phase.RUNNING or job.targets or job.paused:
            continue
        if job.pending:
            _look_again(state, job, now)
            continue
        if not job.attempts:
            continue
        if now < job.next_balance_at:
            job.has_news = job.has_news or is_news
            state.wake("balance", job.next_balance_at if job.has_news else job.balance_again_at)
            continue
        helpers = _helpers(state, job)
        if helpers:
            _balance_job(state, job, helpers, now)
            pause = len(job.attempts) * state.policy.balance_seconds_per_attempt
            job.next_balance_at = now + pause
            job.balance_again_at = now + max(pause, state.policy.balance_retry_seconds)
            job.has_news = False
            state.wake("balance", job.balance_again_at)


def _look_again(state: State, job: JobRecord, now: float) -> None:
    """The last items are left to faster slots for a while, although this job has idle ones: not for ever."""
    if job.remaining < 2 * job.ready_slots and any(_is_ready(job, place) for place in state.idle):
        state.wake("balance", now + state.policy.balance_retry_seconds)


def _helpers(state: State, job: JobRecord) -> list[Place]:
    """Idle slots that are ready for the job, the fastest first."""
    ready = [place for place in state.idle if _is_ready(job, place)]
    return sorted(ready, key=lambda place: _speed(job, place), reverse=True)


def _is_ready(job: JobRecord, place: Place) -> bool:
    share = job.shares.get(place[0])
    return share is not None and share.state is ShareState.READY


def _speed(job: JobRecord, place: Place) -> float:
    """Items per second of a slot; 0: unknown, or its worker is gone."""
    share = job.shares.get(place[0])
    return 0.0 if share is None else share.slot_speed(place[1])


def _balance_job(state: State, job: JobRecord, helpers: list[Place], now: float) -> None:
    live = [attempt for attempt in job.attempts.values() if not attempt.cancelled]
    asked = len({(attempt.worker.id, attempt.slot) for attempt in live if attempt.cut_asked})
    free = len(helpers) - asked  # what was asked for before is on its way to as many of them
    if free <= 0:
        return
    free -= _take_over(state, job, live, helpers, free, now)
    if free > 0 and job.spec.options.speculate:
        _copy(state, job, live, helpers, now)


def _take_over(
    state: State, job: JobRecord, live: list[AttemptRecord], helpers: list[Place], free: int, now: float
) -> int:
    """Asks the slots that will be busy longest for what the idle ones would do in the same time.

    Waiting slices are asked for first, then the unclaimed rest of the running one. Gives the number of slots asked.
    """
    loads = _loads(job, live, now, state.policy.trim_seconds)
    loads.sort(key=lambda load: load.seconds, reverse=True)
    chosen = loads[:free]
    each = free / max(1, len(chosen))
    for load, place in zip(chosen, helpers, strict=False):
        own = _speed(job, load.place) or 1.0
        other = (_speed(job, place) or own) * each
        move = load.seconds * other / (own + other)
        if load.waiting is not None:
            _ask(state, load.waiting, 1.0)
            move -= load.waiting_seconds
        if load.running is not None and load.cuttable and move > state.policy.trim_seconds:
            _ask(state, load.running, min(1.0, move / load.running_seconds))
    return len(chosen)


class _Load(NamedTuple):
    """What a slot still has to do for a job."""

    place: Place
    seconds: float
    running: AttemptRecord | None
    """None: a slice of another job runs there."""
    running_seconds: float
    cuttable: bool
    waiting: AttemptRecord | None
    waiting_seconds: float


def _loads(job: JobRecord, live: list[AttemptRecord], now: float, trim_seconds: float) -> list[_Load]:
    """The slots of which something can be taken over."""
    loads = []
    for attempt in live:
        slot = attempt.worker.slots[attempt.slot]
        if slot.running is None or (attempt is not slot.running and slot.running.job is job):
            continue  # that slot is looked at with its running attempt
        load = _load(job, slot.running, slot.waiting, now, trim_seconds)
        if load is not None:
            loads.append(load)
    return loads


def _load(
    job: JobRecord, running: AttemptRecord, waiting: AttemptRecord | None, now: float, trim_seconds: float
) -> _Load | None:
    if running.cut_asked or (waiting is not None and waiting.cut_asked):
        return None
    if waiting is not None and (waiting.job is not job or waiting.cancelled):
        waiting = None
    busy = running.seconds_left(now)
    waiting_seconds = 0.0 if waiting is None else waiting.seconds_left(now)
    own = running if running.job is job and not running.cancelled else None
    cuttable = own is not None and own.left > 1 and not own.uncuttable and busy > trim_seconds
    cuttable = cuttable and not job.spec.options.task_size
    if not cuttable and (waiting is None or busy + waiting_seconds <= trim_seconds):
        return None
    return _Load(running.place, busy + waiting_seconds, own, busy, cuttable, waiting, waiting_seconds)


def _ask(state: State, attempt: AttemptRecord, give: float) -> None:
    attempt.cut_asked = True
    state.send(attempt.worker.id, TrimSlice(attempt.key, give))


def _copy(state: State, job: JobRecord, live: list[AttemptRecord], helpers: list[Place], now: float) -> None:
    """Runs the last long items on faster idle slots too; whichever is first counts."""
    policy = state.policy
    free = [place for place in helpers if place in state.idle]
    free.sort(key=lambda place: _mean_speed(job, place), reverse=True)
    stuck = [
        a
        for a in live
        if a.running and not a.copied and not a.copy and not a.cut_asked and (a.left == 1 or a.uncuttable)
    ]
    stuck.sort(key=lambda attempt: _mean_speed(job, attempt.place))
    for attempt in stuck:
        if not free:
            return
        silent = now - attempt.worker.heard_at
        patience = policy.setup_patience_seconds if attempt.setting_up else policy.copy_seconds
        if now - attempt.reported_at < patience or (attempt.fetching and silent < policy.suspect_seconds):
            continue
        elsewhere = free[0][0] != attempt.worker.id
        faster = _mean_speed(job, free[0]) >= policy.copy_speedup * _mean_speed(job, attempt.place) > 0
        faster = faster or (attempt.setting_up and _mean_speed(job, free[0]) > 0)
        if faster or (elsewhere and silent >= policy.suspect_seconds):
            _begin_copy(state, attempt, free.pop(0), now)


def _mean_speed(job: JobRecord, place: Place) -> float:
    """Items per second of a slot in the whole job; 0: unknown, or its worker is gone."""
    share = job.shares.get(place[0])
    return 0.0 if share is None else share.slot_mean(place[1])


def _begin_copy(state: State, attempt: AttemptRecord, place: Place, now: float) -> None:
    job = attempt.job
    attempt.copied = True
    copy = attempts.begin(
        state, job, state.workers[place[0]], place[1], attempt.reported, attempt.stop, now, kind="copied"
    )
    copy.copy = True


def sliced(state: State, attempt: AttemptRecord, message: SliceCut, now: float) -> None:
    """A worker answers: the attempt ends earlier, or could not give anything."""
    attempt.cut_asked = False
    if message.stop >= attempt.stop:
        attempt.uncuttable = attempt.running
        return
    given = max(message.stop, attempt.reported)
    kind = "trimmed off" if attempt.running else "recalled"
    attempt.job.history.append(Event(now, kind, given, attempt.stop, attempt.worker.name, attempt.slot))
    if message.stop <= attempt.start:
        attempts.end(state, attempt, now)
        return
    attempts.cut(state, attempt, message.stop)
