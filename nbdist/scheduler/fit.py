"""Which machines can run a job: what is known without asking them."""

from __future__ import annotations

from typing import NamedTuple

from nbdist.wire import needs
from nbdist.wire.messages import Machine, SubmitJob


class Unfit(NamedTuple):
    """Why a machine is left out of a job, and what to do about it."""

    reason: str
    todo: str


def unfit(spec: SubmitJob, worker: needs.Candidate) -> Unfit | None:
    """None if the worker has what the job needs, and bytecode of the notebook's Python runs on it."""
    missing = needs.unmet(spec.needs, worker)
    if missing:
        return Unfit(missing, "")
    return _other_python(spec.machine, worker.machine)


def _other_python(notebook: Machine, worker: Machine) -> Unfit | None:
    if notebook.implementation != worker.implementation:
        return Unfit(
            f"{worker.implementation} here, {notebook.implementation} in the notebook",
            f"start the worker with {notebook.implementation} {notebook.python_minor}",
        )
    if notebook.python_minor != worker.python_minor:
        return Unfit(
            f"Python {worker.python_minor} here, {notebook.python_minor} in the notebook",
            f"start the worker with Python {notebook.python_minor}",
        )
    return None
