"""The views: what a person sees while a job runs, and what is left of it."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest

from nbdist.client.progress import Progress
from nbdist.client.state import OutputText
from nbdist.notebook import widget
from nbdist.notebook.forms import PlotSpec
from nbdist.notebook.plots import LivePlot
from nbdist.notebook.widget import WIDGET_VIEW, LogView, NotebookView, TerminalView, view_for
from nbdist.wire.messages import Notice

RUNNING = Progress(done=5, total=10, elapsed_seconds=1.0, items_per_second=5)
ENDED = Progress(done=10, total=10, elapsed_seconds=2.0, items_per_second=5, outcome="done")
SHORT = Progress(done=10, total=10, elapsed_seconds=0.1, items_per_second=100, outcome="done")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Published:
    """What would have gone to the page: bundles, each with the handle of its output."""

    def __init__(self) -> None:
        self.bundles: list[tuple[int, dict[str, Any]]] = []
        self._handles = 0

    def __call__(self, output: Any, bundle: dict[str, Any]) -> Any:
        if output is None:
            self._handles += 1
            output = self._handles
        self.bundles.append((output, bundle))
        return output


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Published:
    published = Published()
    monkeypatch.setattr(widget, "_publish", published)
    return published


def test_a_short_job_leaves_one_line(clock: Clock, published: Published) -> None:
    view = NotebookView("job", clock)
    view.show(RUNNING)
    clock.now = 0.1
    view.finish(SHORT)
    assert len(published.bundles) == 1
    bundle = published.bundles[0][1]
    assert set(bundle) == {"text/html", "text/plain"}
    assert bundle["text/plain"] == "job: 10 items in 0.1 s, 100/s"
    assert "progressbar" not in bundle["text/html"]


def test_a_longer_job_shows_a_widget_and_leaves_none(clock: Clock, published: Published) -> None:
    view = NotebookView("job", clock)
    clock.now = 1.0
    view.show(RUNNING)
    clock.now = 2.0
    view.show(RUNNING, "a note")
    view.finish(ENDED)
    (first_output, first), (last_output, last) = published.bundles
    assert set(first) == {WIDGET_VIEW, "text/html", "text/plain"}
    assert "5 of 10" in first["text/plain"]
    assert first_output == last_output
    assert set(last) == {"text/html", "text/plain"}
    assert "10 items in 2 s" in last["text/plain"]


def test_a_widget_is_redrawn_a_few_times_a_second(clock: Clock, published: Published) -> None:
    import ipywidgets

    view = NotebookView("job", clock)
    clock.now = 1.0
    view.show(RUNNING)
    drawn: list[str] = []
    shown = view._widget
    assert isinstance(shown, ipywidgets.HTML)
    shown.observe(lambda change: drawn.append(change["new"]), "value")
    for step in range(1000):
        clock.now = 1.0 + step / 1000
        view.show(Progress(done=step, total=1000))
    assert 4 <= len(drawn) <= 5


def test_without_ipywidgets_the_html_is_updated(
    clock: Clock, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    view = NotebookView("job", clock)
    for clock.now in (1.0, 2.0):
        view.show(RUNNING)
    view.finish(ENDED)
    assert [output for output, _ in published.bundles] == [1, 1, 1]
    assert all(WIDGET_VIEW not in bundle for _, bundle in published.bundles)


def test_a_plot_is_drawn_once_a_second_and_at_the_end(clock: Clock, published: Published) -> None:
    view, plot = NotebookView("job", clock), LivePlot(PlotSpec())
    plot.add([1, 2, 3])
    for clock.now in (0.1, 1.0, 1.1, 1.9, 2.1):
        view.plot(plot)
    view.plot(plot, final=True)
    assert [output for output, _ in published.bundles] == [1, 1, 1]
    assert all(set(bundle) == {"image/png", "text/plain"} for _, bundle in published.bundles)


def test_a_plot_that_cannot_be_says_why(clock: Clock, published: Published) -> None:
    view, plot = NotebookView("job", clock), LivePlot(PlotSpec())
    plot.add(["abc"])
    view.plot(plot, final=True)
    assert "'abc'" in published.bundles[0][1]["text/plain"]


def test_a_terminal_has_one_line_that_is_written_over(clock: Clock) -> None:
    stream = io.StringIO()
    view = TerminalView("job", stream, clock)
    view.show(RUNNING)
    assert stream.getvalue() == ""
    clock.now = 1.0
    view.show(RUNNING, "a long note that is gone later")
    clock.now = 2.0
    view.show(RUNNING)
    view.finish(ENDED)
    assert "\n" not in stream.getvalue().rstrip("\n")
    assert as_seen(stream.getvalue()) == ["job: 10 items in 2 s, 5.0/s"]


def test_output_does_not_mix_with_the_terminals_line(clock: Clock) -> None:
    stream = io.StringIO()
    view = TerminalView("job", stream, clock)
    clock.now = 1.0
    view.show(RUNNING)
    view.write([OutputText(0, "stdout", "here", "hello\n")])
    view.finish(ENDED)
    assert as_seen(stream.getvalue()) == ["hello", "job: 10 items in 2 s, 5.0/s"]


@pytest.mark.parametrize("kind", [TerminalView, LogView])
def test_what_there_is_to_notice_is_told_at_once_and_once(clock: Clock, kind: Any) -> None:
    stream = io.StringIO()
    view = kind("job", stream, clock)
    waits = replace(RUNNING, notices=(Notice("j", "warning", "job j waits: no machine can run it"),))
    view.show(waits)
    assert as_seen(stream.getvalue())[0] == "  job j waits: no machine can run it"
    clock.now = 1.0
    view.show(waits)
    later = (*waits.notices, Notice("j", "info", "lab is here"))
    view.show(replace(RUNNING, notices=later))
    view.finish(replace(ENDED, notices=(*later, Notice("j", "info", "and something at the end"))))
    told = [line for line in as_seen(stream.getvalue()) if line.startswith("  ")]
    assert told == ["  job j waits: no machine can run it", "  lab is here", "  and something at the end"]


def as_seen(text: str) -> list[str]:
    """The lines of a terminal after all this was written."""
    lines = []
    for line in text.rstrip("\n").split("\n"):
        seen: list[str] = []
        for piece in line.split("\r"):
            seen[: len(piece)] = piece
        lines.append("".join(seen).rstrip())
    return lines


def test_a_log_has_a_line_now_and_then(clock: Clock) -> None:
    stream = io.StringIO()
    view = LogView("job", stream, clock)
    for second in range(100):
        clock.now = float(second)
        view.show(RUNNING, "alone" if second > 50 else "")
    view.finish(ENDED)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4
    assert "alone" in lines[1]
    assert lines[-1] == "job: 10 items in 2 s, 5.0/s"


def test_what_items_wrote_is_passed_on_with_what_was_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    widget.write_texts([OutputText(0, "stdout", "a", "out\n"), OutputText(3, "stderr", "a", "err\n", cut_bytes=1000)])
    captured = capsys.readouterr()
    assert captured.out == "out\n"
    assert captured.err == "err\n\n[1,000 bytes more, of items up to 3, left out]\n"


def test_the_view_suits_the_place() -> None:
    class Kernel:
        kernel = object()

    assert isinstance(view_for("job", Kernel()), NotebookView)
    assert isinstance(view_for("job", None), LogView)
