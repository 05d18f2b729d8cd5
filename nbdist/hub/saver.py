"""Saves something that changes often: at once, and then not again for a while however often it changes."""

from __future__ import annotations

from collections.abc import Callable

PAUSE_SECONDS = 0.5


class Saver:
    """Calls `save` for the first change, and once after the pause for all that came during it.

    `call_later(seconds, callback)` is the loop's.
    """

    def __init__(self, save: Callable[[], None], call_later: Callable[[float, Callable[[], None]], object]) -> None:
        self._save = save
        self._call_later = call_later
        self._pausing = False
        self._changed = False

    def changed(self) -> None:
        """There is something to save."""
        if self._pausing:
            self._changed = True
            return
        self._pausing = True
        self._save()
        self._call_later(PAUSE_SECONDS, self._pause_over)

    def flush(self) -> None:
        """Saves now what has not been saved."""
        if self._changed:
            self._changed = False
            self._save()

    def _pause_over(self) -> None:
        self._pausing = False
        if self._changed:
            self._changed = False
            self.changed()
