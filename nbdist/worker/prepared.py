"""The jobs that a worker prepares and has prepared. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from nbdist.driver import Send
from nbdist.wire.messages import ForgetJob, JobOptions, JobReady, JobRefused, LoadTask, Message, PrepareJob
from nbdist.worker.environments import Environments
from nbdist.worker.orders import (
    HUB,
    LOCAL,
    BuildBegun,
    DropJob,
    EnvironmentInPlace,
    EnvironmentNotInPlace,
    GetReady,
    JobInPlace,
    JobNotInPlace,
    JobSeen,
    ModulesInPlace,
)
from nbdist.worker.preparing import Bulletin
from nbdist.worker.records import WorkerPolicy

AGAIN_SECONDS = 10.0
"""The hub asks after so long whether a job can run here by now, if what was in its way may be over."""

Event: TypeAlias = (
    JobInPlace | ModulesInPlace | JobNotInPlace | JobSeen | BuildBegun | EnvironmentInPlace | EnvironmentNotInPlace
)
EVENTS: tuple[type[Message], ...] = (
    JobInPlace,
    ModulesInPlace,
    JobNotInPlace,
    JobSeen,
    BuildBegun,
    EnvironmentInPlace,
    EnvironmentNotInPlace,
)
"""Of the agent's: what concerns jobs."""


class PreparedJobs:
    """Jobs by their ids."""

    def __init__(self, policy: WorkerPolicy) -> None:
        self._environments = Environments(policy.installer)
        self._coming: dict[str, PrepareJob] = {}
        self._lacking: dict[str, set[type[Message]]] = {}
        """Job -> the events that it waits for."""
        self._bulletin = Bulletin(policy, self._coming)
        self._ready: dict[str, PrepareJob] = {}
        self.refusal: tuple[str, str] | None = None
        """Why no job can run here, and what to do."""

    def receive(self, message: PrepareJob | ForgetJob | Event, now: float = 0.0) -> list[Send]:
        """Takes what concerns jobs; gives what is to be said and done."""
        if isinstance(message, PrepareJob):
            return self._prepare(message, now)
        if isinstance(message, JobSeen):
            return self._bulletin.seen(message)
        if isinstance(message, JobInPlace | ModulesInPlace):
            return self._in_place(message)
        if isinstance(message, BuildBegun | EnvironmentInPlace | EnvironmentNotInPlace):
            return self._here(self._environments.receive(message))
        known = message.job in self._coming or message.job in self._ready
        self._coming.pop(message.job, None)
        self._lacking.pop(message.job, None)
        self._ready.pop(message.job, None)
        if not known:
            return []
        told = []
        if isinstance(message, JobNotInPlace):
            told = [Send(HUB, JobRefused(message.job, message.reason, message.todo, message.again_seconds))]
        return [*told, *self._here(self._environments.drop(message.job)), Send(LOCAL, DropJob(message.job))]

    def refuse(self, problem: str, todo: str, broken: EnvironmentNotInPlace | None) -> list[Send]:
        """A slot could not be started: what that means for jobs; the problem is of all slots, or an environment's."""
        if broken is not None:
            return self.receive(broken)
        return self.refuse_all(problem, todo) if problem and self.refusal is None else []

    def refuse_all(self, reason: str, todo: str) -> list[Send]:
        """Nothing can run here: every job is told so and dropped, and so is each that comes until `refusal` is None."""
        self.refusal = (reason, todo)
        refusals = [JobNotInPlace(job, reason, todo, AGAIN_SECONDS) for job in self.names()]
        return [send for refusal in refusals for send in self.receive(refusal)]

    def ready(self) -> tuple[str, ...]:
        """The jobs of which everything is here."""
        return tuple(self._ready)

    def is_ready(self, job: str) -> bool:
        """Whether everything of the job is here."""
        return job in self._ready

    def names(self) -> list[str]:
        """All jobs."""
        return [*self._coming, *self._ready]

    def options(self, job: str) -> JobOptions:
        """The rules of a job that is ready."""
        return self._ready[job].options

    def environment(self, job: str) -> str:
        """In which environment the job's slots run; empty: the worker's own."""
        return self._environments.name(job)

    def load_task(self, job: str) -> LoadTask:
        """What a slot is told before its first slice of a job that is ready."""
        message = self._ready[job]
        return LoadTask(job, message.options, ranges=message.ranges, each=message.each, portable=message.portable)

    def hub_lost(self) -> list[Send]:
        """What was on its way will not come; the hub asks again, if the job is not over by then."""
        dropped = [Send(LOCAL, DropJob(job)) for job in self._coming]
        for job in self._coming:
            dropped += self._here(self._environments.drop(job, is_hub_lost=True))
        self._coming.clear()
        self._lacking.clear()
        return dropped

    def times(self) -> Iterator[float | None]:
        """When something is due."""
        yield self._bulletin.due_at()

    def due(self, now: float) -> Iterator[Message]:
        """What the agent is to look at."""
        return self._bulletin.due(now)

    def _prepare(self, message: PrepareJob, now: float) -> list[Send]:
        if self.refusal is not None:
            return [Send(HUB, JobRefused(message.job, *self.refusal, again_seconds=AGAIN_SECONDS))]
        if message.job in self._ready:
            return [Send(HUB, JobReady(message.job))]
        if message.job in self._coming:
            return []
        job = message.job
        self._bulletin.begun(job, now)
        self._coming[job] = message
        self._lacking[job] = {JobInPlace, ModulesInPlace} if message.install else {JobInPlace}
        wanted = self._environments.want(job, message.install) if message.install else []
        order = GetReady(job, message.task, message.blobs, message.modules, message.bundles, self.environment(job))
        return [Send(LOCAL, order), *self._here(wanted)]

    def _in_place(self, event: JobInPlace | ModulesInPlace) -> list[Send]:
        if event.job not in self._coming:
            return []
        self._lacking[event.job].discard(type(event))
        if self._lacking[event.job]:
            return []
        del self._lacking[event.job]
        self._ready[event.job] = self._coming.pop(event.job)
        return [Send(HUB, JobReady(event.job))]

    def _here(self, messages: Iterable[Message]) -> list[Send]:
        """Orders for the agent; of a job that cannot run, what follows from that."""
        found: list[Send] = []
        for message in messages:
            found += self.receive(message) if isinstance(message, JobNotInPlace) else [Send(LOCAL, message)]
        return found
