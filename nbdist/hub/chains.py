"""Which jobs resume which: an earlier one's results are kept as long as a later one is known. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from nbdist.hub.jobs import JobRecord
from nbdist.scheduler.orders import Resumption
from nbdist.wire import resuming
from nbdist.wire.messages import SubmitJob


class Chains:
    """The jobs of one hub, as far as they resume others."""

    def __init__(self, jobs: Mapping[str, JobRecord]) -> None:
        self._jobs = jobs
        self._later: Counter[str] = Counter()
        """Of each job that is resumed: by how many that are known."""

    def add(self, record: JobRecord) -> None:
        """A job is here."""
        if record.submit.resumes:
            self._later[record.submit.resumes] += 1

    def remove(self, record: JobRecord) -> JobRecord | None:
        """A job is gone; gives the earlier one if that was kept for it alone."""
        earlier = record.submit.resumes
        if not earlier:
            return None
        self._later[earlier] -= 1
        if self._later[earlier]:
            return None
        del self._later[earlier]
        found = self._jobs.get(earlier)
        return found if found is not None and found.is_unwanted else None

    def needs(self, job: str) -> bool:
        """Whether a later job that is known has taken over what this one has done."""
        return job in self._later

    def before(self, record: JobRecord) -> tuple[JobRecord, ...]:
        """The jobs whose results a job has taken over, newest first."""
        found: list[JobRecord] = []
        while (earlier := self._jobs.get(record.submit.resumes)) is not None and len(found) < resuming.MAX_CHAIN:
            found.append(earlier)
            record = earlier
        return tuple(found)

    def resumption(self, spec: SubmitJob, owner: str) -> Resumption:
        """What is known here of the job that a new one of the same credential resumes."""
        record = self._jobs.get(spec.resumes)
        if record is None or record.owner != owner:
            return Resumption(spec, problem=resuming.unknown(spec.resumes))
        if len(self.before(record)) >= resuming.MAX_CHAIN - 1:
            times = f"job {record.job} is the last of {resuming.MAX_CHAIN} jobs that resume each other"
            return Resumption(spec, problem=f"{times}, the bound: run it anew, without --resume")
        return Resumption(spec, tuple(record.dropped.done))
