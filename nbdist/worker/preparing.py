"""What a machine is at while it prepares jobs, and when the hub hears of it.

Whoever does something for a job says so with `Doings.tell`; the view shows it behind the machine's name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from nbdist.driver import Send
from nbdist.wire.messages import Message, Preparing
from nbdist.wire.units import size_text
from nbdist.worker.orders import HUB, JobSeen, LookAtJob
from nbdist.worker.records import WorkerPolicy

MAX_CHARACTERS = 100
"""Of what is said at once."""


@dataclass(slots=True)
class _Doing:
    what: str = ""
    total_bytes: int = 0
    """Of what is being fetched; 0: nothing is."""
    come_bytes: int = 0


class Doings:
    """What is being done for each job. Any thread may tell; each job's data is fetched by one at a time."""

    def __init__(self) -> None:
        self._doings: dict[str, _Doing] = {}

    def begin(self, job: str) -> None:
        """A job comes."""
        self._doings[job] = _Doing()

    def tell(self, job: str, what: str) -> None:
        """The machine now does this for the job: `installing pandas 2.3.3`. Nobody hears it of a job that is over."""
        if job in self._doings:
            self._doings[job] = _Doing(what)

    def fetching(self, job: str, total_bytes: int) -> None:
        """It fetches so many bytes for the job."""
        if job in self._doings:
            self._doings[job] = _Doing(total_bytes=total_bytes)

    def came(self, job: str, count: int) -> None:
        """So many bytes more of them are here."""
        doing = self._doings.get(job)
        if doing is not None:
            doing.come_bytes += count

    def forget(self, job: str) -> None:
        """Nothing more is done for the job."""
        self._doings.pop(job, None)

    def of(self, job: str) -> str:
        """What is being done now, for people; empty: nothing that takes long."""
        doing = self._doings.get(job)
        if doing is None:
            return ""
        if not doing.total_bytes:
            return doing.what[:MAX_CHARACTERS]
        come = min(doing.come_bytes, doing.total_bytes)
        return f"fetching {size_text(come)} of {size_text(doing.total_bytes)}"


class Bulletin:
    """When the hub hears what is being done for the jobs that are being prepared. Pure.

    The agent is asked every so often, and what it answers is passed on if it is news: nothing is said of a job that is
    ready soon. `coming`: those jobs, as they come and go.
    """

    def __init__(self, policy: WorkerPolicy, coming: Collection[str]) -> None:
        self._policy = policy
        self._coming = coming
        self._said: dict[str, str] = {}
        """What was said last of each job."""
        self._look_at = 0.0

    def begun(self, job: str, now: float) -> None:
        """The job is about to be prepared."""
        for over in self._said.keys() - set(self._coming):
            del self._said[over]
        if not self._coming:
            self._look_at = now + self._policy.preparing_seconds
        self._said[job] = ""

    def due_at(self) -> float | None:
        """When the agent is to look."""
        return self._look_at if self._coming else None

    def due(self, now: float) -> Iterator[Message]:
        """What it is to look at."""
        if self._coming and self._look_at <= now:
            self._look_at = now + self._policy.preparing_seconds
            yield from [LookAtJob(job) for job in self._coming]

    def seen(self, event: JobSeen) -> list[Send]:
        """What is told of a job."""
        if event.job not in self._coming or self._said.get(event.job) == event.what:
            return []
        self._said[event.job] = event.what
        return [Send(HUB, Preparing(event.job, event.what))]
