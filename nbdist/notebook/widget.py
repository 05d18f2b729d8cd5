"""Shows a job while it runs: a widget under the cell, a line in a terminal, or now and then a line in a log.

What is left in a saved notebook never needs a widget: while the job runs its output is one bundle of widget, HTML and
text; when it ends the same output is updated to HTML and text alone.
"""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol, TextIO

from nbdist.client.progress import Progress
from nbdist.client.state import OutputText
from nbdist.notebook import render
from nbdist.notebook.plots import LivePlot
from nbdist.notebook.printed import Printout, joined
from nbdist.wire.messages import Stream

QUIET_SECONDS = 0.5
"""A job that is over before that leaves one line and shows nothing else."""
REFRESH_SECONDS = 0.2
LOG_SECONDS = 30.0
PLOT_SECONDS = 1.0

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
Clock = Callable[[], float]


class View(Protocol):
    """Where a job is shown."""

    def show(self, progress: Progress, note: str = "") -> None:
        """Draws how far it is, if the last drawing is old enough."""

    def write(self, texts: Iterable[OutputText]) -> None:
        """Passes on what the items wrote, at once or in one of the next calls."""

    def plot(self, plot: LivePlot, *, final: bool = False) -> None:
        """Draws the plot again, if the last drawing is old enough or it is the final one."""

    def finish(self, progress: Progress) -> None:
        """Leaves what stays."""


def view_for(name: str, shell: Any, clock: Clock = time.monotonic) -> View:
    """The view that suits where the code runs: a notebook, a terminal, or neither."""
    if getattr(shell, "kernel", None) is not None:
        return NotebookView(name, clock)
    if sys.stdout.isatty():
        return TerminalView(name, sys.stdout, clock)
    return LogView(name, sys.stdout, clock)


def write_texts(texts: Iterable[OutputText], out: TextIO | None = None, err: TextIO | None = None) -> None:
    """Writes what items wrote to this process's streams, from the calling thread."""
    _pass_on(joined(texts), out, err)


def _pass_on(texts: Mapping[Stream, str], out: TextIO | None = None, err: TextIO | None = None) -> None:
    """In a kernel each flush is a message to the page: one for each stream, not one for each text."""
    for name, text in texts.items():
        stream = (out or sys.stdout) if name == "stdout" else (err or sys.stderr)
        stream.write(text)
        stream.flush()


class NotebookView:
    """A widget under the cell; HTML, text and a PNG when the job has ended."""

    def __init__(self, name: str, clock: Clock = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._started = clock()
        self._drawn = self._plotted = float("-inf")
        self._widget: Any = None
        self._output: Any = None
        self._plot_output: Any = None
        self._printout = Printout()

    def show(self, progress: Progress, note: str = "") -> None:
        now = self._clock()
        if now - self._started < QUIET_SECONDS or now - self._drawn < REFRESH_SECONDS:
            return
        self._drawn = now
        html = render.html(progress, self._name, note)
        if self._output is None:
            self._open(html, render.text(progress, self._name, note))
        elif self._widget is not None:
            self._widget.value = html
        else:
            self._output = _publish(self._output, _bundle(html, render.text(progress, self._name, note)))

    def write(self, texts: Iterable[OutputText]) -> None:
        self._printout.add(texts)
        _pass_on(self._printout.due(self._clock()))

    def plot(self, plot: LivePlot, *, final: bool = False) -> None:
        now = self._clock()
        if not final and (now - self._started < QUIET_SECONDS or now - self._plotted < PLOT_SECONDS):
            return
        picture = plot.png()
        if picture is not None:
            bundle = {"image/png": base64.b64encode(picture).decode(), "text/plain": f"<plot of {self._name}>"}
        elif final and plot.problem:
            bundle = {"text/plain": f"No plot: {plot.problem}"}
        else:
            return
        self._plot_output = _publish(self._plot_output, bundle)
        self._plotted = self._clock()  # the drawing itself does not count against the interval

    def finish(self, progress: Progress) -> None:
        _pass_on(self._printout.rest())
        bundle = _bundle(render.html(progress, self._name), _final_text(progress, self._name))
        self._output = _publish(self._output, bundle)
        if self._widget is not None:
            self._widget.close()
            self._widget = None

    def _open(self, html: str, text: str) -> None:
        bundle = _bundle(html, text)
        try:
            import ipywidgets

            self._widget = ipywidgets.HTML(value=html)
        except ImportError:  # a kernel without ipywidgets: the HTML itself is updated
            self._widget = None
        else:
            bundle[WIDGET_VIEW] = {"version_major": 2, "version_minor": 0, "model_id": self._widget.model_id}
        self._output = _publish(None, bundle)


class _Told:
    """The notices of a job that stand above its line already, or do not yet."""

    def __init__(self) -> None:
        self._texts: set[str] = set()

    def new(self, progress: Progress) -> list[str]:
        """Those that have come since, a line each."""
        new = [notice.text for notice in progress.notices if notice.text not in self._texts]
        self._texts.update(new)
        return [render.notice_line(text) for text in new]

    def without(self, progress: Progress) -> Progress:
        """The same, with the others alone."""
        return replace(progress, notices=tuple(each for each in progress.notices if each.text not in self._texts))


class TerminalView:
    """One line, written over and over, below what there was to notice."""

    def __init__(self, name: str, stream: TextIO, clock: Clock = time.monotonic) -> None:
        self._name, self._stream, self._clock = name, stream, clock
        self._started = clock()
        self._drawn = float("-inf")
        self._width = 0
        self._told = _Told()

    def show(self, progress: Progress, note: str = "") -> None:
        for text in self._told.new(progress):
            self._over("")
            self._stream.write(text + "\n")
        now = self._clock()
        if now - self._started < QUIET_SECONDS or now - self._drawn < REFRESH_SECONDS:
            return
        self._drawn = now
        self._over(render.line(progress, self._name, note))

    def write(self, texts: Iterable[OutputText]) -> None:
        texts = list(texts)
        if texts:
            self._over("")
            write_texts(texts, out=self._stream)

    def plot(self, plot: LivePlot, *, final: bool = False) -> None:
        if final:
            self._over("")
            self._stream.write(_plot_text(plot))

    def finish(self, progress: Progress) -> None:
        self._over("")
        self._stream.write(_final_text(self._told.without(progress), self._name) + "\n")
        self._stream.flush()

    def _over(self, text: str) -> None:
        """Replaces the line that stands there; without control sequences, so that any terminal shows it."""
        self._stream.write("\r" + text + " " * max(0, self._width - len(text)) + ("\r" if not text else ""))
        self._stream.flush()
        self._width = len(text)


class LogView:
    """A line now and then, for output that nobody looks at while it is written."""

    def __init__(self, name: str, stream: TextIO, clock: Clock = time.monotonic) -> None:
        self._name, self._stream, self._clock = name, stream, clock
        self._drawn = clock()
        self._note = ""
        self._told = _Told()

    def show(self, progress: Progress, note: str = "") -> None:
        for text in self._told.new(progress):
            self._put(text)
        now = self._clock()
        is_new = note != self._note and note
        self._note = note
        if now - self._drawn >= LOG_SECONDS or is_new:
            self._drawn = now
            self._put(render.line(progress, self._name, note))

    def write(self, texts: Iterable[OutputText]) -> None:
        write_texts(texts, out=self._stream)

    def plot(self, plot: LivePlot, *, final: bool = False) -> None:
        if final:
            self._put(_plot_text(plot).rstrip())

    def finish(self, progress: Progress) -> None:
        self._put(_final_text(self._told.without(progress), self._name))

    def _put(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


def _bundle(html: str, text: str) -> dict[str, Any]:
    return {"text/html": html, "text/plain": text}


def _final_text(progress: Progress, name: str) -> str:
    """A short job leaves one line; a longer one its machines too."""
    if progress.elapsed_seconds < QUIET_SECONDS and not progress.notices:
        return render.line(progress, name)
    return render.text(progress, name)


def _plot_text(plot: LivePlot) -> str:
    return f"No plot: {plot.problem}\n" if plot.problem else "Plots are drawn in notebooks.\n"


def _publish(output: Any, bundle: dict[str, Any]) -> Any:
    """Displays a bundle, or updates the output that was displayed before; gives its handle."""
    from IPython.display import DisplayHandle

    if output is None:
        output = DisplayHandle()  # type: ignore[no-untyped-call]
        output.display(bundle, raw=True)
    else:
        output.update(bundle, raw=True)
    return output
