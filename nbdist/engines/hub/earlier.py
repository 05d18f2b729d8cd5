"""The results of ended jobs, read from the hub's logs batch by batch, so that nothing has to be held back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from nbdist.engines.base import Buffer, Earlier, JobSpec, PackedTask
from nbdist.errors import NbdistError, ProtocolError
from nbdist.wire import resuming
from nbdist.wire.messages import Answer, BlobRef, JobKnown, Machine, Message, ReadResults, Result

Ask = Callable[[Callable[[int], Message]], tuple[Answer, bytes]]
"""Asks the hub; gives the answer and its payload, or raises NbdistError."""
Fetch = Callable[[BlobRef], Buffer]


def earlier(known: JobKnown, ask: Ask, fetch: Fetch) -> Earlier:
    """The job that the hub has described."""
    jobs = [known.spec.job, *(job for job, _ in known.earlier)]
    return Earlier(
        spec_of(known),
        known.available,
        known.outcome,
        known.left,
        (known.spec.code, *(code for _, code in known.earlier)),
        lambda: _results(jobs, ask, fetch),
    )


def check_python(known: JobKnown, here: Machine) -> None:
    """Raises NbdistError if the job is of another version of Python: its task and results may hold code of that."""
    there = known.spec.machine
    if (there.implementation, there.python_minor) != (here.implementation, here.python_minor):
        raise NbdistError(
            f"job {known.spec.job} was submitted by {there.implementation} {there.python_minor}, and what it has may "
            f"hold code of that version; this is {here.implementation} {here.python_minor}: use a kernel of the other"
        )


def spec_of(known: JobKnown) -> JobSpec:
    """A job of an earlier client, without its task and items."""
    spec = known.spec
    return JobSpec(
        spec.job,
        spec.name,
        spec.options,
        None,
        _not_packed,
        spec.ranges,
        known.total,
        each=spec.each,
        items_key=spec.items_key,
        resumes=spec.resumes,
        code=spec.code,
    )


def _not_packed() -> PackedTask:
    raise NbdistError("the task of a job that was attached to is at the hub")


def _results(jobs: Sequence[str], ask: Ask, fetch: Fetch) -> Iterator[tuple[Result, Buffer]]:
    for job in jobs:
        segment, offset = -1, 0
        while True:
            place = (job, segment, offset)
            answer, data = ask(lambda number, place=place: ReadResults(number, *place))  # type: ignore[misc]
            for result, payload in resuming.split(data):
                yield result, payload if result.blob is None else fetch(result.blob)
            if not answer.text:
                break
            segment, offset = _place(answer.text)


def _place(text: str) -> tuple[int, int]:
    try:
        segment, offset = map(int, text.split())
    except ValueError:
        raise ProtocolError(f"the hub says {text[:40]!r} where it should say where the next results are") from None
    return segment, offset
