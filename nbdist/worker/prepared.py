"""The jobs that a worker prepares and has prepared. Pure."""

from __future__ import annotations

from nbdist.driver import Send
from nbdist.wire.messages import ForgetJob, JobOptions, JobReady, JobRefused, LoadTask, PrepareJob
from nbdist.worker.orders import HUB, LOCAL, DropJob, GetReady, JobInPlace, JobNotInPlace

AGAIN_SECONDS = 10.0
"""The hub asks after so long whether a job can run here by now, if what was in its way may be over."""


class PreparedJobs:
    """Jobs by their ids."""

    def __init__(self) -> None:
        self._coming: dict[str, PrepareJob] = {}
        self._ready: dict[str, PrepareJob] = {}
        self.refusal: tuple[str, str] | None = None
        """Why no job can run here, and what to do."""

    def receive(self, message: PrepareJob | JobInPlace | JobNotInPlace | ForgetJob) -> list[Send]:
        """Takes what concerns jobs; gives what is to be said and done."""
        if isinstance(message, PrepareJob):
            return self._prepare(message)
        if isinstance(message, JobInPlace):
            return self._in_place(message.job)
        known = message.job in self._coming or message.job in self._ready
        self._coming.pop(message.job, None)
        self._ready.pop(message.job, None)
        if not known:
            return []
        told = []
        if isinstance(message, JobNotInPlace):
            told = [Send(HUB, JobRefused(message.job, message.reason, message.todo, message.again_seconds))]
        return [*told, Send(LOCAL, DropJob(message.job))]

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

    def load_task(self, job: str) -> LoadTask:
        """What a slot is told before its first slice of a job that is ready."""
        message = self._ready[job]
        return LoadTask(job, message.options, ranges=message.ranges, each=message.each, portable=message.portable)

    def hub_lost(self) -> list[Send]:
        """What was on its way will not come; the hub asks again, if the job is not over by then."""
        dropped = [Send(LOCAL, DropJob(job)) for job in self._coming]
        self._coming.clear()
        return dropped

    def _prepare(self, message: PrepareJob) -> list[Send]:
        if self.refusal is not None:
            return [Send(HUB, JobRefused(message.job, *self.refusal, again_seconds=AGAIN_SECONDS))]
        if message.job in self._ready:
            return [Send(HUB, JobReady(message.job))]
        if message.job in self._coming:
            return []
        self._coming[message.job] = message
        return [Send(LOCAL, GetReady(message.job, message.task, message.blobs, message.modules, message.bundles))]

    def _in_place(self, job: str) -> list[Send]:
        message = self._coming.pop(job, None)
        if message is None:
            return []
        self._ready[job] = message
        return [Send(HUB, JobReady(job))]
