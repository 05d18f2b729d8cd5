"""The Gantt chart of a job: a line for each slot, a bar for what it did."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from nbdist.errors import NbdistError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = {
    "done": "#2a6fdb",
    "running": "#2e9e5b",
    "failed": "#c6343f",
    "cancelled": "#98a0ab",
    "crashed": "#d9730d",
    "lost": "#7a3fb0",
}
"""By outcome (`scheduler.timeline.BarOutcome`, and `running`)."""
MAX_LINES = 200
"""Slots that are drawn; what the others did is counted in the title."""
MAX_NAMES = 12
"""Jobs that the legend names."""
WIDTH_INCHES = 9.0
LINE_INCHES = 0.2
MOST_INCHES = 14.0
PICTURE_DPI = 110


def draw(timelines: Sequence[Mapping[str, Any]], color: Literal["outcome", "job"]) -> Figure:
    """The chart of the first timeline; with "job" the others' bars are there too, as far as they ran meanwhile.

    `timelines`: as of `scheduler.looking.timeline`. Raises NbdistError if matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NbdistError(f"a timeline is drawn by matplotlib, which is not here: {error}") from error

    class Shown(Figure):
        """A figure that shows itself in a notebook, also where matplotlib was never imported."""

        def _repr_png_(self) -> bytes:
            file = io.BytesIO()
            self.savefig(file, format="png", dpi=PICTURE_DPI)
            return file.getvalue()

    first = timelines[0]
    slots = sorted({(str(name), int(number)) for each in timelines for name, number in each["slots"]})
    lines = {slot: line for line, slot in enumerate(slots[:MAX_LINES])}
    height = min(MOST_INCHES, 1.4 + LINE_INCHES * max(2, len(lines)))
    figure = Shown(figsize=(WIDTH_INCHES, height), layout="constrained")
    axes = figure.add_subplot()
    for number, each in enumerate(timelines):
        shift = float(first["ago"]) - float(each["ago"])
        _draw_bars(axes, each, shift, lines, None if color == "outcome" else f"C{number % 10}")
    axes.set_xlim(0, max(float(first["seconds"]), 1e-3))
    axes.set_ylim(max(1, len(lines)) - 0.5, -0.5)
    axes.set_xlabel("seconds since the job was submitted")
    axes.set_yticks(*_names(list(lines)))
    axes.set_title(_title(first, len(slots)), fontsize="medium")
    _explain_colors(axes, timelines, color)
    return figure


def _draw_bars(
    axes: Axes, timeline: Mapping[str, Any], shift: float, lines: Mapping[tuple[str, int], int], job_color: str | None
) -> None:
    """One call for all bars of one look: thousands of single bars take seconds."""
    groups: dict[tuple[int, str, bool], list[tuple[float, float]]] = {}
    for slot, _start, _stop, began, ended, _busy, _slices, outcome, copies in timeline["bars"]:
        name, number = timeline["slots"][slot]
        line = lines.get((str(name), int(number)))
        if line is not None:
            key = line, str(outcome), bool(copies)
            groups.setdefault(key, []).append((began + shift, max(ended - began, 0.0)))
    for (line, outcome, is_copy), spans in groups.items():
        edge = "black" if is_copy else "none"
        face = job_color or COLORS.get(outcome, "black")
        axes.broken_barh(spans, (line - 0.4, 0.8), facecolors=face, edgecolors=edge, linewidth=0.6)


def _names(slots: list[tuple[str, int]]) -> tuple[list[int], list[str]]:
    """Where lines are named: a machine at its first slot, and its other slots by number while there are few."""
    places, names = [], []
    for line, (name, number) in enumerate(slots):
        is_first = line == 0 or slots[line - 1][0] != name
        if is_first or len(slots) <= MAX_LINES // 8:
            places.append(line)
            names.append(f"{_plain(name)} {number}" if is_first else str(number))
    return places, names


def _plain(text: str) -> str:
    """Matplotlib reads `$…$` as a formula."""
    return text.replace("$", r"\$")[:40]


def _title(timeline: Mapping[str, Any], slots: int) -> str:
    seconds, bars = float(timeline["seconds"]), timeline["bars"]
    own = {bar[0] for bar in bars}
    share = sum(bar[5] for bar in bars) / (seconds * len(own)) if seconds and own else 0.0
    name = _plain(timeline["name"] or timeline["job"])
    text = f"{name}: {seconds:.3g} s, {len(own)} slots, at work {min(share, 1):.0%}"
    text += f"; {slots - MAX_LINES} slots are not drawn" if slots > MAX_LINES else ""
    return text + (f"; {timeline['left_out']:,} slices are not drawn" if timeline["left_out"] else "")


def _explain_colors(axes: Axes, timelines: Sequence[Mapping[str, Any]], color: str) -> None:
    from matplotlib.patches import Patch

    if color == "outcome":
        seen = {bar[7] for bar in timelines[0]["bars"]}
        patches = [Patch(color=shade, label=outcome) for outcome, shade in COLORS.items() if outcome in seen]
    else:
        patches = [
            Patch(color=f"C{number % 10}", label=_plain(each["name"] or each["job"]))
            for number, each in enumerate(timelines[:MAX_NAMES])
        ]
    if patches:
        axes.legend(handles=patches, loc="upper left", bbox_to_anchor=(1, 1), fontsize="small", frameon=False)
