"""Plain tables as text and HTML: the pool, its machines, its jobs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from nbdist.client.progress import seconds_text
from nbdist.notebook.render import count, rate


@dataclass(frozen=True)
class Table:
    """Rows of text under column names, with a line above and one below; it displays itself in a notebook."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    footer: str = ""

    def __repr__(self) -> str:
        lines = [tuple(map(_printable, row)) for row in (self.columns, *self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.columns))]
        body = [
            "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        return "\n".join(
            [_printable(self.title), *(body if self.rows else []), *([self.footer] if self.footer else [])]
        )

    def _repr_html_(self) -> str:
        head = "".join(f'<th style="text-align:left">{escape(name)}</th>' for name in self.columns)
        body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in self.rows)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if self.rows else ""
        footer = f'<div style="white-space:pre-wrap">{escape(self.footer)}</div>' if self.footer else ""
        return f"<div><b>{escape(self.title)}</b></div>{table}{footer}"


def _cell(text: str) -> str:
    return f'<td style="text-align:left">{escape(text)}</td>'


def pool_table(address: str, description: Mapping[str, Any]) -> Table:
    """The pool: machines, slots, relative speed, idle or busy; its jobs below. `description`: `Engine.describe`."""
    workers: Sequence[Mapping[str, Any]] = description.get("workers", ())
    slots = sum(worker.get("slots", 0) for worker in workers)
    running = [job for job in description.get("jobs", ()) if job.get("state") not in _ENDED]
    footer = "\n".join(f"job {job.get('id', '')}  {_job_line(job)}" for job in running)
    title = f"{address}: {count(len(workers), 'machine')}, {count(slots, 'slot')}, {count(len(running), 'job')} running"
    hint = "" if workers else "No machine is here: `%distribute invite` shows the line that adds one."
    return workers_table(title, workers, footer or hint)


_ENDED = frozenset(("done", "stopped", "failed", "cancelled", "refused"))


def workers_table(title: str, workers: Iterable[Mapping[str, Any]], footer: str = "") -> Table:
    """A row a machine; the last column says whether it fits the job that the pool was given last."""
    columns = ("machine", "slots", "busy", "speed", "state", "done", "load", "Python", "system", "fit (last job)")
    return Table(title, columns, [_worker_row(worker) for worker in workers], footer)


def _worker_row(worker: Mapping[str, Any]) -> tuple[str, ...]:
    machine = worker.get("machine") or {}
    speed, load = worker.get("relative_speed"), worker.get("load")
    return (
        str(worker.get("name", "")),
        str(worker.get("slots", "")),
        str(worker.get("busy", "")),
        f"{speed:.2f}" if speed else "?",
        str(worker.get("state", "")),
        f"{worker.get('done', 0):,}",
        f"{load:.2f}" if load is not None else "",
        str(machine.get("python", "")),
        f"{machine.get('platform', '')} {machine.get('architecture', '')}".strip(),
        str(worker.get("fit", "")),
    )


def jobs_table(jobs: Iterable[Mapping[str, Any]]) -> Table:
    """A row a job, newest first."""
    rows = [
        (
            str(job.get("id", "")),
            str(job.get("name", "")),
            str(job.get("state", "")),
            _done(job),
            str(job.get("failed", 0)),
            rate(job["items_per_second"]) if job.get("items_per_second") else "",
            seconds_text(job.get("elapsed_seconds", 0.0)),
            str(job.get("reason", "")),
        )
        for job in jobs
    ]
    columns = ("id", "name", "state", "done", "failed", "rate", "time", "why")
    return Table(count(len(rows), "job"), columns, rows)


def _job_line(job: Mapping[str, Any]) -> str:
    reason = f", {job['reason']}" if job.get("reason") else ""
    return f"{job.get('name', '')}: {_done(job)}{reason}"


def _done(job: Mapping[str, Any]) -> str:
    total = job.get("total")
    return f"{job.get('done', 0):,} of {total:,}" if total is not None else f"{job.get('done', 0):,}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
