"""A job's progress as text and as HTML. Pure; everything that comes from outside is escaped.

The HTML has no style sheet and no fixed width: it follows JupyterLab's theme by its CSS variables, and looks the same
in a saved notebook, in nbconvert and on pages that know none of these variables.
"""

from __future__ import annotations

from html import escape

from nbdist.client.progress import Progress, seconds_text
from nbdist.wire.messages import WorkerRow

MAX_ROWS = 24
"""Machines shown; the others are counted."""
MAX_NOTICES_SHOWN = 5
_BAR_CHARS = 24

_FONT = "color:var(--jp-ui-font-color1,inherit);font-size:var(--jp-ui-font-size1,13px);line-height:1.5"
_DIM = "color:var(--jp-ui-font-color2,#777)"
_COLORS = {
    None: "var(--jp-brand-color1,#1976d2)",
    "done": "var(--jp-success-color1,#388e3c)",
    "stopped": "var(--jp-success-color1,#388e3c)",
    "failed": "var(--jp-error-color1,#d32f2f)",
    "refused": "var(--jp-error-color1,#d32f2f)",
    "cancelled": "var(--jp-warn-color1,#f57c00)",
}
_ENDINGS = {
    "done": "",
    "stopped": "stopped: a value met --stop-when",
    "failed": "ended by a failure",
    "cancelled": "cancelled",
    "refused": "no machine can run it",
}


def count(number: float, noun: str) -> str:
    """`1 slot`, `2,000 slots`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def rate(per_second: float) -> str:
    """Items in a second, a minute or an hour, whichever reads best."""
    if per_second >= 1 or per_second <= 0:
        return f"{per_second:,.0f}/s" if per_second >= 10 else f"{per_second:.1f}/s"
    if per_second * 60 >= 1:
        return f"{per_second * 60:.1f}/min"
    return f"{per_second * 3600:.1f}/h"


def facts(progress: Progress, note: str = "") -> list[str]:
    """How far the job is, in a few short phrases."""
    if progress.outcome is not None:
        return _final_facts(progress)
    known = [f"{progress.done:,} of {progress.total:,}" if progress.total is not None else f"{progress.done:,} done"]
    if progress.sending is not None:
        known.append(f"sending {progress.sending}")
    known += _preparing(progress)
    if progress.items_per_second > 0:
        known.append(rate(progress.items_per_second))
    if progress.eta_seconds is not None:
        known.append(f"{seconds_text(progress.eta_seconds)} left")
    if progress.running_slots:
        known.append(count(progress.running_slots, "slot"))
    if progress.failed:
        known.append(f"{progress.failed:,} failed")
    return [*known, note] if note else known


def _preparing(progress: Progress) -> list[str]:
    """What the job waits for, while none of its items runs: machines that prepare it."""
    rows = [row for row in _shown(progress) if row.state == "preparing"]
    if progress.running_slots or progress.done > progress.taken or not rows:
        return []
    return [f"{rows[0].name}: {rows[0].reason or rows[0].state}" if len(rows) == 1 else f"{len(rows)} machines prepare"]


def _final_facts(progress: Progress) -> list[str]:
    all_done = progress.total is None or progress.done >= progress.total
    items = count(progress.done, "item") if all_done else f"{progress.done:,} of {count(progress.total or 0, 'item')}"
    known = [f"{items} in {seconds_text(progress.elapsed_seconds)}"]
    if progress.items_per_second > 0 and progress.done - progress.taken > 1:
        known.append(rate(progress.items_per_second))
    slots = sum(row.slots for row in progress.machines if row.done)
    if slots:
        known.append(count(slots, "slot"))
    if progress.failed:
        known.append(f"{progress.failed:,} failed")
    ending = _ENDINGS[progress.outcome or "done"]
    return [*known, ending] if ending else known


def line(progress: Progress, name: str, note: str = "") -> str:
    """One line of text."""
    fraction = progress.fraction
    bar = ""
    if fraction is not None and progress.outcome is None:
        full = int(fraction * _BAR_CHARS)
        bar = f"[{'#' * full}{'.' * (_BAR_CHARS - full)}] "
    return f"{_printable(name)}: {bar}{', '.join(facts(progress, note))}"


def text(progress: Progress, name: str, note: str = "") -> str:
    """Several lines of text: the line, a row a machine, the notices."""
    rows = [line(progress, name, note)]
    shown = _shown(progress)
    width = max((len(_printable(row.name)) for row in shown), default=0)
    rows += [
        f"  {_printable(row.name):{width}}  {', '.join(_printable(part) for part in row_facts(row))}" for row in shown
    ]
    if _hidden(progress):
        rows.append(f"  and {count(_hidden(progress), 'more machine')}")
    rows += [notice_line(notice.text) for notice in progress.notices[-MAX_NOTICES_SHOWN:]]
    return "\n".join(rows)


def notice_line(text: str) -> str:
    """A notice in a line of text."""
    return f"  {_printable(text)}"


def row_facts(row: WorkerRow) -> list[str]:
    """One machine's part in the job."""
    if row.state == "preparing" and not row.done:
        return [count(row.slots, "slot"), row.reason or row.state]
    known = [count(row.slots, "slot"), f"{row.done:,} done"]
    if row.items_per_second > 0:
        known.append(rate(row.items_per_second))
    if row.state != "ready":
        known.append(f"{row.state}: {row.reason.splitlines()[0]}" if row.reason else row.state)
    return known


def html(progress: Progress, name: str, note: str = "") -> str:
    """The view under the cell."""
    parts = [_headline(progress, name, note)]
    if progress.outcome is None or progress.elapsed_seconds >= 0.5:
        parts += [_bar(progress), _table(progress)]
    for notice in progress.notices[-MAX_NOTICES_SHOWN:]:
        color = "color:var(--jp-warn-color1,#b26a00)" if notice.level == "warning" else _DIM
        parts.append(f'<div style="{color};white-space:pre-wrap">{escape(notice.text)}</div>')
    return f'<div class="nbdist-job" style="{_FONT}">{"".join(parts)}</div>'


def _headline(progress: Progress, name: str, note: str) -> str:
    known = [f"<span>{escape(fact)}</span>" for fact in facts(progress, note)]
    return f"<div><b>{escape(name)}</b> &nbsp;{' &middot; '.join(known)}</div>"


def _bar(progress: Progress) -> str:
    fraction = progress.fraction
    percent = 100.0 if fraction is None and progress.outcome == "done" else 100 * (fraction or 0.0)
    color = _COLORS[progress.outcome]
    return (
        f'<div role="progressbar" aria-valuenow="{percent:.0f}" aria-valuemin="0" aria-valuemax="100" '
        'style="background:var(--jp-layout-color3,#ddd);border-radius:3px;height:0.5em;margin:0.3em 0;overflow:hidden">'
        f'<div style="background:{color};width:{percent:.1f}%;height:100%"></div></div>'
    )


def _table(progress: Progress) -> str:
    rows = "".join(_table_row(row) for row in _shown(progress))
    hidden = _hidden(progress)
    more = f'<div style="{_DIM}">and {count(hidden, "more machine")}</div>' if hidden else ""
    return f'<table style="border-collapse:collapse;margin:0;font-size:90%">{rows}</table>{more}' if rows else more


def _table_row(row: WorkerRow) -> str:
    cells = "".join(f'<td style="text-align:left;padding:0 1em 0 0;{_DIM}">{escape(f)}</td>' for f in row_facts(row))
    return (
        f'<tr style="background:none"><td style="text-align:left;padding:0 1em 0 0">{escape(row.name)}</td>{cells}</tr>'
    )


def _shown(progress: Progress) -> list[WorkerRow]:
    """The fastest machines, by name: rows that change places from one drawing to the next cannot be read."""
    return sorted(progress.machines[:MAX_ROWS], key=lambda row: row.name)


def _hidden(progress: Progress) -> int:
    return max(0, len(progress.machines) - MAX_ROWS) + progress.more_machines


def _printable(text: str) -> str:
    """Without control characters: a name must not move the cursor of a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)
