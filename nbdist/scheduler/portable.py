"""How a machine's Python differs from the notebook's, and what follows from that. It changes nothing."""

from __future__ import annotations

from nbdist.scheduler.fit import Unfit
from nbdist.scheduler.records import JobRecord, WorkerRecord


def other_python(job: JobRecord, worker: WorkerRecord) -> str:
    """How the worker's Python differs from the notebook's, so that no bytecode may go there; empty if it does not."""
    notebook, machine = job.spec.machine, worker.hello.machine
    if notebook.implementation != machine.implementation:
        return f"{machine.implementation} here, {notebook.implementation} in the notebook"
    if notebook.python_minor != machine.python_minor:
        return f"Python {machine.python_minor} here, {notebook.python_minor} in the notebook"
    return ""


def obstacle(job: JobRecord, worker: WorkerRecord, *, has_notebook: bool) -> Unfit | None:
    """Why the job cannot go to a machine because of its Python; None: it can, or the notebook, which is here, knows."""
    other = other_python(job, worker)
    if not other:
        return None
    notebook = job.spec.machine
    name = "Python" if notebook.implementation == "cpython" else notebook.implementation
    todo = f"start the worker with {name} {notebook.python_minor}"
    if job.native:
        return Unfit(f"{other}; {job.native}", todo)
    if job.portable is not None:
        return Unfit(f"{other}; {job.portable.refusal}", todo) if job.portable.refusal else None
    if has_notebook:
        return None
    return Unfit(f"{other}; only the job's notebook can give its code as source, and that is not connected", todo)
