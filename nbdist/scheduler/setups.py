"""Setups: what a slot runs before the items of a job, and what follows if that fails."""

from __future__ import annotations

from nbdist.errors import ProtocolError
from nbdist.scheduler import attempts, jobs
from nbdist.scheduler.history import left_out
from nbdist.scheduler.records import JobRecord, ShareState, State, WorkerRecord
from nbdist.wire.messages import SetupBegun


def begun(state: State, worker: WorkerRecord, message: SetupBegun, now: float) -> None:
    """The attempt's slot runs a setup. Raises ProtocolError if the attempt is another worker's."""
    attempt = state.attempts.get(message.attempt)
    if attempt is None:
        return
    if attempt.worker is not worker:
        raise ProtocolError("word of another worker's attempt")
    if not attempt.setting_up:
        attempt.setting_up = True
        attempt.reported_at = now


def failed(state: State, job: JobRecord, worker: WorkerRecord) -> None:
    """A setup has failed on this machine, or its task cannot be loaded: what has not begun there does not begin."""
    state.doubtful[job.id] = job
    for attempt in list(job.attempts.values()):
        if attempt.worker is worker and (attempt.is_early or not attempt.running):
            attempts.cancel(state, attempt)


def end_hopeless(state: State, now: float) -> None:
    """Ends the jobs that none of the machines can run, because its own code fails there: as it will on the next."""
    for job in list(state.doubtful.values()):
        if not job.alive:
            del state.doubtful[job.id]
        elif not _has_hope(state, job):
            jobs.end(state, job, "refused", now, reason=left_out(job))


def _has_hope(state: State, job: JobRecord) -> bool:
    """Whether something of the job runs, or some machine may still run it."""
    if any(not attempt.cancelled for attempt in job.attempts.values()):
        return True
    shares = [job.shares.get(worker.id) for worker in state.workers.values() if not worker.leaving]
    return not shares or any(share is None or share.state is not ShareState.REFUSED for share in shares)
