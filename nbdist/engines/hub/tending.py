"""Has the worker of this machine's pool started again when it was killed while jobs wait; not again and again."""

from __future__ import annotations

import time
from collections.abc import Callable

from nbdist.errors import NbdistError

TEND_SECONDS = 1.0
"""Between two looks at the worker while a job waits."""
GONE_LOOKS = 3
"""In a row: a worker that is just starting must not be taken for one that is gone."""
MAX_STARTS = 5
STARTS_SECONDS = 60.0
"""The worker is started so many times within so long."""


class Tender:
    """Looks after one worker: `is_gone` says whether it has ended though nobody told it to, `start` starts it."""

    def __init__(
        self, is_gone: Callable[[], bool], start: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._is_gone = is_gone
        self._start = start
        self._clock = clock
        self._looks = 0
        self._starts: list[float] = []

    def look(self) -> str:
        """Starts the worker again if that is needed; gives what is to be told to those who wait."""
        self._looks = self._looks + 1 if self._is_gone() else 0
        if self._looks < GONE_LOOKS:
            return ""
        now = self._clock()
        self._starts = [when for when in self._starts if now - when < STARTS_SECONDS]
        if len(self._starts) >= MAX_STARTS:
            return (
                f"the worker of this machine has ended {MAX_STARTS} times within {STARTS_SECONDS:.0f} s, and is "
                "started again later; `nbdist doctor` says what may be wrong"
            )
        self._looks = 0
        self._starts.append(now)
        try:
            self._start()
        except (NbdistError, OSError) as error:
            return f"the worker of this machine is gone and cannot be started: {error}"
        return "the worker of this machine was gone, and was started again"
