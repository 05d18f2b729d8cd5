"""Jobs that a notebook may have instead of a new one, when it runs the same cell again. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from nbdist.errors import ProtocolError
from nbdist.hub.jobs import JobRecord
from nbdist.wire.messages import SubmitJob

LEFT_JOBS = 1_000
"""So many jobs that no notebook holds are kept for the next run of their cells; the oldest go first."""
_KEY = re.compile(r"(?:[0-9a-f]{64})?", re.ASCII)


def check_keys(spec: SubmitJob) -> None:
    """Raises ProtocolError if the keys of a job are none."""
    if not _KEY.fullmatch(spec.key) or not _KEY.fullmatch(spec.items_key):
        raise ProtocolError("a job's key has 64 hex digits")


def is_whole(record: JobRecord) -> bool:
    """Whether the job has ended well, and all its results are here."""
    ended = record.finished
    return (
        ended is not None
        and ended.outcome in ("done", "stopped")
        and not record.failed_items
        and not record.is_torn
        and not record.dropped.seq
        and record.results.last == ended.last_seq
    )


def has_all_items(record: JobRecord) -> bool:
    """Whether the job can go on to its end without its notebook."""
    return not record.missing and (record.items is None or record.items.stop == record.submit.total)


class Offers:
    """The jobs of one hub, as far as they have keys."""

    def __init__(self, jobs: Mapping[str, JobRecord]) -> None:
        self._jobs = jobs

    def find(self, key: str, owner: str, peer: str, is_here: Callable[[str], bool]) -> JobRecord | None:
        """The newest job with this key, of this credential, that a notebook may take over or has itself.

        `is_here`: whether a peer is connected.
        """
        if not key:
            return None
        for record in reversed(list(self._jobs.values())):
            if record.submit.key != key or record.owner != owner or record.is_released:
                continue
            is_free = not is_here(record.peer)
            if (record.peer == peer or is_free) and is_whole(record):
                return record
            if is_free and record.finished is None and has_all_items(record):
                return record
        return None

    def outdated(self) -> list[str]:
        """Of the jobs that their notebooks have left those that are too many, the oldest first."""
        left = [record.job for record in self._jobs.values() if record.is_left]
        return left[: max(0, len(left) - LEFT_JOBS)]
