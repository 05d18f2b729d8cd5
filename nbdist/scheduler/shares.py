"""One worker's part in one job: it prepares, is ready or is left out, and shows how fast it is."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from nbdist.scheduler import fitting
from nbdist.scheduler.history import nobody_can
from nbdist.scheduler.orders import STORES, TargetsSet
from nbdist.scheduler.policy import Policy
from nbdist.scheduler.portable import other_python
from nbdist.scheduler.records import Event, JobRecord, Pace, Phase, Share, ShareState, State, WorkerRecord
from nbdist.wire.messages import GrantItems, JobReady, NeedPortable, PrepareJob, Preparing

WAITS_FOR_SOURCE = "the notebook packs its code for another version of Python"

MAX_DOING_CHARACTERS = 200
"""Of what a worker says that it is at."""


def may_run(state: State, job: JobRecord, worker: WorkerRecord) -> bool:
    """Whether the worker could take part in the job, as far as is known without asking it."""
    has_notebook = job.owner in state.notebooks
    return worker.stated and not worker.leaving and fitting.problem(job, worker, has_notebook=has_notebook) is None


def add_targets(state: State, job: JobRecord, workers: Iterable[WorkerRecord]) -> None:
    """A job for each machine or slot gets one item for each of these that fits, once it is known which do."""
    if job.waits_for_targets:
        return
    able = [worker for worker in workers if may_run(state, job, worker)]
    if job.portable is None and any(other_python(job, worker) for worker in able):
        job.waits_for_targets = True
        _ask(state, job)
        return
    for worker in able:
        slots = range(len(worker.slots)) if job.spec.each == "slot" else (-1,)
        for slot in slots:
            job.targets[worker.id, slot] = len(job.targets)
    if job.targets:
        job.total = job.available = len(job.targets)
        state.send(STORES, TargetsSet(job.id, tuple(job.targets)))
        job.pending.add(0, job.available)


def prepare(state: State, job: JobRecord, worker: WorkerRecord, now: float) -> None:
    """Lets a worker get the job's task and data, or notes why it is left out."""
    if job.phase is not Phase.RUNNING or worker.id in job.shares or worker.leaving or not worker.stated:
        return
    if job.targets and not any(target[0] == worker.id for target in job.targets):
        return  # it came after the job had begun
    problem = fitting.problem(job, worker, has_notebook=job.owner in state.notebooks)
    is_other = bool(other_python(job, worker))
    awaits_task = is_other and job.portable is None and not job.native
    if problem is not None:
        share = Share(worker, ShareState.REFUSED, problem.reason, problem.todo, awaits_task=awaits_task)
        leave_out(state, job, share, now)
        return
    spec = job.spec
    if awaits_task:
        job.shares[worker.id] = Share(worker, reason=WAITS_FOR_SOURCE, awaits_task=True)
        _ask(state, job)
        return
    job.shares[worker.id] = share = Share(worker, reason=fitting.installing(spec, worker))
    if share.reason:
        state.wake("progress", now)  # it takes a while
    packed = job.portable if is_other and job.portable is not None else spec
    message = PrepareJob(
        job=job.id,
        options=spec.options,
        task=packed.task,
        blobs=packed.blobs,
        ranges=spec.ranges,
        each=bool(spec.each),
        modules=spec.modules,
        bundles=spec.bundles,
        install=fitting.to_install(spec, worker),
        portable=is_other,
    )
    state.send(worker.id, message)


def _ask(state: State, job: JobRecord) -> None:
    """Asks the notebook, which is here, for the task in the form for other versions of Python; once."""
    if not job.is_portable_asked:
        job.is_portable_asked = True
        state.send(job.owner, NeedPortable(job.id))


def leave_out(state: State, job: JobRecord, share: Share, now: float) -> None:
    """The worker cannot run the job; if none can that is here, the notebook hears of it at once."""
    job.shares[share.worker.id] = share
    if not job.told_left_out and nobody_can(state, job):
        state.wake("notice", now + state.policy.last_slice_seconds if job.begun else now)


def try_again(state: State, now: float) -> None:
    """Asks workers again that could not run a job for a reason that may be over."""
    for job in state.active.values():
        for share in list(job.shares.values()):
            if share.again_at > now:
                state.wake("try again", share.again_at)
            else:
                del job.shares[share.worker.id]
                prepare(state, job, share.worker, now)


def ready(state: State, worker: WorkerRecord, message: JobReady, now: float) -> None:
    """The worker has all that the job needs."""
    job = state.active.get(message.job)
    share = None if job is None else job.shares.get(worker.id)
    if job is None or share is None or share.state is not ShareState.PREPARING or share.awaits_task:
        return
    make_ready(state, job, worker, share)
    job.history.append(Event(now, "ready", 0, 0, worker.name))


def preparing(state: State, worker: WorkerRecord, message: Preparing, now: float) -> None:
    """The worker says what it is at."""
    job = state.active.get(message.job)
    share = None if job is None else job.shares.get(worker.id)
    if job is None or share is None or share.state is not ShareState.PREPARING:
        return
    share.doing = message.what[:MAX_DOING_CHARACTERS]
    job.changed_at = now
    state.wake("progress", now + state.policy.progress_seconds)


def make_ready(state: State, job: JobRecord, worker: WorkerRecord, share: Share) -> None:
    """From now on the worker is given slices of the job."""
    share.state, share.reason = ShareState.READY, ""
    job.told_left_out = False
    job.ready_slots += len(worker.slots)
    job.ready_workers += 1
    widen_window(state, job)
    for slot in range(len(worker.slots)):
        state.look[worker.id, slot] = None


def widen_window(state: State, job: JobRecord) -> None:
    """Lets the notebook send so many large blocks that each slot has some, within the bound."""
    policy = state.policy
    wanted = min(job.largest_block * policy.blocks_per_slot * job.ready_slots, policy.max_window_bytes)
    if wanted > job.window_bytes:
        job.wider_bytes += wanted - job.window_bytes
        job.window_bytes = wanted
    if job.wider_bytes and job.owner in state.notebooks:
        state.send(job.owner, GrantItems(job.id, 0, job.wider_bytes))
        job.wider_bytes = 0


def leave(job: JobRecord, worker: WorkerRecord) -> None:
    """The worker gets no more slices; what it has it may still finish."""
    share = job.shares.get(worker.id)
    if share is not None:
        share.state = ShareState.LEAVING
        _recount(job)


def drop(job: JobRecord, worker: WorkerRecord) -> None:
    """The worker takes no part in the job any more."""
    job.shares.pop(worker.id, None)
    _recount(job)


def _recount(job: JobRecord) -> None:
    """Makes the sums over the ready workers anew, so that rounding does not add up."""
    job.ready_slots = job.known_slots = job.ready_workers = 0
    job.total_speed = job.fastest = 0.0
    for worker_id, share in job.shares.items():
        if share.state is not ShareState.READY:
            continue
        slots = len(share.worker.slots)
        job.ready_slots += slots
        job.ready_workers += 1
        if share.speed:
            job.known_slots += slots
            job.total_speed += share.speed * slots
            if share.speed > job.fastest:
                job.fastest, job.fastest_worker = share.speed, worker_id


def measure(job: JobRecord, share: Share, slot: int, items: int, seconds: float, policy: Policy) -> None:
    """Takes a measurement of a slot into account, for its speed and for its worker's."""
    _compare_slots(share, slot, items, seconds, policy.slot_doubt_seconds)
    share.pace.add(items, seconds, policy.speed_half_life_seconds)
    old, share.speed = share.speed, share.pace.speed
    if share.state is not ShareState.READY:
        return
    slots = len(share.worker.slots)
    job.total_speed += (share.speed - old) * slots
    if not old:
        job.known_slots += slots
    if share.speed >= job.fastest or job.fastest_worker == share.worker.id:
        job.fastest, job.fastest_worker = share.speed, share.worker.id


def _compare_slots(share: Share, slot: int, items: int, seconds: float, doubt_seconds: float) -> None:
    """Both means are of the whole job, so that items which get longer and longer leave their ratio alone."""
    pace = share.slots.setdefault(slot, Pace())
    pace.add(items, seconds, inf)
    share.whole.add(items, seconds, inf)
    mean = share.whole.speed
    share.relative[slot] = (pace.items + mean * doubt_seconds) / (pace.seconds + doubt_seconds) / mean


def rate_workers(job: JobRecord) -> None:
    """Remembers how fast the machines were in this job against their mean, for the table of the pool."""
    known = [share for share in job.shares.values() if share.speed]
    if len(known) < 2:
        return
    mean = sum(share.speed for share in known) / len(known)
    for share in known:
        share.worker.relative_speed = share.speed / mean
