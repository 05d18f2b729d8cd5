"""How many items a slot is given at once."""

from __future__ import annotations

from itertools import islice
from math import inf

from nbdist.scheduler.policy import Policy
from nbdist.scheduler.records import JobRecord, Place, Share


def next_slice(
    job: JobRecord, share: Share, place: Place, policy: Policy, busy_seconds: float | None, now: float
) -> tuple[int, int] | None:
    """The range of pending items that this slot should be given next; None: none, or none for now.

    `busy_seconds`: the slot is expected to be busy for so long, the slice would wait there; None: it is idle.
    """
    if not job.pending:
        return None
    if job.targets:
        return _target(job, place)
    found = _first_range(job, place)
    if found is None:
        return None
    start, stop = found
    size = job.spec.options.task_size
    if busy_seconds is not None and not (
        _needs_one_more(share, size or 1, policy, busy_seconds) or _is_worth_fetching(job, start)
    ):
        return None
    count = (start // size + 1) * size - start if size else _count(job, share, policy, now)
    if count == 0:
        return None
    return start, _end(job, start, min(stop, start + count), policy)


def _end(job: JobRecord, start: int, stop: int, policy: Policy) -> int:
    """Where a slice from `start` to `stop` must end at the latest.

    Items that are to run alone do, and the blocks of a slice fit one frame.
    """
    if start in job.alone:
        return start + 1
    stop = min([stop, *(item for item in job.alone if start < item < stop)])
    if not job.blocks:
        return stop
    blob_bytes = inf if job.spec.options.task_size else policy.slice_blob_bytes
    return job.blocks.reach(start, stop, policy.slice_bytes, blob_bytes)


def _is_worth_fetching(job: JobRecord, start: int) -> bool:
    """Whether an item should wait at a busy slot, because its blobs can come meanwhile; not if idle slots want it."""
    return job.blocks.has_blobs(start) and job.remaining > job.ready_slots


def _needs_one_more(share: Share, items: int, policy: Policy, busy_seconds: float) -> bool:
    """Whether a slice should wait at a busy slot.

    Not while there is time to ask for it; and where a slice takes long, asking when it ends costs nothing.
    """
    return busy_seconds <= policy.wait_seconds and items <= share.speed * policy.wait_seconds


def _count(job: JobRecord, share: Share, policy: Policy, now: float) -> int:
    """At most half of (remaining work x this slot's share of the speed), and at most `slice_seconds` of work.

    One item while the speed is not known.
    """
    speed = share.speed
    if not speed:
        return 1
    pool = job.total_speed * job.ready_slots / job.known_slots
    remaining = job.remaining
    others_end = job.unfinished / pool + 1 / job.fastest
    if remaining < 2 * job.ready_slots and 1 / speed > others_end and _fastest_is_at_work(job, 1 / speed, now):
        return 0  # the faster slots are done with all the rest before this one is done with one item
    count = max(remaining * speed / pool / 2, speed * policy.min_slice_seconds)
    return max(1, int(min(count, speed * policy.slice_seconds)))


def _fastest_is_at_work(job: JobRecord, seconds: float, now: float) -> bool:
    """Whether the fastest worker has a slot that works for this job and was heard of within these seconds."""
    if job.avoid:
        return False  # it may be the one that is not to be given the item
    slots = job.shares[job.fastest_worker].worker.slots
    return any(
        slot.running is not None and slot.running.job is job and now - slot.running.reported_at < seconds
        for slot in slots
    )


def _first_range(job: JobRecord, place: Place) -> tuple[int, int] | None:
    """The lowest pending range that does not begin with an item which is to be tried on another worker."""
    if not job.avoid or job.ready_workers < 2:
        return job.pending.first()
    for start, stop in islice(job.pending, 2 * len(job.avoid) + 1):
        while start < stop and job.avoid.get(start) == place[0]:
            start += 1
        if start < stop:
            avoided = [item for item, worker in job.avoid.items() if start < item < stop and worker == place[0]]
            return start, min([stop, *avoided])
    return None


def _target(job: JobRecord, place: Place) -> tuple[int, int] | None:
    for target in (place, (place[0], -1)):
        item = job.targets.get(target)
        if item is not None and item in job.pending:
            return item, item + 1
    return None
