"""One job or machine as its page shows it. It changes nothing."""

from __future__ import annotations

from itertools import islice
from typing import Any

from nbdist.scheduler.history import describe_job, describe_share, describe_worker
from nbdist.scheduler.records import JobRecord, PoolEvent, State, WorkerRecord

MAX_EVENTS = 100
MAX_AROUND = 12
"""Jobs that ran at the same time as one whose timeline is drawn with them."""
MAX_MACHINES = 500
"""Of a job's page."""


def look_at_job(state: State, job: JobRecord, now: float) -> dict[str, Any]:
    """`job`: as of `history.describe`; `machines`, `failures`, `events` (the newest last) and `timeline`."""
    shares = sorted(job.shares.values(), key=lambda share: (-share.done, share.worker.name))
    events = list(job.history)[-MAX_EVENTS:]
    return {
        "job": describe_job(state, job, now),
        "machines": [describe_share(state, job, share) for share in shares[:MAX_MACHINES]],
        "failures": [failure._asdict() for failure in job.first_failures],
        "events": [event._replace(time=event.time - job.submitted_at)._asdict() for event in events],
        "timeline": timeline(job, now),
    }


def timelines(state: State, job: JobRecord, now: float, *, around: bool) -> list[dict[str, Any]]:
    """The job's timeline, and with `around` those of the newest others that ran at the same time."""
    others: list[JobRecord] = []
    for other in reversed(state.jobs.values()) if around else ():
        is_after = job.ended_at is not None and other.submitted_at >= job.ended_at
        is_before = other.ended_at is not None and other.ended_at <= job.submitted_at
        if other is not job and not is_after and not is_before and len(others) < MAX_AROUND:
            others.append(other)
    return [timeline(each, now) for each in (job, *others)]


def timeline(job: JobRecord, now: float) -> dict[str, Any]:
    """The work on a job, slot by slot: `slots` (machine, number) and `bars` in the order of `slots`.

    A bar: slot (its place in `slots`), start, stop (items), began, ended, busy (seconds since the job was submitted),
    slices, outcome, copies; as of `timeline.Bar`. What runs now is among them, its outcome is `running`. `ago`: seconds
    since it was submitted; `seconds`: how long it has taken so far; `resolution`: shorter pauses are not shown;
    `left_out`: slices without a bar.
    """
    drawn = job.timeline
    numbers = {line: number for number, line in enumerate(drawn.lines)}
    bars: list[list[object]] = [[numbers[line], *bar] for line, bar in drawn.bars()]
    for attempt in job.attempts.values():
        if attempt.running:
            number = numbers.setdefault((attempt.worker.name, attempt.slot), len(numbers))
            began, since = attempt.began_at - job.submitted_at, now - attempt.began_at
            copies = int(attempt.copy)
            bars.append([number, attempt.start, attempt.stop, began, began + since, since, 1, "running", copies])
    return {
        "job": job.id,
        "name": job.spec.name,
        "ago": now - job.submitted_at,
        "slots": [list(line) for line in numbers],
        "bars": bars,
        "seconds": (now if job.ended_at is None else job.ended_at) - job.submitted_at,
        "resolution": drawn.resolution,
        "left_out": drawn.left_out,
    }


def look_at_worker(state: State, worker: WorkerRecord, now: float) -> dict[str, Any]:
    """`worker`: as of `history.describe`; `slots`: what each is at; `jobs`: its part in those that run; `events`."""
    slots = [
        None
        if slot.running is None
        else {"job": slot.running.job.id, "item": slot.running.item, "seconds": now - slot.running.began_at}
        for slot in islice(worker.slots, MAX_MACHINES)
    ]
    parts = [
        {"id": job.id, "name": job.spec.name, **describe_share(state, job, job.shares[worker.id])}
        for job in state.active.values()
        if worker.id in job.shares
    ]
    own = [event for event in state.events if event.worker == worker.name]
    return {
        "worker": describe_worker(state, worker, now),
        "slots": slots,
        "jobs": parts,
        "events": pool_events(own, now),
    }


def pool_events(events: list[PoolEvent], now: float) -> list[dict[str, Any]]:
    """Events with `seconds` (ago) instead of a time, the newest first."""
    return [
        {"seconds": now - event.time, "kind": event.kind, "worker": event.worker, "job": event.job, "note": event.note}
        for event in reversed(events)
    ]
