"""The pool as a plain page. Pure: data in, HTML out; everything that came from elsewhere is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from nbdist.hub.limits import duration

REFRESH_SECONDS = 2
MAX_ROWS = 500
"""Of each table."""


def status_page(pool: Mapping[str, Any], version: str) -> str:
    """The page for what `scheduler.history.describe` gives."""
    hub, workers, jobs = pool.get("hub", {}), pool.get("workers", []), pool.get("jobs", [])
    summary = (
        f"{len(workers)} machines, {_whole(hub.get('slots'))} slots, {_whole(hub.get('busy'))} busy, "
        f"{_rate(hub.get('items_per_second'))} items/s, {_whole(hub.get('notebooks'))} notebooks"
    )
    refresh = f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">'
    body = (
        f"<h1>nbdist pool</h1><p>{escape(summary)}</p>{_kept(hub)}"
        f"<h2>Machines</h2>{_table(_WORKER_HEAD, map(_worker_row, workers[:MAX_ROWS]), len(workers))}"
        f"<h2>Jobs</h2>{_table(_JOB_HEAD, map(_job_row, jobs[:MAX_ROWS]), len(jobs))}"
        f'<p class="quiet">nbdist {escape(version)}, start {_whole(hub.get("epoch"))} of this hub</p>'
    )
    return _page("nbdist pool", body, refresh)


def _kept(hub: Mapping[str, Any]) -> str:
    """How long and how much this hub keeps."""
    if "keep_seconds" not in hub:
        return ""
    text = (
        f"Jobs are kept for {duration(hub['keep_seconds'])} after their end. "
        f"{_gigabytes(hub.get('results_bytes'))} of results are here; over "
        f"{_gigabytes(hub.get('kept_results_limit_bytes'))} those that notebooks have had go. A job is paused when "
        f"{_gigabytes(hub.get('results_limit_bytes'))} of its own wait for its notebook."
    )
    return f'<p class="quiet">{escape(text)}</p>'


def login_page() -> str:
    """The page that turns the code behind '#' into a cookie (`login.js`)."""
    return _page("nbdist login", '<p id="state" role="status">Logging in …</p><script src="/assets/login.js"></script>')


def welcome_page(*, is_expired: bool = False) -> str:
    """What somebody sees who is not logged in (any more)."""
    began = "The login of this browser has expired." if is_expired else "This is an nbdist hub."
    ways = (
        "<li>in a notebook: <code>%distribute web</code></li>"
        "<li>on the machine of the hub: <code>nbdist status --web</code></li>"
        "<li>in the terminal of <code>nbdist hub</code>, when it starts</li>"
    )
    text = f"<p>{began} To see its pool, open a login link. One is shown</p><ul>{ways}</ul>"
    return _page("nbdist hub", f"<h1>nbdist hub</h1>{text}")


def shell_page() -> str:
    """The page that asks for its data itself (`app.js`)."""
    body = (
        '<div id="app"><p role="status">Loading …</p></div>'
        '<noscript><p>Without scripts: <a href="/plain">the pool as plain tables</a>.</p></noscript>'
        '<script type="module" src="/assets/app.js"></script>'
    )
    return _page("nbdist pool", body)


_WORKER_HEAD = ("machine", "state", "#slots", "#busy", "#relative speed", "#items done", "#load", "python", "platform")
_JOB_HEAD = ("job", "name", "state", "progress", "#done", "#total", "#failed", "#running", "#items/s", "#seconds", "")
"""Names with # stand over numbers."""


def _worker_row(worker: Mapping[str, Any]) -> list[str]:
    machine = worker.get("machine", {})
    speed = worker.get("relative_speed")
    return [
        _text(worker.get("name")),
        _text(worker.get("state")),
        _whole(worker.get("slots")),
        _whole(worker.get("busy")),
        "" if not speed else f"{speed:.2f}",
        _whole(worker.get("done")),
        f"{worker.get('load') or 0:.2f}",
        _text(machine.get("python")),
        _text(f"{machine.get('platform', '')} {machine.get('architecture', '')}"),
    ]


def _job_row(job: Mapping[str, Any]) -> list[str]:
    done, total = job.get("done") or 0, job.get("total")
    bar = f'<progress value="{int(done)}" max="{int(total)}"></progress>' if total else ""
    return [
        _text(job.get("id")),
        _text(job.get("name")),
        _text(job.get("state")),
        bar,
        _whole(done),
        "" if total is None else _whole(total),
        _whole(job.get("failed")),
        _whole(job.get("running")),
        _rate(job.get("items_per_second")),
        f"{job.get('elapsed_seconds') or 0:.1f}",
        _text(job.get("reason")),
    ]


def _table(head: tuple[str, ...], rows: Iterable[list[str]], count: int) -> str:
    """`rows` are HTML already."""
    if not count:
        return '<p class="quiet">none</p>'
    style = [' class="number"' if name.startswith("#") else "" for name in head]
    top = "".join(f"<th{s}>{escape(name.lstrip('#'))}</th>" for s, name in zip(style, head, strict=True))
    lines = ["".join(f"<td{s}>{cell}</td>" for s, cell in zip(style, row, strict=True)) for row in rows]
    more = f'<p class="quiet">and {count - len(lines)} more</p>' if count > len(lines) else ""
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>{more}"


def _page(title: str, body: str, head: str = "") -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{head}'
        '<link rel="icon" href="/assets/icon.svg" type="image/svg+xml">'
        '<link rel="stylesheet" href="/assets/style.css"></head>'
        f"<body>{body}</body></html>"
    )


def _text(value: object) -> str:
    return escape("" if value is None else str(value)[:300])


def _whole(value: object) -> str:
    return f"{int(value):,}" if isinstance(value, (int, float)) else ""


def _gigabytes(value: object) -> str:
    return f"{value / 1e9:.1f} GB" if isinstance(value, (int, float)) else ""


def _rate(value: object) -> str:
    if not isinstance(value, (int, float)):
        return ""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}"
