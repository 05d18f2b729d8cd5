"""Resuming a job: what of an earlier one is taken over, and what of the new one must be as there."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import CodeType
from typing import Any

from nbdist.client.analysis.names import functions_in
from nbdist.engines.base import Earlier, Engine, JobSpec
from nbdist.errors import NbdistError
from nbdist.execution.task import Task
from nbdist.wire import resuming
from nbdist.wire.resuming import Shape

STOPPING_SECONDS = 5.0
"""A job that has just been cancelled may need so long to end before it can be resumed."""
LOOK_SECONDS = 0.1
_FOLDS = (sum, min, max, any, all)


@dataclass(frozen=True, slots=True)
class Resumed:
    """What a job has from the one that it resumes."""

    job: str
    """The id of that job. It may have taken over some of it from others itself."""
    items: int
    """So many items were done there."""
    is_older_code: bool
    """The code was another one then."""


def earlier_of(engine: Engine, resume: object) -> Earlier:
    """A job (or the job of an id) that is to be resumed; one that has just been cancelled is waited for, for a while.

    Raises NbdistError if there is none, and TypeError.
    """
    job = getattr(resume, "id", resume)
    if not isinstance(job, str):
        raise TypeError(f"resume is a job or the id of one, not {resume!r}")
    deadline = time.monotonic() + STOPPING_SECONDS
    while True:
        earlier = engine.earlier(job)
        if earlier.outcome != resuming.STOPPING or time.monotonic() >= deadline:
            return earlier
        time.sleep(LOOK_SECONDS)


def continuing(spec: JobSpec, earlier: Earlier, *, has_seed: bool) -> JobSpec:
    """The job as one that resumes the earlier one, with its seed unless it has one of its own.

    Raises NbdistError, with what to do, if it cannot.
    """
    old = earlier.spec
    shape = Shape(spec.options, spec.ranges, spec.total, 0, spec.each, spec.items_key)
    old_shape = Shape(old.options, old.ranges, old.total, earlier.available, old.each, old.items_key)
    reason = _other_fold(spec.code, earlier) or resuming.refusal(
        shape, old_shape, old.job, earlier.outcome, earlier.left
    )
    if reason:
        raise NbdistError(reason)
    if not has_seed:
        spec = replace(spec, options=replace(spec.options, seed=old.options.seed, seeded=old.options.seeded))
    return replace(spec, resumes=old.job, key="")  # values of other code are not what this cell computes


def _other_fold(code: str, earlier: Earlier) -> str:
    """Why partial folds of the earlier job cannot be folded on; a function of the user's may have been mended."""
    mine, its = (each.rpartition("-")[2] for each in (code, earlier.codes[0]))
    if not mine or not its or mine == its:
        return ""
    job = earlier.spec.job
    return f"job {job} was folded with {its}, this one is with {mine}: they cannot be put together; leave out --resume"


def is_older_code(code: str, earlier: Earlier) -> bool:
    """Whether any of the jobs that values come from was run with other code than this."""
    return any(other != code for other in earlier.codes)


def code_of(task: Task) -> str:
    """Stands for the code of a task: the functions themselves and those of the notebook that they call.

    The same after the kernel has been restarted, wherever in the notebook it stands; captured values do not count.
    Behind a dash stands with what it folds, if it does.
    """
    roots = (task.function, task.keep_if, task.stop_when, task.reduce, *(setup.function for setup in task.setups))
    names = [f"{getattr(root, '__module__', '')}.{getattr(root, '__qualname__', '')}" for root in roots]
    texts = sorted(_text(found.__code__) for found in functions_in(*roots) if found in roots or _is_own(found))
    fold = (
        "" if task.reduce is None else getattr(task.reduce, "__name__", "") if task.reduce in _FOLDS else "a function"
    )
    return hashlib.sha256("\n".join([*names, *texts]).encode("utf-8", "replace")).hexdigest()[:16] + f"-{fold}"


def _is_own(function: Any) -> bool:
    """Whether the function was written in the notebook, or the script."""
    return function.__module__ in (None, "__main__") or function.__code__.co_filename.startswith("<")


def _text(code: CodeType) -> str:
    constants = (_text(part) if isinstance(part, CodeType) else _constant(part) for part in code.co_consts)
    return repr((code.co_code, code.co_names, code.co_varnames, code.co_freevars, *constants))


def _constant(value: object) -> str:
    if isinstance(value, frozenset):  # in an order that differs from process to process
        return repr(sorted(map(repr, value)))
    return repr(value)


def story(done: int, resumed: Resumed, noun: str) -> str:
    """Where the values come from, as one line."""
    new = done - resumed.items
    verb = "is" if new == 1 else "are"
    older = " and the older code" if resumed.is_older_code else ""
    return f"{new:,} of {done:,} {noun} {verb} new; {resumed.items:,} came from job {resumed.job}{older}"


def without(start: int, stop: int, ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """What is left of `[start, stop)` without these ranges, which are in order."""
    left = []
    for a, b in ranges:
        if b <= start or stop <= a:
            continue
        if start < a:
            left.append((start, a))
        start = b
    if start < stop:
        left.append((start, stop))
    return left
