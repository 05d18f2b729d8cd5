"""The system's timer, for items that run in this very thread: it interrupts them when their time is up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

REPEAT_SECONDS = 0.02
"""It rings again until somebody stops it: a ring that came a moment early does nothing."""
CAN_RING = hasattr(signal, "setitimer")
"""Windows has no such timer."""


class Alarm:
    """Calls `ring` in the main thread, once the time that was set is over. Elsewhere it never rings."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._is_on = False

    @contextmanager
    def on(self) -> Iterator[None]:
        """Uses the process's timer inside; afterwards that is again what it was before."""
        if not CAN_RING or self._is_on or threading.current_thread() is not threading.main_thread():
            yield
            return
        handler = signal.signal(signal.SIGALRM, self._on_alarm)
        timer = signal.getitimer(signal.ITIMER_REAL)
        self._is_on = True
        try:
            yield
        finally:
            self._is_on = False
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
            signal.setitimer(signal.ITIMER_REAL, *timer)

    def set(self, seconds: float) -> None:
        """Rings after so long; 0: not at all."""
        if self._is_on:
            signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT_SECONDS if seconds else 0.0)

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        self._ring()
