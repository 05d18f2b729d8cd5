"""Machines with another version of Python than the notebook: the form of the task that they need, and who has it.

Nobody is asked before such a machine would take part: a pool of one version pays nothing. Then the notebook packs the
task once more, as source, or says what cannot go. Until it has answered these machines wait, and the others go on.
"""

from __future__ import annotations

from nbdist.scheduler import history, shares
from nbdist.scheduler.orders import STORES
from nbdist.scheduler.portable import obstacle, other_python
from nbdist.scheduler.reasons import MAX_NAMES
from nbdist.scheduler.records import Event, JobRecord, Share, ShareState, State
from nbdist.wire.messages import Notice, PortableTask

MAX_REASON_CHARACTERS = 2_000
"""Of why something cannot go as source: it fits a header, at up to twelve bytes a character."""


def taken(state: State, job: JobRecord | None, message: PortableTask, now: float) -> None:
    """The notebook has answered; what it gave is here. Only the first answer counts."""
    if job is None or not job.alive or job.portable is not None:
        return
    reason = message.refusal
    if len(reason) > MAX_REASON_CHARACTERS:
        message = PortableTask(job.id, f"{reason[:MAX_REASON_CHARACTERS]} … (cut)")
    job.portable = message
    state.send(STORES, message)
    what = f"cannot go as source: {message.refusal}" if message.refusal else "is here as source"
    job.history.append(Event(now, what, 0, 0))
    go_on(state, job, now)
    if message.refusal:
        _tell(state, job)


def go_on(state: State, job: JobRecord, now: float) -> None:
    """Prepares the machines that have waited for the notebook, or for its answer; or asks it (again)."""
    job.is_portable_asked = False
    if job.waits_for_targets and (job.portable is not None or job.owner in state.notebooks):
        job.waits_for_targets = False
        shares.add_targets(state, job, list(state.workers.values()))
    for share in [share for share in job.shares.values() if share.awaits_task]:
        del job.shares[share.worker.id]
        shares.prepare(state, job, share.worker, now)
    state.look_everywhere = True


def notebook_changed(state: State, notebook: str, now: float) -> None:
    """A notebook has come, or has gone."""
    for job in list(state.active.values()):
        if job.owner == notebook and job.portable is None:
            go_on(state, job, now)


def only_here(state: State, job: JobRecord, reason: str, now: float) -> None:
    """Items have come that only the notebook's version of Python can read: the others leave the job."""
    if job.native:
        return
    job.native = reason[:MAX_REASON_CHARACTERS]
    for share in list(job.shares.values()):
        problem = None if share.state is ShareState.REFUSED else obstacle(job, share.worker, has_notebook=True)
        if problem is not None:
            shares.drop(job, share.worker)
            shares.leave_out(state, job, Share(share.worker, ShareState.REFUSED, problem.reason, problem.todo), now)
    _tell(state, job)


def _tell(state: State, job: JobRecord) -> None:
    """Says which machines take no part in a job, unless the job waits for them: then the notice of that says it."""
    names = [share.worker.name for share in job.shares.values() if other_python(job, share.worker)]
    if names and job.owner in state.notebooks and not history.nobody_can(state, job):
        some = ", ".join(names[:MAX_NAMES]) + (" …" if len(names) > MAX_NAMES else "")
        reason = job.native or (job.portable.refusal if job.portable is not None else "")
        text = f"{some}: another version of Python, left out of job {job.id}; {reason}"
        state.send(job.owner, Notice(job.id, "warning", text))
