"""When a hub ends: it is told to, its parent is gone, or it is an embedded one that nobody uses."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable

IDLE_SECONDS = 600.0
"""An embedded hub ends after so long without a notebook, an unfinished job and a worker elsewhere."""


class Lifetime:
    """Waits for the end."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def end(self) -> None:
        """It is over."""
        self._over.set()

    async def wait(self) -> None:
        """Returns when it is over."""
        await self._over.wait()

    def idle(self, is_idle: bool) -> None:
        """Nobody uses the hub, or somebody does (again): starts or stops the clock. Costs no wake-ups meanwhile."""
        if is_idle and self._timer is None:
            self._timer = self._loop.call_later(IDLE_SECONDS, self.end)
        elif not is_idle and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def watch_signals(self) -> None:
        """Ends at SIGTERM and SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            if sys.platform == "win32":
                signal.signal(number, lambda *_: self._call(self.end))
            else:
                self._loop.add_signal_handler(number, self.end)

    def watch_parent(self) -> None:
        """Ends when standard input does, which is when the parent has closed it or died."""

        def read() -> None:
            while os.read(0, 1024):  # not sys.stdin: its lock, held here, would crash the interpreter's exit
                continue
            self._call(self.end)

        threading.Thread(target=read, name="parent", daemon=True).start()

    def _call(self, callback: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback)
