"""Which job a free slot works for."""

from __future__ import annotations

from collections import OrderedDict

from nbdist.scheduler import attempts
from nbdist.scheduler.records import JobRecord, Phase, Place, ShareState, State
from nbdist.scheduler.slicing import next_slice


def fill(state: State, now: float) -> None:
    """Finds work for the slots whose situation has changed; idle slots first, then those where nothing waits."""
    if state.awaited or state.stores_full:
        return
    if state.look_everywhere:
        state.look_everywhere = False
        state.look.clear()
        _fill_all(state, state.idle, now)
        _fill_all(state, state.thin, now)
        return
    while state.look:
        place, _ = state.look.popitem()
        if place in state.idle:
            _give(state, place, now)
        if place in state.thin:
            _give(state, place, now)


def _fill_all(state: State, places: OrderedDict[Place, None], now: float) -> None:
    """Goes through the slots until nothing is pending; those that could not be given anything come last next time."""
    unable: list[Place] = []
    while places and any(job.pending and not job.paused for job in state.active.values()):
        place = next(iter(places))
        if not _give(state, place, now):
            del places[place]
            unable.append(place)
    for place in unable:
        places[place] = None


def _give(state: State, place: Place, now: float) -> bool:
    """Gives a slot one slice; the jobs that have had the least of the pool come first.

    A busy slot is not given what would wait before a job whose turn it is, and whose slices do not wait: it would never
    be idle for that.
    """
    worker = state.workers[place[0]]
    running = worker.slots[place[1]].running
    busy_seconds = None if running is None else running.seconds_left(now)
    for job in _candidates(state, place[0], now):
        share = job.shares[place[0]]
        found = next_slice(job, share, place, state.policy, busy_seconds, now)
        if found is not None:
            attempts.begin(state, job, worker, place[1], *found, now)
            return True
        if running is not None and next_slice(job, share, place, state.policy, None, now) is not None:
            return False
    return False


def _candidates(state: State, worker: str, now: float) -> list[JobRecord]:
    jobs = [job for job in state.active.values() if job.pending and not job.paused and _is_ready(job, worker)]
    if len(jobs) > 1:
        jobs.sort(key=lambda job: job.usage(now))
    return jobs


def _is_ready(job: JobRecord, worker: str) -> bool:
    share = job.shares.get(worker)
    return share is not None and share.state is ShareState.READY and job.phase is Phase.RUNNING
