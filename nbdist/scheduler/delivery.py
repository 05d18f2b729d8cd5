"""Results come in: which count, and what they change."""

from __future__ import annotations

from itertools import zip_longest

from nbdist.errors import ProtocolError
from nbdist.scheduler import attempts, jobs, shares
from nbdist.scheduler.orders import STORES, DropItems, ItemTried
from nbdist.scheduler.records import AttemptRecord, Event, FailureLine, JobRecord, Phase, State, WorkerRecord
from nbdist.scheduler.resuming import note_again
from nbdist.wire.messages import Acknowledge, GrantItems, ItemFault, Part, Result


def receive_part(state: State, worker: WorkerRecord, part: Part, now: float) -> None:
    """A worker reports results. Raises ProtocolError for a part that no honest worker sends.

    The part counts if its whole range is unfinished, whoever sends it; otherwise it is dropped whole.
    """
    attempt = _check(state, worker, part)
    acknowledge(state, worker, part, now)
    if attempt is not None:
        _measure(state, attempt, part, now)
    job = state.jobs.get(part.job)
    counts = False
    if job is not None and job.takes_results and part.stop <= job.available:
        if _wants_retry(job, part):
            _retry(state, job, attempt, worker, part, now)
        elif job.done.overlaps(part.start, part.stop):
            _drop(state, attempt, part)
        else:
            _accept(state, job, attempt, worker, part, now)
            counts = True
    if attempt is not None:
        _go_on(state, attempt, part, now)
    if counts and job is not None:
        _end_if_over(state, job, worker, part, now)


def _check(state: State, worker: WorkerRecord, part: Part) -> AttemptRecord | None:
    """The attempt, if it is live. Raises ProtocolError if the part cannot be true."""
    if not 0 <= part.start < part.stop:
        raise ProtocolError(f"a part with range [{part.start}, {part.stop})")
    if part.seconds < 0:
        raise ProtocolError("a part that took less than no time")
    if not all(part.start <= item < part.stop for item in part.failed):
        raise ProtocolError("a part names a failed item outside its range")
    if part.stopped_at is not None and part.stopped_at != part.stop - 1:
        raise ProtocolError("a part goes on behind the item that met stop_when")
    if part.attempt > (state.epoch, state.attempt_number):
        raise ProtocolError("a part of an attempt that was never made")
    attempt = state.attempts.get(part.attempt)
    job = state.jobs.get(part.job) if attempt is None else attempt.job
    is_older = attempt is None and part.attempt[0] < state.epoch
    if job is not None and (job.id != part.job or part.stop > job.available) and not is_older:
        raise ProtocolError("a part that does not belong to its job")
    # of one that is cancelled nobody counts what is reported any more: several parts may have been on their way
    gap = attempt is not None and not attempt.cancelled and part.start > attempt.reported
    if attempt is not None and (attempt.worker is not worker or gap or not attempt.running):
        raise ProtocolError("a part of another worker's attempt, or one with a gap before it")
    return attempt


def acknowledge(state: State, worker: WorkerRecord, part: Part, now: float) -> None:
    """Remembers to tell the worker that the part is safe."""
    worker.acknowledge[part.attempt] = max(part.stop, worker.acknowledge.get(part.attempt, 0))
    if len(worker.acknowledge) >= state.policy.acknowledge_parts:
        send_acknowledgements(state, worker)
    else:
        state.wake("acknowledge", now + state.policy.acknowledge_seconds)


def send_acknowledgements(state: State, worker: WorkerRecord) -> None:
    """Tells a worker which parts are safe."""
    if worker.acknowledge:
        state.send(worker.id, Acknowledge(tuple(worker.acknowledge.items())))
        worker.acknowledge.clear()


def _wants_retry(job: JobRecord, part: Part) -> bool:
    """Whether the part is a failed item that is to be tried again."""
    if not part.failed or part.stop - part.start != 1:
        return False
    return job.failures.get(part.start, 0) < job.spec.options.retries and not job.done.overlaps(part.start, part.stop)


def _retry(
    state: State, job: JobRecord, attempt: AttemptRecord | None, worker: WorkerRecord, part: Part, now: float
) -> None:
    """The item is pending again, elsewhere if it can.

    A part that is sent again after a reconnect changes nothing: the item was pending again when the worker was lost.
    """
    item = part.start
    if attempt is None or item < attempt.reported:
        return
    job.failures[item] = job.failures.get(item, 0) + 1
    keep_counts(state, job, item)
    job.avoid[item] = worker.id
    job.history.append(Event(now, "raised, will be retried", item, item + 1, worker.name))
    if not attempt.cancelled:
        attempt.reported = max(attempt.reported, part.stop)
        attempts.release(state, attempt, item, item + 1)


def _drop(state: State, attempt: AttemptRecord | None, part: Part) -> None:
    """Some of it is finished already: what is not and was this attempt's alone is pending again."""
    if attempt is not None and not attempt.cancelled and part.stop > attempt.reported:
        start, attempt.reported = attempt.reported, min(part.stop, attempt.stop)
        attempts.release(state, attempt, start, attempt.reported)


def _accept(
    state: State, job: JobRecord, attempt: AttemptRecord | None, worker: WorkerRecord, part: Part, now: float
) -> None:
    """The items of the part are finished now."""
    exclusive = False
    if attempt is not None and not attempt.cancelled:
        exclusive = (
            not (attempt.copy or attempt.copied) and attempt.reported <= part.start and part.stop <= attempt.stop
        )
        attempt.reported = min(max(attempt.reported, part.stop), attempt.stop)
    finish_items(state, job, part.start, part.stop, exclusive=exclusive, now=now)
    share = job.shares.get(worker.id)
    if share is not None:
        share.done += part.stop - part.start
    worker.done += part.stop - part.start
    state.items_done += part.stop - part.start
    if part.failed:
        _note_failures(state, job, attempt, worker, part)
    job.used_seconds += part.seconds
    job.failed_items += len(part.failed)
    _send_result(state, job, worker, part, slot=attempt.slot if attempt is not None else 0)
    job.history.append(Event(now, "finished", part.start, part.stop, worker.name, attempt.slot if attempt else -1))


def _note_failures(
    state: State, job: JobRecord, attempt: AttemptRecord | None, worker: WorkerRecord, part: Part
) -> None:
    if attempt is not None:
        attempt.failed = True
    room = state.policy.shown_failures - len(job.first_failures)
    for item, text in list(zip_longest(part.failed, part.reasons[: len(part.failed)], fillvalue=""))[: max(0, room)]:
        job.first_failures.append(FailureLine(int(item), worker.name, text))


def _end_if_over(state: State, job: JobRecord, worker: WorkerRecord, part: Part, now: float) -> None:
    """A failed item, one that met `stop_when`, or the last one ends the job."""
    if part.failed and job.spec.options.on_error == "stop" and job.alive:
        jobs.end(state, job, "failed", now, reason=f"item {part.failed[0]} failed on {worker.name}")
    elif part.stopped_at is not None and job.alive:
        jobs.end(state, job, "stopped", now, stopped_at=part.stopped_at)
    else:
        end_if_complete(state, job, now)


def end_if_complete(state: State, job: JobRecord, now: float) -> None:
    """The last item ends the job; any other changes how far it is."""
    if job.complete and job.phase is Phase.RUNNING:
        jobs.end(state, job, "done", now)
    else:
        state.wake("progress", now + state.policy.progress_seconds)


def _send_result(state: State, job: JobRecord, worker: WorkerRecord, part: Part, slot: int) -> None:
    job.seq += 1
    result = Result(
        job=job.id,
        seq=job.seq,
        start=part.start,
        stop=part.stop,
        worker=worker.name,
        slot=slot,
        failed=part.failed,
        stopped_at=part.stopped_at,
        blob=part.blob,
        files_at=part.files_at,
    )
    _keep_result(state, job, result)


def _keep_result(state: State, job: JobRecord, result: Result) -> None:
    note_again(job.taken.again, result, folds=job.spec.options.reduce)
    state.send(STORES, result)


def finish_items(state: State, job: JobRecord, start: int, stop: int, *, exclusive: bool, now: float) -> None:
    """Marks `[start, stop)` as done. `exclusive`: one live attempt had it alone, so that nobody else is concerned."""
    job.done.add(start, stop)
    job.changed_at = now
    if not exclusive:
        job.pending.remove(start, stop)
        for other in attempts.overlapping(job, start, stop):
            attempts.cancel(state, other)
    for counts in (job.crashes, job.losses, job.failures, job.avoid):
        if counts:
            _forget(counts, start, stop)
    if job.alone:
        job.alone = {item for item in job.alone if not start <= item < stop}
    if job.blocks:
        _free_blocks(state, job, start, stop)


def keep_counts(state: State, job: JobRecord, item: int) -> None:
    """A restart of the hub gives an item no new attempts."""
    counts = (count.get(item, 0) for count in (job.crashes, job.losses, job.failures))
    state.send(STORES, ItemTried(job.id, item, *counts))


def _forget(counts: dict[int, int] | dict[int, str], start: int, stop: int) -> None:
    for item in [item for item in counts if start <= item < stop]:
        del counts[item]


def _free_blocks(state: State, job: JobRecord, start: int, stop: int) -> None:
    """Blocks whose items are all finished make room for more; the notebook is told now and then."""
    for block in job.blocks.finish(start, stop):
        state.send(STORES, DropItems(job.id, block.start, block.stop))
        job.freed_bytes += block.size
    if job.freed_bytes >= state.policy.grant_bytes:
        grant_items(state, job)


def grant_items(state: State, job: JobRecord) -> None:
    """Tells the notebook how many bytes of items it may send beyond those that it was allowed before."""
    if (job.freed_bytes or job.wider_bytes) and job.owner in state.notebooks:
        state.send(job.owner, GrantItems(job.id, job.freed_bytes, job.wider_bytes))
        job.freed_bytes = job.wider_bytes = 0


def fail_item(state: State, job: JobRecord, fault: ItemFault, now: float) -> None:
    """An item has no value, and that is final."""
    if fault.item in job.done or not job.alive:
        return
    finish_items(state, job, fault.item, fault.item + 1, exclusive=False, now=now)
    job.failed_items += 1
    job.seq += 1
    _keep_result(state, job, Result(job.id, job.seq, fault.item, fault.item + 1, fault.worker, fault=fault))
    job.history.append(Event(now, f"given up: {fault.reason}", fault.item, fault.item + 1, fault.worker))
    if len(job.first_failures) < state.policy.shown_failures:
        job.first_failures.append(FailureLine(fault.item, fault.worker, f"{fault.kind}: {fault.reason}"))
    if job.spec.options.on_error == "stop":
        jobs.end(state, job, "failed", now, reason=f"item {fault.item} {fault.kind} on {fault.worker}")
    else:
        end_if_complete(state, job, now)


def fail_targets(state: State, job: JobRecord, worker: str, name: str, reason: str, now: float) -> None:
    """Items that were meant for this machine alone have no value."""
    for target, item in list(job.targets.items()):
        if target[0] == worker and job.alive:
            fail_item(state, job, ItemFault(item, "lost", reason, name, 1), now)


def _measure(state: State, attempt: AttemptRecord, part: Part, now: float) -> None:
    """What the part says about where its attempt is and about the worker's speed."""
    attempt.fetching = attempt.setting_up = False
    attempt.item = max(attempt.item, part.stop)
    attempt.reported_at = now
    share = attempt.job.shares.get(attempt.worker.id)
    if share is not None:
        shares.measure(attempt.job, share, attempt.slot, part.stop - part.start, part.seconds, state.policy)


def _go_on(state: State, attempt: AttemptRecord, part: Part, now: float) -> None:
    """The attempt is over, or it may be time to let a slice wait behind it."""
    if part.final:
        attempts.end(state, attempt, now)
    elif attempt.job.pending:
        state.look[attempt.worker.id, attempt.slot] = None
