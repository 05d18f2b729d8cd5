"""When a machine that works is kept awake. Pure."""

from __future__ import annotations

from dataclasses import dataclass

HOLD_AFTER_SECONDS = 1.0
"""Work that is over sooner keeps nothing awake: no system sleeps after so short a time."""
RELEASE_AFTER_SECONDS = 5.0
"""So long after the last work the machine may sleep again: many short jobs are one stretch of work."""
LOOK_SECONDS = 1.0
"""How often one looks whether there is still work, while there was some."""


@dataclass(slots=True)
class Holding:
    """One machine's stretch of work, if there is one. Times are in seconds, by any clock."""

    is_held: bool = False
    _since: float | None = None
    """When the stretch began."""
    _worked_at: float = 0.0

    @property
    def is_over(self) -> bool:
        """Nobody need look again before there is new work."""
        return self._since is None

    def look(self, is_busy: bool, now: float) -> bool:
        """Whether the machine is to be kept awake from now on."""
        if is_busy:
            self._since = now if self._since is None else self._since
            self._worked_at = now
            self.is_held = self.is_held or now - self._since >= HOLD_AFTER_SECONDS
        elif self._since is not None and now - self._worked_at >= RELEASE_AFTER_SECONDS:
            self._since = None
            self.is_held = False
        return self.is_held
