"""Which machines can run a job: what is known without asking them."""

from __future__ import annotations

from typing import NamedTuple

from nbdist.wire import needs
from nbdist.wire.messages import SubmitJob


class Unfit(NamedTuple):
    """Why a machine is left out of a job, and what to do about it."""

    reason: str
    todo: str


def unfit(spec: SubmitJob, worker: needs.Candidate) -> Unfit | None:
    """None if the worker has what the job needs. `versions.py` sees to the version of its Python."""
    missing = needs.unmet(spec.needs, worker)
    return Unfit(missing, "") if missing else None
