"""Errors as a person wants to read them under a cell: the cell's own lines, and none of nbdist's.

IPython asks an exception for `_render_traceback_` before it formats one itself: what is set here is only how the
exception looks, never what it is, so that `except ValueError` and `%debug` work as ever.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable

from nbdist.errors import JobCancelledError, RemoteTraceback

CellLabel = Callable[[str], str]
"""File name -> `Cell In[5]`, or the name itself if it is no cell's."""

RESUME = "`--resume` runs only the items that are missing"

_FRAME = re.compile(r'^(?P<indent> *)File "(?P<file>[^"]*)", line (?P<line>\d+)(?:, in (?P<name>.*))?$', re.MULTILINE)
_HEADER = "Traceback (most recent call last)"


class _Rendered:
    """What IPython calls for the lines to show; it can be copied and pickled with its exception."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def __call__(self) -> list[str]:
        return list(self.lines)


def show_as(error: BaseException, text: str) -> BaseException:
    """Makes IPython show the exception as this text, in place of a traceback."""
    with contextlib.suppress(AttributeError, TypeError):  # a class of the user's may allow no attributes
        error._render_traceback_ = _Rendered(text.splitlines())  # type: ignore[attr-defined]
    return error


def show_plainly(error: BaseException) -> BaseException:
    """Makes IPython show the message alone: for errors whose message says all."""
    return show_as(error, f"{type(error).__name__}: {error}")


def show_remotely(error: BaseException, label: CellLabel, kept: int, hint: str = "") -> BaseException:
    """Makes IPython show an item's exception with the traceback of the machine that raised it.

    `kept`: how many values the job has all the same; `hint`: how to get the others.
    """
    cause = error.__cause__
    if not isinstance(cause, RemoteTraceback):
        partly = isinstance(error, JobCancelledError) and hint
        text = with_cells(f"{type(error).__name__}: {error}", label)
        return show_as(error, f"{text}; {hint}" if partly else text)
    lines = [with_cells(cause.text, label).rstrip(), *getattr(error, "__notes__", ())]
    if kept:
        lines.append(f"The values of {kept:,} items are in nbdist.last_job.values{'; ' if hint else ''}{hint}.")
    return show_as(error, "\n".join(lines))


def show_interrupt(error: KeyboardInterrupt, kept: int, *, confirmed: bool, hint: str = "") -> BaseException:
    """Makes IPython show what an interrupt has stopped, and what is left."""
    stopped = "nothing of the job runs any more" if confirmed else "the pool has been told to stop the job"
    left = f"; its first {kept:,} values are in nbdist.last_job.values" if kept else ""
    return show_as(error, f"KeyboardInterrupt: {stopped}{left}{f'; {hint}' if left and hint else ''}")


def with_cells(text: str, label: CellLabel) -> str:
    """A traceback's text with `Cell In[5], line 3` in place of the names of cells' files."""

    def name(frame: re.Match[str]) -> str:
        shown = label(frame["file"])
        if shown == frame["file"]:
            return frame[0]
        inside = frame["name"]
        where = f", in {inside}" if inside and inside not in ("cell", "setup", "<module>") else ""
        return f"{frame['indent']}{shown}, line {frame['line']}{where}"

    return _FRAME.sub(name, text)
