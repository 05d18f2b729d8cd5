"""What is true of the scheduler's records after every step. Used by the simulation, not by the hub."""

from __future__ import annotations

from itertools import pairwise
from math import isclose

from nbdist.scheduler.intervals import Intervals
from nbdist.scheduler.records import JobRecord, Phase, ShareState, State
from nbdist.scheduler.timeline import MAX_BARS


class InvariantError(AssertionError):
    """The records contradict each other: a bug in the scheduler."""


def check(state: State) -> None:
    """Raises InvariantError if anything is out of place."""
    for job in state.jobs.values():
        _check_job(state, job)
    for job in state.jobs.values():
        _check_timeline(job)
    _check_slots(state)
    _check_indices(state)
    _require(not state.outbox, "something is left to be said")


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise InvariantError(what)


def _check_job(state: State, job: JobRecord) -> None:
    """Every item is in exactly one place while the job is alive."""
    name = f"job {job.id}"
    _require(job.done.count <= job.available, f"{name}: more items done than there are")
    _require(not job.taken.ahead.overlaps(0, job.available), f"{name}: items have come and are still to come")
    _require((job.id in state.active) == job.alive, f"{name}: active and {job.phase}")
    _require((job.id in state.stopping) == (job.phase is Phase.STOPPING), f"{name}: stopping and {job.phase}")
    if job.phase is not Phase.RUNNING:
        _require(job.phase is Phase.WAITING or not job.pending, f"{name}: items pending in a job that is {job.phase}")
        return
    places = Intervals(job.done)
    for start, stop in job.pending:
        _require(not places.overlaps(start, stop), f"{name}: [{start}, {stop}) pending and done")
        places.add(start, stop)
    live = [attempt for attempt in job.attempts.values() if not attempt.cancelled]
    for attempt in live:
        start, stop = attempt.reported, attempt.stop
        _require(start <= stop, f"{name}: attempt {attempt.key} has reported more than it has")
        _require(not job.done.overlaps(start, stop), f"{name}: attempt {attempt.key} works on what is done")
        _require(not job.pending.overlaps(start, stop), f"{name}: attempt {attempt.key} works on what is pending")
        if not (attempt.copy or attempt.copied):
            _require(not places.overlaps(start, stop), f"{name}: [{start}, {stop}) is with two attempts")
        places.add(start, stop)
    _require(places.covers(0, job.available), f"{name}: items {places.gaps(0, job.available)[:3]} are nowhere")
    _require(not job.complete, f"{name}: complete and not ended")
    _check_sums(state, job)


def _check_timeline(job: JobRecord) -> None:
    """Each slot does one thing after the other."""
    drawn = job.timeline
    _require(drawn.count == sum(map(len, drawn.lines.values())) <= MAX_BARS, f"job {job.id}: bars without a bound")
    for line, bars in drawn.lines.items():
        ends = [when for bar in bars for when in (bar.began, bar.ended)]
        _require(all(a <= b + 1e-6 for a, b in pairwise(ends)), f"job {job.id}: {line} does two things at once")


def _check_sums(state: State, job: JobRecord) -> None:
    ready = [
        (len(state.workers[worker].slots), share)
        for worker, share in job.shares.items()
        if share.state is ShareState.READY
    ]
    _require(job.ready_slots == sum(slots for slots, _ in ready), f"job {job.id}: ready slots")
    _require(job.ready_workers == len(ready), f"job {job.id}: ready workers")
    _require(job.known_slots == sum(slots for slots, share in ready if share.speed), f"job {job.id}: known slots")
    total = sum(slots * share.speed for slots, share in ready)
    _require(isclose(job.total_speed, total, rel_tol=1e-6, abs_tol=1e-6), f"job {job.id}: total speed")
    expected = sum(attempt.expected_seconds for attempt in job.attempts.values())
    _require(isclose(job.in_flight_seconds, expected, rel_tol=1e-6, abs_tol=1e-6), f"job {job.id}: seconds in flight")


def _check_slots(state: State) -> None:
    """Slots and attempts point at each other, and the lists of free slots are right."""
    held = set()
    for worker in state.workers.values():
        for number, slot in enumerate(worker.slots):
            place = (worker.id, number)
            for attempt, running in ((slot.running, True), (slot.waiting, False)):
                if attempt is None:
                    continue
                held.add(attempt.key)
                _require(attempt.worker is worker and attempt.slot == number, f"{place}: another slot's attempt")
                _require(attempt.running is running, f"{place}: attempt {attempt.key} runs or waits, but not here")
            _require(slot.waiting is None or slot.running is not None, f"{place}: one waits behind none")
            takes = worker.stated and not worker.leaving
            _require((place in state.idle) == (takes and slot.running is None), f"{place}: idle")
            thin = takes and slot.running is not None and slot.waiting is None
            _require((place in state.thin) == thin, f"{place}: thin")
    _require(held == set(state.attempts), "attempts and slots disagree")


def _check_indices(state: State) -> None:
    _require(all(place[0] in state.workers for place in (*state.idle, *state.thin)), "a free slot of nobody")
    for attempt in state.attempts.values():
        _require(attempt.job.attempts.get(attempt.key) is attempt, f"attempt {attempt.key} unknown to its job")
    for job in state.active.values():
        _require(state.jobs.get(job.id) is job, f"job {job.id} is active and unknown")
