"""Slots of several environments: a launcher for each."""

from __future__ import annotations

from collections.abc import Callable, Collection

from nbdist.worker.processes import Launcher, SlotProcess
from nbdist.worker.setup import SlotSetup


class Launchers:
    """A `Launcher` that starts each slot in the environment that its setup names; `make` is given the name."""

    def __init__(self, make: Callable[[str], Launcher]) -> None:
        self._make = make
        self._own = make("")
        self._others: dict[str, Launcher] = {}

    async def start(self, setup: SlotSetup) -> SlotProcess:
        """Starts a slot. Raises OSError and NbdistError."""
        launcher = self._others.get(setup.environment) if setup.environment else self._own
        if launcher is None:
            launcher = self._others[setup.environment] = self._make(setup.environment)
        return await launcher.start(setup)

    def keep(self, names: Collection[str]) -> None:
        """Ends the launchers of all environments but these, in which no slot runs any more."""
        for name in [name for name in self._others if name not in names]:
            self._others.pop(name).close()

    def last_words(self) -> str:
        """The end of what processes wrote to stderr before they were slots: they share a file."""
        return self._own.last_words()

    def close(self) -> None:
        """Ends all launchers, and with them all slots."""
        self.keep(())
        self._own.close()
