"""What a pool opens, apart from the pool: its engine and its calls, and what its jobs are called."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial

from nbdist.client.analysis.modules import required
from nbdist.client.calls import Calls
from nbdist.client.options import make_options
from nbdist.client.tasks import name_of_function, repacker
from nbdist.engines.base import Deliver, Engine, JobSpec, PackedTask, Run
from nbdist.execution.task import Task

MAX_NAME_CHARS = 100


class Parts:
    """What a pool has opened. It does not hold the pool, so that it can be closed when nobody holds that any more."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.calls = Calls(partial(_open_calls, engine))

    def renew_calls(self) -> None:
        """Ends the calls; further ones go to new jobs."""
        self.calls.close()
        self.calls = Calls(partial(_open_calls, self.engine))

    def close(self) -> None:
        """Ends everything."""
        self.calls.close()
        self.engine.close()


def new_id() -> str:
    """An id for a job, unique for ever."""
    return secrets.token_hex(8)


def job_name(name: object, task: Task) -> str:
    """What a job is called: the name that it was given, or that of its function; text that can be sent and shown."""
    text = str(name) if name else name_of_function(getattr(task.function, "function", task.function))
    return text[:MAX_NAME_CHARS].encode("utf-8", "replace").decode("utf-8")


def _open_calls(engine: Engine, task: Task, packed: Callable[[], PackedTask], deliver: Deliver) -> Run:
    """Opens a job whose items are the calls of one function."""
    options = make_options(reduce=False, filters=False, stop_when=False, on_error="keep", speculate=False)
    spec = JobSpec(
        job=new_id(),
        name=job_name(None, task),
        options=options,
        task=task,
        packed=packed,
        repack=repacker(task),
        is_open=True,
        modules=required(task.function),
    )
    return engine.submit(spec, deliver)
