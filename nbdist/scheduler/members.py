"""Workers and notebooks come, say what they hold, fall silent and go."""

from __future__ import annotations

from collections import deque

from nbdist.errors import ProtocolError
from nbdist.scheduler import attempts, delivery, faults, jobs, restart, setups, shares, versions
from nbdist.scheduler.orders import STORES, Disconnect, WorkerGone, WorkerHere
from nbdist.scheduler.records import (
    AttemptRecord,
    Event,
    JobRecord,
    Phase,
    Share,
    ShareState,
    SlotRecord,
    State,
    WorkerRecord,
)
from nbdist.wire.messages import (
    CancelAttempt,
    ForgetJob,
    Heartbeat,
    HeldAttempt,
    Hello,
    JobOptions,
    JobRefused,
    Leaving,
    SubmitJob,
    WorkerFacts,
)

MAX_SLOTS = 4096
"""Of one worker."""
MAX_REASON_CHARACTERS = 2_500
"""Of why a worker cannot run a job, and of what to do: both fit a header, at up to twelve bytes a character."""
MAX_READY_JOBS = 10_000
"""Of one worker: those that it has, and that it has not heard to be over."""


def join(state: State, peer: str, hello: Hello, now: float) -> None:
    """A worker or a notebook is there. A worker that was there already has lost its connection without our knowing."""
    if hello.role == "worker":
        if not 1 <= hello.slots <= MAX_SLOTS:
            raise ProtocolError(f"a worker with {hello.slots} slots")
        if peer in state.workers:
            leave(state, peer, "reconnected", now, blame=False)
        slots = [SlotRecord() for _ in range(hello.slots)]
        state.workers[peer] = WorkerRecord(peer, hello.name or peer, hello, slots, joined_at=now, heard_at=now)
        state.send(STORES, WorkerHere(peer))
        state.wake("silence", now + state.policy.pulse_seconds)
    elif hello.role == "notebook":
        state.notebooks.add(peer)
        for job in state.active.values():
            if job.owner == peer:
                job.orphaned_at = None
        versions.notebook_changed(state, peer, now)


def facts(state: State, worker: WorkerRecord, message: WorkerFacts, now: float) -> None:
    """What the worker holds after it has come (back): runs on, if nobody else has it, or is cancelled.

    It counts as one statement, however many messages it takes.
    """
    if worker.stated:
        raise ProtocolError("a worker states its facts once, when it comes")
    worker.facts.append(message)
    held = [each for piece in worker.facts for each in piece.held]
    ready_jobs = [job_id for piece in worker.facts for job_id in piece.ready_jobs]
    if len(held) > 2 * len(worker.slots) or len(ready_jobs) > MAX_READY_JOBS:
        raise ProtocolError(f"a worker with {len(worker.slots)} slots holds {len(held)} slices, {len(ready_jobs)} jobs")
    if message.more:
        if not (message.held or message.ready_jobs):
            raise ProtocolError("facts that say nothing and promise more")
        return
    worker.facts.clear()
    worker.stated = True
    _take_facts(state, worker, held, ready_jobs, now)


def _take_facts(
    state: State, worker: WorkerRecord, held_attempts: list[HeldAttempt], ready_jobs: list[str], now: float
) -> None:
    for job_id in ready_jobs:
        job = state.active.get(job_id)
        if job is not None and job.phase is Phase.RUNNING and shares.may_run(state, job, worker):
            job.shares[worker.id] = share = Share(worker)
            shares.make_ready(state, job, worker, share)
    for held in sorted(held_attempts, key=lambda held: not held.running):
        _adopt(state, worker, held, now)
    for job_id in ready_jobs:  # behind the word that what it holds of such a job is cancelled
        if job_id not in state.active:
            state.send(worker.id, ForgetJob(job_id))
    for number, slot in enumerate(worker.slots):
        if slot.running is None:
            state.idle[worker.id, number] = None
            state.look[worker.id, number] = None
    restart.heard_facts(state, worker.id)
    for job in list(state.active.values()):
        if job.spec.each and not job.targets and job.phase is Phase.RUNNING:
            shares.add_targets(state, job, [worker])  # it has waited for the first machine
        shares.prepare(state, job, worker, now)


def _adopt(state: State, worker: WorkerRecord, held: HeldAttempt, now: float) -> None:
    """Takes up an attempt where it is, or cancels it."""
    if not 0 <= held.slot < len(worker.slots) or not 0 <= held.start <= held.stop:
        raise ProtocolError("a held attempt with impossible numbers")
    slot = worker.slots[held.slot]
    if (slot.running if held.running else slot.waiting) is not None or held.attempt in state.attempts:
        raise ProtocolError("two attempts in one place")
    if not held.running and slot.running is None:
        raise ProtocolError("an attempt that waits behind none")
    job = state.jobs.get(held.job)
    own = job is not None and job.alive and held.start < held.stop and job.pending.covers(held.start, held.stop)
    job = job or _unknown_job(state, worker, held.job, now)
    attempt = AttemptRecord(
        key=held.attempt,
        job=job,
        worker=worker,
        slot=held.slot,
        start=held.start,
        stop=held.stop,
        expected_seconds=0.0,
        reported=held.start,
        reported_at=now,
        item=held.start,
        cancelled=not own,
        fetching=held.fetching,
    )
    attempts.enter(state, attempt)
    if own:
        job.pending.remove(held.start, held.stop)
        job.history.append(Event(now, "adopted", held.start, held.stop, worker.name, held.slot))
    else:
        state.send(worker.id, CancelAttempt(held.attempt))


def _unknown_job(state: State, worker: WorkerRecord, job_id: str, now: float) -> JobRecord:
    """Stands for a job that the hub has forgotten, until the worker has stopped working on it."""
    spec = SubmitJob(job_id, "", worker.hello.machine, JobOptions())
    return JobRecord(spec, "", now, 0, 0, deque(maxlen=1), phase=Phase.ENDED)


def refused(state: State, worker: WorkerRecord, message: JobRefused, now: float) -> None:
    """The worker cannot run the job: it is left out, with the reason."""
    job = state.jobs.get(message.job)
    if job is None or worker.id not in job.shares:
        return
    shares.drop(job, worker)
    reason, todo = _cut(message.reason), _cut(message.todo)
    share = Share(worker, ShareState.REFUSED, reason, todo)
    if message.again_seconds > 0 and not job.targets:
        share.again_at = now + max(message.again_seconds, state.policy.try_again_seconds)
        state.wake("try again", share.again_at)
    shares.leave_out(state, job, share, now)
    job.history.append(Event(now, f"refused: {reason}", 0, 0, worker.name))
    job.changed_at = now
    state.wake("progress", now)
    delivery.fail_targets(state, job, worker.id, worker.name, f"left out: {reason}", now)
    if message.setup and job.alive:
        setups.failed(state, job, worker)


def _cut(text: str) -> str:
    """What a worker says, so that it can be passed on."""
    return text if len(text) <= MAX_REASON_CHARACTERS else f"{text[:MAX_REASON_CHARACTERS]} … (cut)"


def leaving(state: State, worker: WorkerRecord, message: Leaving, now: float) -> None:
    """The worker takes no more; what it cannot finish it gives back by itself."""
    worker.leaving = True
    for number in range(len(worker.slots)):
        state.idle.pop((worker.id, number), None)
        state.thin.pop((worker.id, number), None)
    for job in list(state.active.values()):
        if worker.id in job.shares:
            shares.leave(job, worker)
            job.history.append(Event(now, f"leaves: {message.reason}", 0, 0, worker.name))


def heartbeat(worker: WorkerRecord, message: Heartbeat, state: State) -> None:
    """The worker lives and says what it is at."""
    worker.load = message.load
    worker.memory_used_bytes = message.memory_used_bytes
    for running in message.running:
        attempt = state.attempts.get(running.attempt)
        if attempt is not None and attempt.worker is worker and attempt.start <= running.item < attempt.stop:
            attempt.item = max(attempt.item, running.item)


def leave(state: State, peer: str, reason: str, now: float, *, blame: bool = True) -> None:
    """The peer is gone."""
    if peer in state.notebooks:
        state.notebooks.discard(peer)
        _orphan_jobs(state, peer, now)
        versions.notebook_changed(state, peer, now)
    worker = state.workers.get(peer)
    if worker is None:
        return
    if not worker.leaving:
        leaving(state, worker, Leaving(reason), now)
    else:
        blame = False
    faults.lost_attempts(state, worker, reason, now, blame)
    del state.workers[peer]
    state.send(STORES, WorkerGone(peer))
    restart.heard_facts(state, peer)
    for job in list(state.active.values()):
        if peer in job.shares:
            shares.drop(job, worker)
            job.changed_at = now
            state.wake("progress", now)
            delivery.fail_targets(state, job, worker.id, worker.name, f"the machine is gone: {reason}", now)


def _orphan_jobs(state: State, owner: str, now: float) -> None:
    for job in state.active.values():
        if job.owner == owner:
            job.orphaned_at = now
            state.wake("orphans", now + state.policy.orphan_seconds)


def cancel_orphans(state: State, now: float) -> None:
    """Cancels the jobs whose notebook has been away for too long."""
    for job in list(state.active.values()):
        if job.orphaned_at is None:
            continue
        due = job.orphaned_at + state.policy.orphan_seconds
        if due <= now:
            jobs.cancel(state, job, "its notebook has not come back", now)
        else:
            state.wake("orphans", due)


def heard(state: State, worker: WorkerRecord, now: float) -> None:
    """Any message shows that the worker lives."""
    worker.heard_at = now
    state.workers.move_to_end(worker.id)


def breathes(state: State, peer: str, now: float) -> None:
    """Something comes from a peer, if only a piece of a message."""
    worker = state.workers.get(peer)
    if worker is not None:
        heard(state, worker, now)


def forgive_silence(state: State, now: float) -> None:
    """Whatever the workers said lately could not be heard: their silence begins now."""
    for worker in state.workers.values():
        worker.heard_at = now


def drop_silent(state: State, now: float) -> None:
    """Workers that were silent for too long are lost; they are welcome again as soon as they reconnect."""
    while state.workers:
        worker = next(iter(state.workers.values()))
        due = worker.heard_at + state.policy.silence_seconds
        if due > now:
            state.wake("silence", min(due, now + state.policy.pulse_seconds))
            return
        silent = now - worker.heard_at
        leave(state, worker.id, f"silent for {silent:.1f} s", now)
        state.send(worker.id, Disconnect("replaced", f"no sign of life for {silent:.1f} s", "connect again"))
