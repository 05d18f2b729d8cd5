"""The scheduler: a synchronous state machine. `receive` and `tick` take the time and give what is to be sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from nbdist.driver import Send
from nbdist.errors import ProtocolError
from nbdist.scheduler import (
    attempts,
    balance,
    delivery,
    faults,
    history,
    installed,
    jobs,
    looking,
    members,
    pausing,
    restart,
    setups,
    shares,
)
from nbdist.scheduler.orders import (
    STORES,
    BlobsReady,
    BytesCame,
    Disconnect,
    KeptJob,
    OwnerChanged,
    PeerClosed,
    Restarted,
    ResultsWait,
    Resumption,
    StopJob,
    StopWorker,
    StoresFull,
)
from nbdist.scheduler.placement import fill
from nbdist.scheduler.policy import Policy
from nbdist.scheduler.records import AttemptRecord, State, WorkerRecord
from nbdist.wire.messages import (
    AddItems,
    Answer,
    CancelJob,
    ClearPool,
    CloseItems,
    ForgetJob,
    Heartbeat,
    Hello,
    InstalledPackages,
    JobReady,
    JobRefused,
    LeavePool,
    Leaving,
    Message,
    Notice,
    Part,
    PortableTask,
    Preparing,
    RenewSlots,
    SetupBegun,
    SliceBegun,
    SliceCut,
    SliceEnded,
    SlotCrashed,
    StopWorkers,
    SubmitJob,
    WorkerFacts,
)

FromWorker: TypeAlias = Callable[[State, WorkerRecord, Any, float], None]
FromNotebook: TypeAlias = Callable[[State, str, Any, float, int], None]
FromHub: TypeAlias = Callable[[State, str, Any, float], None]


class Scheduler:
    """Knows every worker and every job, and decides what runs where. A `driver.PureMachine`.

    `epoch` grows with every start of the hub and makes the names of attempts unique.
    """

    def __init__(self, epoch: int, policy: Policy | None = None) -> None:
        self.state = State(epoch, policy or Policy())

    def receive(self, peer: str, message: Message, now: float, payload_bytes: int = 0) -> list[Send]:
        """Takes a message. A peer that breaks the protocol is disconnected; nothing else changes by that message."""
        state = self.state
        self._thaw(now)
        try:
            from_worker = _FROM_WORKER.get(type(message))
            if from_worker is not None:
                worker = state.workers.get(peer)
                if worker is None:
                    return []  # it was lost a moment ago and has been told to connect again
                members.heard(state, worker, now)
                if not worker.stated and type(message) not in (WorkerFacts, InstalledPackages):
                    raise ProtocolError("a worker states its facts before anything else")
                from_worker(state, worker, message, now)
            elif (from_hub := _FROM_HUB.get(type(message))) is not None:
                from_hub(state, peer, message, now)
            elif (from_notebook := _FROM_NOTEBOOKS.get(type(message))) is not None:
                if peer not in state.notebooks:
                    raise ProtocolError(f"{type(message).__name__} from a peer that is no notebook")
                from_notebook(state, peer, message, now, payload_bytes)
            else:
                raise ProtocolError(f"{type(message).__name__} is no message for the scheduler")
        except ProtocolError as error:
            members.leave(state, peer, f"broke the protocol: {error}", now)
            state.send(peer, Disconnect("protocol", str(error), "upgrade nbdist there, or report this as a bug"))
            spec = message.spec if isinstance(message, Resumption) else message
            if isinstance(spec, SubmitJob) and spec.job not in state.jobs:
                state.send(STORES, ForgetJob(spec.job))  # they had it before, and nobody else will end it
        return self._settle(now)

    def tick(self, now: float) -> list[Send]:
        """Does what is due."""
        state = self.state
        self._thaw(now)
        due = [reason for reason, when in state.timers.items() if when <= now]
        for reason in due:
            del state.timers[reason]
        for reason in due:
            _TIMERS[reason](state, now)
        return self._settle(now, is_news=due != ["balance"])

    def deadline(self) -> float | None:
        """When `tick` is due."""
        return min(self.state.timers.values(), default=None)

    def describe(self, now: float) -> dict[str, Any]:
        """The pool as plain data; see `history.describe`."""
        return history.describe(self.state, now)

    def explain(self, job: str, item: int, now: float) -> str:
        """Why an item is not done; see `history.explain`."""
        return history.explain(self.state, job, item, now)

    def row(self, job: str, now: float) -> dict[str, Any]:
        """What `describe` says of one job; empty if it is not known."""
        found = self.state.jobs.get(job)
        return {} if found is None else history.describe_job(self.state, found, now)

    def knows_packages(self, digest: str) -> bool:
        """Whether the list of which this is the hash is here; that of a worker that tells none need not be."""
        return installed.knows(self.state, digest)

    def look_at_job(self, job: str, now: float) -> dict[str, Any]:
        """All that can be shown of one job (`looking.look_at_job`); empty if it is not known."""
        found = self.state.jobs.get(job)
        return {} if found is None else looking.look_at_job(self.state, found, now)

    def look_at_worker(self, worker: str, now: float) -> dict[str, Any]:
        """All that can be shown of one machine (`looking.look_at_worker`); empty if it is not here."""
        found = self.state.workers.get(worker)
        return {} if found is None else looking.look_at_worker(self.state, found, now)

    def events(self, now: float) -> list[dict[str, Any]]:
        """What has happened in the pool lately (`looking.pool_events`)."""
        return looking.pool_events(list(self.state.events), now)

    def timelines(self, job: str, now: float, *, around: bool) -> list[dict[str, Any]]:
        """Who worked on a job when (`looking.timeline`), and on others meanwhile; empty if it is not known."""
        found = self.state.jobs.get(job)
        return [] if found is None else looking.timelines(self.state, found, now, around=around)

    def totals(self) -> tuple[int, int, int]:
        """Items done since this hub's start, busy slots, slots."""
        workers = self.state.workers.values()
        busy, slots = sum(worker.busy_slots for worker in workers), sum(len(worker.slots) for worker in workers)
        return self.state.items_done, busy, slots

    def _thaw(self, now: float) -> None:
        """If the scheduler was not asked when it was due, the hub has stood still, and nobody is to blame for that."""
        due = self.deadline()
        if due is not None and now > due + self.state.policy.freeze_seconds:
            members.forgive_silence(self.state, now)
            jobs.wait_again(self.state, now)

    def _settle(self, now: float, *, is_news: bool = True) -> list[Send]:
        """Free slots get work; then everything that is to be said goes out."""
        state = self.state
        if state.stopping:
            jobs.end_stopped(state, now)
        if state.doubtful:
            setups.end_hopeless(state, now)
        fill(state, now)
        balance.balance(state, now, is_news=is_news)
        outbox, state.outbox = state.outbox, []
        return outbox


# --- what workers say -------------------------------------------------------------------------------------------------


def _own_attempt(
    state: State, worker: WorkerRecord, message: SliceBegun | SliceCut | SliceEnded
) -> AttemptRecord | None:
    """The worker's live attempt; None if it is over already. Raises ProtocolError if it is another worker's."""
    attempt = state.attempts.get(message.attempt)
    if attempt is not None and attempt.worker is not worker:
        raise ProtocolError("word of another worker's attempt")
    return attempt


def _slice_cut(state: State, worker: WorkerRecord, message: SliceCut, now: float) -> None:
    attempt = _own_attempt(state, worker, message)
    if attempt is not None:
        balance.sliced(state, attempt, message, now)


def _slice_begun(state: State, worker: WorkerRecord, message: SliceBegun, now: float) -> None:
    attempt = _own_attempt(state, worker, message)
    if attempt is not None:
        attempts.begun(attempt, now)


def _slice_ended(state: State, worker: WorkerRecord, message: SliceEnded, now: float) -> None:
    attempt = _own_attempt(state, worker, message)
    if attempt is not None:
        attempts.end(state, attempt, now)


_FROM_WORKER: dict[type[Message], FromWorker] = {
    WorkerFacts: members.facts,
    InstalledPackages: installed.told,
    Heartbeat: lambda state, worker, message, now: members.heartbeat(worker, message, state),
    JobReady: shares.ready,
    Preparing: shares.preparing,
    JobRefused: members.refused,
    Part: delivery.receive_part,
    SliceCut: _slice_cut,
    SetupBegun: setups.begun,
    SliceBegun: _slice_begun,
    SliceEnded: _slice_ended,
    SlotCrashed: faults.crashed,
    Leaving: members.leaving,
}


# --- what notebooks, the hub's doors and its stores say ---------------------------------------------------------------


def _stop_workers(state: State, peer: str, message: StopWorkers, now: float, size: int) -> None:
    chosen = [w for w in state.workers.values() if not message.names or w.name in message.names]
    for worker in chosen:
        state.send(worker.id, LeavePool("stopped from a notebook"))
    unknown = sorted(set(message.names) - {worker.name for worker in chosen})
    error = f"no worker is called {', '.join(unknown)}; `%distribute workers` lists them" if unknown else ""
    state.send(peer, Answer(message.request, error, "\n".join(worker.name for worker in chosen)))


def _stop_worker(state: State, message: StopWorker) -> None:
    worker = state.workers.get(message.worker)
    if worker is None:
        return
    state.send(worker.id, LeavePool(message.reason))
    for slot in worker.slots if message.at_once else ():
        for attempt in (slot.waiting, slot.running):
            if attempt is not None:
                attempts.cancel(state, attempt)


def _stop_job(state: State, message: StopJob, now: float) -> None:
    job = state.jobs.get(message.job)
    if job is not None:
        jobs.cancel(state, job, message.reason, now)


def _clear(state: State, peer: str, message: ClearPool, now: float, size: int) -> None:
    for job in [job for job in state.jobs.values() if job.owner == peer]:
        jobs.forget(state, peer, ForgetJob(job.id), now)
    for worker in state.workers.values():
        state.send(worker.id, RenewSlots())
    state.send(peer, Answer(message.request))


_FROM_NOTEBOOKS: dict[type[Message], FromNotebook] = {
    SubmitJob: lambda state, peer, message, now, size: jobs.submit(state, peer, message, now),
    Resumption: lambda state, peer, message, now, size: jobs.submit(state, peer, message.spec, now, message),
    AddItems: lambda state, peer, message, now, size: jobs.add_items(state, peer, message, now, size),
    PortableTask: lambda state, peer, message, now, size: jobs.portable_task(state, peer, message, now),
    CloseItems: lambda state, peer, message, now, size: jobs.close_items(state, peer, message, now),
    CancelJob: lambda state, peer, message, now, size: jobs.cancel_by_message(state, message, now),
    ForgetJob: lambda state, peer, message, now, size: jobs.forget(state, peer, message, now),
    StopWorkers: _stop_workers,
    ClearPool: _clear,
}

_FROM_HUB: dict[type[Message], FromHub] = {
    Hello: members.join,
    PeerClosed: lambda state, peer, message, now: members.leave(state, peer, message.reason or "disconnected", now),
    BytesCame: lambda state, peer, message, now: members.breathes(state, peer, now),
    BlobsReady: lambda state, peer, message, now: jobs.blobs_ready(state, message, now),
    OwnerChanged: lambda state, peer, message, now: jobs.change_owner(state, message, now),
    KeptJob: lambda state, peer, message, now: restart.restore(state, message, now),
    Restarted: lambda state, peer, message, now: restart.restarted(state, message, now),
    ResultsWait: lambda state, peer, message, now: pausing.results_wait(state, message, now),
    StoresFull: lambda state, peer, message, now: restart.stores_full(state, message),
    StopJob: lambda state, peer, message, now: _stop_job(state, message, now),
    StopWorker: lambda state, peer, message, now: _stop_worker(state, message),
}


# --- what is due by the clock -----------------------------------------------------------------------------------------


def _acknowledge(state: State, now: float) -> None:
    for worker in state.workers.values():
        delivery.send_acknowledgements(state, worker)


def _progress(state: State, now: float) -> None:
    """Tells notebooks how their jobs stand, if that has changed."""
    for job in state.active.values():
        delivery.grant_items(state, job)
        if job.changed_at <= job.told_at or job.owner not in state.notebooks:
            continue
        job.told_at = now
        state.send(job.owner, history.progress(state, job, now))


def _notice(state: State, now: float) -> None:
    """Says of each job that has not begun after `notice_seconds` what it waits for, and again after as long; and at
    once, or when its last slice is over, if no machine that is here can run it."""
    for job in state.active.values():
        nobody_can = history.nobody_can(state, job)
        if (job.begun and not nobody_can) or job.total == 0:
            continue
        due = job.submitted_at + state.policy.notice_seconds
        is_news = not job.told_left_out and nobody_can
        if job.begun and job.attempts:
            state.wake("notice", now + state.policy.last_slice_seconds)
            continue
        if (due <= now or is_news) and job.owner in state.notebooks:
            job.told_left_out |= is_news
            state.send(job.owner, Notice(job.id, "warning", f"job {job.id} waits: {history.waits_for(state, job)}"))
        state.wake("notice", due if due > now else now + state.policy.notice_seconds)


def _look_again(state: State, now: float) -> None:
    """Idle slots look for work again, by themselves and in what others have; `_settle` does it."""
    state.look_everywhere = bool(state.idle)


_TIMERS: dict[str, Callable[[State, float], None]] = {
    "silence": members.drop_silent,
    "acknowledge": _acknowledge,
    "progress": _progress,
    "notice": _notice,
    "orphans": members.cancel_orphans,
    "stopping": jobs.end_stopped,
    "balance": _look_again,
    "try again": shares.try_again,
    "settle": restart.settle,
}
