"""Following a job: what is shown when, and what an interrupt does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nbdist.client.progress import Progress, Sent
from nbdist.notebook.follow import CONFIRM_SECONDS, LONELY_SECONDS, Follower
from nbdist.wire.messages import WorkerRow


class FakeJob:
    """Ends after some looks; `on_wait` may raise what a real wait may."""

    def __init__(self, looks: int, progress: Progress, on_wait: Callable[[int], None] = lambda look: None) -> None:
        self.progress = progress
        self.values: list[Any] = []
        self.asked: list[Any] = []
        self._looks, self._on_wait = looks, on_wait
        self._waits = 0

    def wait(self, timeout: float) -> bool:
        self._waits += 1
        self.asked.append(timeout)
        self._on_wait(self._waits)
        self.values.append(self._waits)
        return self._waits > self._looks

    def take_output(self) -> list[Any]:
        return [f"text {self._waits}"]

    def cancel(self, reason: str) -> None:
        self.asked.append(reason)


class FakeView:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.events: list[Any] = []

    def show(self, progress: Progress, note: str = "") -> None:
        self.notes.append(note)

    def write(self, texts: Any) -> None:
        self.events += texts

    def plot(self, plot: Any, *, final: bool = False) -> None:
        self.events.append("final plot" if final else "plot")

    def finish(self, progress: Progress) -> None:
        self.events.append("finish")


class FakePlot:
    def __init__(self) -> None:
        self.values: list[Any] = []

    def add(self, values: Any) -> None:
        self.values += values


def follower(job: FakeJob, view: FakeView, plot: Any = None, **options: Any) -> Follower:
    return Follower(job, view, plot, **options)  # type: ignore[arg-type]


def test_values_and_output_are_passed_on_once() -> None:
    job, view, plot = FakeJob(2, Progress()), FakeView(), FakePlot()
    follower(job, view, plot).follow()
    assert plot.values == [1, 2, 3]
    assert view.events == ["text 1", "plot", "text 2", "plot", "text 3", "finish", "final plot"]


@pytest.mark.parametrize(
    ("progress", "is_lonely"),
    [
        (Progress(), True),
        (Progress(machines=(WorkerRow("a", 1, "lost"),)), True),
        (Progress(machines=(WorkerRow("a", 1, "preparing"),)), False),
        (Progress(running_slots=1), False),
        (Progress(sending=Sent(1, 5, 1.0)), False),
        (Progress(done=1), False),
        (Progress(done=5, taken=5), True),
    ],
)
def test_a_job_without_machines_says_so_after_a_while(progress: Progress, is_lonely: bool) -> None:
    now, asked = [0.0], []

    def pass_time(look: int) -> None:
        now[0] = look * LONELY_SECONDS / 2

    def note() -> str:
        asked.append(now[0])
        return "come"

    view = FakeView()
    follower(FakeJob(4, progress, pass_time), view, lonely_note=note, clock=lambda: now[0]).follow()
    assert view.notes == (["", "come", "come", "come"] if is_lonely else [""] * 4)
    assert len(asked) == is_lonely


def interrupt_at(*looks: int) -> Callable[[int], None]:
    def on_wait(look: int) -> None:
        if look in looks:
            raise KeyboardInterrupt

    return on_wait


def test_an_interrupt_cancels_and_waits_for_the_pools_word() -> None:
    job, view = FakeJob(9, Progress(), interrupt_at(2)), FakeView()
    with pytest.raises(KeyboardInterrupt):
        follower(job, view).follow()
    assert job.asked[-2:] == ["interrupted", CONFIRM_SECONDS]
    assert view.notes[-1] == "stopping"
    assert view.events[-1] == "finish"


def test_a_second_interrupt_returns_at_once() -> None:
    job, view = FakeJob(9, Progress(), interrupt_at(2, 3)), FakeView()
    with pytest.raises(KeyboardInterrupt):
        follower(job, view).follow()
    assert job.asked[-2:] == ["interrupted", CONFIRM_SECONDS]
    assert view.events[-1] == "finish"
