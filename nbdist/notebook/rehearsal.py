"""`--try N`: runs a few items on the pool and says what all of them would take."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from nbdist.client.job import Job
from nbdist.client.progress import seconds_text
from nbdist.notebook.cell import CellJob
from nbdist.packing import encode

MAX_VALUE_CHARS = 60


@dataclass(frozen=True)
class Tried:
    """One item of a rehearsal."""

    item: Any
    value: str
    seconds: float
    size: int


def rehearsal_of(job: CellJob, count: int) -> CellJob:
    """The same job over its first `count` items, without a fold.

    Of an iterator (a generator, say) these items are taken: they are gone from it.
    """
    items = list(itertools.islice(_items(job), count))
    options = {
        name: value for name, value in job.options.items() if name not in ("task_size", "stop_when", "to", "stats")
    }
    return replace(
        job,
        task=replace(job.task, reduce=None),
        ranges=(),
        iterable=items,
        total=len(items),
        options={**options, "stop_when": False, "task_size": 1},
    )


def _items(job: CellJob) -> Iterator[Any]:
    if job.iterable is not None:
        return iter(job.iterable)
    if len(job.ranges) == 1:
        return iter(job.ranges[0])
    return itertools.product(*job.ranges)


def tried(job: Job) -> list[Tried]:
    """What each item of a finished rehearsal gave and took."""
    rows = []
    values = job.values
    for segment in job.segments:
        indices = list(segment.indices)
        seconds = segment.seconds / (segment.stop - segment.start)
        for index in range(segment.start, segment.stop):
            if index in indices:
                value = values[segment.position + indices.index(index)]
                size = sum(memoryview(piece).nbytes for piece in encode(value))
                rows.append(Tried(job.item(index), _short(value), seconds, size))
            else:
                rows.append(Tried(job.item(index), "(left out)", seconds, 0))
    return rows


def report(rows: list[Tried], total: int | None, slots: int) -> str:
    """A table, and the estimate for all items."""
    if not rows:
        return "There are no items."
    cells = [("item", "value", "time", "bytes")]
    cells += [(_short(row.item), row.value, seconds_text(row.seconds), f"{row.size:,}") for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    lines = [
        f"{item:{widths[0]}}  {value:{widths[1]}}  {time:>{widths[2]}}  {size:>{widths[3]}}"
        for item, value, time, size in cells
    ]
    return "\n".join([*lines, "", estimate(rows, total, slots)])


def estimate(rows: list[Tried], total: int | None, slots: int) -> str:
    """What all items would take, if they are like these."""
    seconds = sum(row.seconds for row in rows) / len(rows)
    size = sum(row.size for row in rows) / len(rows)
    if total is None:
        return f"An item takes {seconds_text(seconds)}; how many there are is not known."
    alone = f"{total:,} items like these take {seconds_text(seconds * total)} of one slot"
    together = f", about {seconds_text(seconds * total / slots)} on {slots:,} slots" if slots > 1 else ""
    return f"{alone}{together}; their results are {_bytes(size * total)}."


def _bytes(size: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if unit != "bytes" else f"{size:.0f} bytes"
        size /= 1000
    return f"{size:,.3g} TB"


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 1] + "…"
