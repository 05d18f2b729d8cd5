"""Follows a job under its cell, from the cell's own thread, until it ends or is interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable

from nbdist.client.job import Job
from nbdist.client.progress import Progress
from nbdist.notebook.plots import LivePlot
from nbdist.notebook.widget import View

TURN_SECONDS = 0.1
"""Between two looks at the job while nothing ends."""
CONFIRM_SECONDS = 3.0
"""After an interrupt the pool has so long to confirm that nothing of the job runs any more."""
LONELY_SECONDS = 10.0
"""Nothing has run for so long and no machine is there: the view says how to add one."""


class Follower:
    """Shows a job in a view, feeds its plot, passes its output on."""

    def __init__(
        self,
        job: Job,
        view: View,
        plot: LivePlot | None = None,
        *,
        lonely_note: Callable[[], str] = str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job, self._view, self._plot = job, view, plot
        self._lonely_note = lonely_note
        self._clock = clock
        self._started = clock()
        self._note = ""
        self._plotted_values = 0

    def follow(self) -> None:
        """Returns when the job has ended. An interrupt stops the job on all machines and raises KeyboardInterrupt."""
        try:
            while not self._job.wait(TURN_SECONDS):
                self._look()
        except KeyboardInterrupt:
            self._stop()
            raise
        finally:
            self._leave()

    def _look(self) -> None:
        progress = self._job.progress
        self._view.write(self._job.take_output())
        self._view.show(progress, self._lonely(progress))
        self._feed_plot()
        if self._plot is not None:
            self._view.plot(self._plot)

    def _leave(self) -> None:
        """Draws what stays; also after an interrupt, so that what is saved never says that the job still runs."""
        self._view.write(self._job.take_output())
        self._view.finish(self._job.progress)
        self._feed_plot()
        if self._plot is not None:
            self._view.plot(self._plot, final=True)

    def _stop(self) -> None:
        """Cancels and waits for the pool's word; a second interrupt ends the wait."""
        self._job.cancel("interrupted")
        self._view.show(self._job.progress, "stopping")
        self._job.wait(CONFIRM_SECONDS)

    def _feed_plot(self) -> None:
        if self._plot is None:
            return
        values = self._job.values
        if len(values) > self._plotted_values:
            self._plot.add(values[self._plotted_values :])
            self._plotted_values = len(values)

    def _lonely(self, progress: Progress) -> str:
        """What to say when no machine is there to run the job."""
        is_served = (
            progress.done > progress.taken
            or progress.running_slots
            or progress.sending is not None
            or any(row.state != "lost" for row in progress.machines)
        )
        if is_served or self._clock() - self._started < LONELY_SECONDS:
            self._note = ""
        elif not self._note:
            self._note = self._lonely_note()
        return self._note
