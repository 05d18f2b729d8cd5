"""What the scheduler can tell about jobs, machines and single items. It changes nothing."""

from __future__ import annotations

from heapq import nlargest
from typing import Any

from nbdist.scheduler import fitting
from nbdist.scheduler.reasons import MAX_NAMES, MAX_REASON, grouped
from nbdist.scheduler.records import AttemptRecord, JobRecord, Phase, Share, ShareState, State, WorkerRecord
from nbdist.scheduler.resuming import left
from nbdist.wire.messages import JobProgress, WorkerRow

GETTING_DATA = "getting its data"


def progress(state: State, job: JobRecord, now: float) -> JobProgress:
    """The job as the view under the cell shows it."""
    running = [attempt for attempt in job.attempts.values() if attempt.running]
    shown = nlargest(state.policy.max_rows, job.shares.values(), key=lambda share: share.speed)
    return JobProgress(
        job=job.id,
        elapsed_seconds=(now if job.ended_at is None else job.ended_at) - job.submitted_at,
        total=job.total if job.total is not None else job.taken.total,
        done=job.finished_items,
        failed=job.failed_items,
        queued=job.pending.count,
        running_slots=len(running),
        items_per_second=_rate(job, running),
        workers=tuple(_row(state, job, share) for share in shown),
        more_workers=len(job.shares) - len(shown),
    )


def _rate(job: JobRecord, running: list[AttemptRecord]) -> float:
    """Items per second of the slots that are at work for the job."""
    shares = job.shares
    return sum(shares[attempt.worker.id].speed for attempt in running if attempt.worker.id in shares)


def describe_share(state: State, job: JobRecord, share: Share) -> dict[str, Any]:
    """A machine's part in a job; the fields of `messages.WorkerRow`."""
    row = _row(state, job, share)
    return {name: getattr(row, name) for name in WorkerRow.__slots__}


def _row(state: State, job: JobRecord, share: Share) -> WorkerRow:
    worker = share.worker
    running = [slot.running for slot in worker.slots if slot.running is not None and slot.running.job is job]
    return WorkerRow(
        name=worker.name,
        slots=len(worker.slots),
        state=share.state.value,
        reason=_what_of(share),
        done=share.done,
        items_per_second=share.speed * len(running),
        running=tuple(attempt.item for attempt in running[: state.policy.max_rows]),
    )


def _what_of(share: Share) -> str:
    """What the machine is at, or why it is left out."""
    if share.state is ShareState.PREPARING:
        return share.doing or share.reason
    return f"{share.reason}: {share.todo}" if share.todo else share.reason


def waits_for_notebook(job: JobRecord) -> str:
    """What a paused job waits for, for people."""
    size = job.waiting_bytes
    amount = f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
    return f"{amount} of results wait for its notebook; {job.pause_todo}"


def waits_for(state: State, job: JobRecord) -> str:
    """Why nothing (more) of a job is begun, for people."""
    if job.paused:
        return waits_for_notebook(job)
    if job.phase is Phase.WAITING:
        return "waiting for its data to arrive at the hub"
    if not state.workers:
        return "no machine has joined this pool yet: %distribute invite, or nbdist invite, shows the line that adds one"
    if nobody_can(state, job):
        return f"no machine can run it. {left_out(job, MAX_REASON)}"
    preparing = [share for share in job.shares.values() if share.state is ShareState.PREPARING]
    if preparing:
        return "; ".join(f"{share.worker.name}: {_what_of(share) or GETTING_DATA}" for share in preparing[:MAX_NAMES])
    return "all slots are busy with other jobs"


def left_out(job: JobRecord, most_chars: int | None = None) -> str:
    """Why machines cannot run a job, once for each reason, of which each has so many characters."""
    refused = [share for share in job.shares.values() if share.state is ShareState.REFUSED]
    return grouped(
        (share.reason[:most_chars] + (f" ({share.todo[:most_chars]})" if share.todo else ""), share.worker.name)
        for share in refused
    )


def _waits(state: State, job: JobRecord) -> bool:
    """Whether the job waits for more than its turn."""
    return job.paused or not job.begun or nobody_can(state, job)


def nobody_can(state: State, job: JobRecord) -> bool:
    """Whether machines are here and all of them are left out of the job."""
    here = [worker.id for worker in state.workers.values() if worker.stated and not worker.leaving]
    return bool(here) and all(
        worker in job.shares and job.shares[worker].state is ShareState.REFUSED for worker in here
    )


def describe(state: State, now: float) -> dict[str, Any]:
    """The pool as plain data.

    `workers`: id, name, slots, busy, state (idle, busy, leaving), relative_speed (1.0 is the mean of the pool in its
    last job; None: unknown), done (items), fit (whether it fits the last job, or why not), joined_seconds,
    heard_seconds (ago), load, memory_used_bytes, and machine (the fields of `messages.Machine`).
    `jobs`, newest first: id, name, state, done, total, failed, running, queued, items_per_second, elapsed_seconds,
    submitted_seconds (ago), owner, reason, left (items that a job would run which resumes it; None: unknown), resumes
    (the id of an earlier job, or empty), is_open (whether its notebook is here).
    `hub`: epoch, notebooks, slots, busy, queued (items), items_done (since the hub's start), items_per_second.
    """
    workers = [describe_worker(state, worker, now) for worker in state.workers.values()]
    jobs = [describe_job(state, job, now) for job in reversed(state.jobs.values())]
    return {
        "workers": sorted(workers, key=lambda worker: str(worker["name"])),
        "jobs": jobs,
        "hub": {
            "epoch": state.epoch,
            "notebooks": len(state.notebooks),
            "slots": sum(len(worker.slots) for worker in state.workers.values()),
            "busy": sum(worker.busy_slots for worker in state.workers.values()),
            "queued": sum(job["queued"] for job in jobs),
            "items_done": state.items_done,
            "items_per_second": sum(job["items_per_second"] for job in jobs),
        },
    }


def describe_worker(state: State, worker: WorkerRecord, now: float) -> dict[str, Any]:
    """A row of `workers` in `describe`."""
    last = next(reversed(state.jobs.values()), None)
    machine = worker.hello.machine
    return {
        "id": worker.id,
        "name": worker.name,
        "slots": len(worker.slots),
        "busy": worker.busy_slots,
        "state": "leaving" if worker.leaving else "busy" if worker.busy_slots else "idle",
        "relative_speed": worker.relative_speed or None,
        "done": worker.done,
        "fit": "" if last is None else fitting.row(last, worker).text,
        "joined_seconds": now - worker.joined_at,
        "heard_seconds": now - worker.heard_at,
        "load": worker.load,
        "memory_used_bytes": worker.memory_used_bytes,
        "machine": {name: getattr(machine, name) for name in machine.__slots__},
    }


def describe_job(state: State, job: JobRecord, now: float) -> dict[str, Any]:
    """A row of `jobs` in `describe`."""
    running = [attempt for attempt in job.attempts.values() if attempt.running]
    return {
        "id": job.id,
        "name": job.spec.name,
        "state": job.outcome or ("paused" if job.paused and job.alive else job.phase.value),
        "done": job.finished_items,
        "total": job.total,
        "failed": job.failed_items,
        "left": left(job),
        "resumes": job.spec.resumes,
        "is_open": job.owner in state.notebooks,
        "running": len(running),
        "queued": job.pending.count,
        "items_per_second": _rate(job, running),
        "elapsed_seconds": (now if job.ended_at is None else job.ended_at) - job.submitted_at,
        "submitted_seconds": now - job.submitted_at,
        "owner": job.owner,
        "reason": job.stop_reason or (waits_for(state, job) if job.alive and _waits(state, job) else ""),
    }


def explain(state: State, job_id: str, item: int, now: float) -> str:
    """Why an item is not done, or how it was: its present state, then what the job's history still has of it."""
    job = state.jobs.get(job_id)
    if job is None:
        return f"No job {job_id} is known here (any more)."
    lines = [f"Item {item} of job {job_id} ({job.spec.name}): {_item_state(state, job, item, now)}."]
    for event in job.history:
        if event.start <= item < event.stop or event.start == event.stop:
            where = f" {event.worker}" + (f"/{event.slot}" if event.slot >= 0 else "") if event.worker else ""
            extent = f" [{event.start}, {event.stop})" if event.start != event.stop else ""
            note = f" ({event.note})" if event.note else ""
            lines.append(f"  {event.time - job.submitted_at:9.3f} s  {event.kind}{extent}{where}{note}")
    return "\n".join(lines)


def _item_state(state: State, job: JobRecord, item: int, now: float) -> str:
    if item in job.done or item in job.taken.ahead:
        return "done"
    if not job.alive:
        return f"not done; the job has ended: {job.outcome or job.phase.value}"
    if item < 0 or item >= (job.available if job.total is None else job.total):
        return "the job has no such item"
    if item >= job.available:
        return "it has not arrived from the notebook yet"
    if item in job.pending:
        tried = job.crashes.get(item, 0) + job.losses.get(item, 0) + job.failures.get(item, 0)
        again = f"; it was tried {tried} times" if tried else ""
        return f"queued; {waits_for(state, job) if _waits(state, job) else 'its turn has not come'}{again}"
    for attempt in job.attempts.values():
        if attempt.reported <= item < attempt.stop and not attempt.cancelled:
            where = f"{attempt.worker.name}, slot {attempt.slot}"
            if not attempt.running:
                return f"waiting at {where}"
            if attempt.fetching:
                return f"its data is on its way to {where}, since {now - attempt.reported_at:.1f} s"
            if attempt.setting_up:
                return f"behind a setup at {where}, since {now - attempt.reported_at:.1f} s"
            return f"with {where}, at item {attempt.item}, {now - attempt.reported_at:.1f} s after its last report"
    return "between two machines"
