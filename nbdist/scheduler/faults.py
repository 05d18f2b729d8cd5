"""Crashes, losses and failures, counted apart.

A slot that dies in an item is held against that item. A worker that vanishes is not, unless it happens again and
again: an item that was running in three lost workers runs alone, and after five it fails.
"""

from __future__ import annotations

from nbdist.errors import ProtocolError
from nbdist.scheduler import attempts, delivery
from nbdist.scheduler.records import AttemptRecord, Event, PoolEvent, State, WorkerRecord
from nbdist.wire.messages import ItemFault, SlotCrashed


def crashed(state: State, worker: WorkerRecord, message: SlotCrashed, now: float) -> None:
    """A slot's process died, or a result cannot be brought here.

    Raises ProtocolError if the item is none of the attempt's.
    """
    attempt = state.attempts.get(message.attempt)
    if attempt is None:
        return
    if attempt.worker is not worker or not attempt.start <= message.item < max(attempt.stop, attempt.start + 1):
        raise ProtocolError("a crash in an item that the slot did not have")
    job, item = attempt.job, message.item
    counts = not attempt.cancelled and item >= attempt.reported and item not in job.done
    attempts.end(state, attempt, now, "failed" if message.kind == "timeout" else "crashed")
    if not counts or not job.alive:
        return
    if message.kind == "timeout":
        _timed_out(state, attempt, message, now)
        return
    job.crashes[item] = job.crashes.get(item, 0) + 1
    delivery.keep_counts(state, job, item)
    job.alone.add(item)
    job.history.append(Event(now, f"{message.kind}: {message.reason}", item, item + 1, worker.name, attempt.slot))
    state.events.append(PoolEvent(now, "crashed", worker.name, job.id, f"item {item}: {message.reason}"))
    if job.crashes[item] >= state.policy.max_crashes:
        fault = ItemFault(item, message.kind, message.reason, worker.name, job.crashes[item], message.stderr)
        delivery.fail_item(state, job, fault, now)


def _timed_out(state: State, attempt: AttemptRecord, message: SlotCrashed, now: float) -> None:
    """The item did not end although it was interrupted: a failure, as if its code had raised."""
    job, item, worker = attempt.job, message.item, attempt.worker
    job.failures[item] = job.failures.get(item, 0) + 1
    if job.failures[item] <= job.spec.options.retries:
        delivery.keep_counts(state, job, item)
        job.avoid[item] = worker.id
        job.history.append(Event(now, "took too long, will be retried", item, item + 1, worker.name, attempt.slot))
        return
    fault = ItemFault(item, "timeout", message.reason, worker.name, job.failures[item], message.stderr)
    delivery.fail_item(state, job, fault, now)


def lost_attempts(state: State, worker: WorkerRecord, reason: str, now: float, blame: bool) -> None:
    """The worker has vanished with all that it had."""
    held = [slot.running for slot in worker.slots] + [slot.waiting for slot in worker.slots]
    for attempt in held:
        if attempt is None:
            continue
        running = attempt.running
        attempt.job.history.append(
            Event(now, f"lost: {reason}", attempt.reported, attempt.stop, worker.name, attempt.slot)
        )
        attempts.end(state, attempt, now, "lost")
        if blame and running and not attempt.is_early and not attempt.cancelled:
            _count_loss(state, attempt, worker, reason, now)


def _count_loss(state: State, attempt: AttemptRecord, worker: WorkerRecord, reason: str, now: float) -> None:
    job, item = attempt.job, max(attempt.item, attempt.reported)
    if not job.alive or item >= attempt.stop or item in job.done:
        return
    job.losses[item] = job.losses.get(item, 0) + 1
    delivery.keep_counts(state, job, item)
    if job.losses[item] >= state.policy.losses_before_alone:
        job.alone.add(item)
    if job.losses[item] >= state.policy.max_losses:
        fault = ItemFault(item, "lost", reason, worker.name, job.losses[item])
        delivery.fail_item(state, job, fault, now)
