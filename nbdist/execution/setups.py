"""Setups: code that a process runs once, and whose names later code sees.

What a session's setups have made is kept by their order: if one of them changes, it and those behind it run again, and
what the earlier version has made goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

from nbdist.execution.task import Setup

MAX_SESSIONS = 4
"""What the setups of so many sessions have made is kept; the one that was used longest ago goes first."""

Call = Callable[[Setup, Mapping[str, Any]], object]
"""Calls the setup's function, which sees these names; what it calls may need them too."""


class Made:
    """What setups have made in one process."""

    def __init__(self) -> None:
        self._sessions: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        """Of each session, for each of its setups in order: its key, and what the names were after it."""

    def lacks(self, setups: Sequence[Setup]) -> bool:
        """Whether some of these have yet to run."""
        return bool(setups) and self._common(setups) < len(setups)

    def run(self, setups: Sequence[Setup], call: Call) -> Mapping[str, Any]:
        """Runs those of one session's setups that have not run yet, in order; gives the names that all of them define.

        Raises what a setup raises; then those before it have run, and it has not.
        """
        if not setups:
            return {}
        session, count = setups[0].session, self._common(setups)
        stages = self._sessions.pop(session, [])
        if count < len(setups):
            del stages[count:]  # now: what is replaced may need its room
        self._sessions[session] = stages
        while len(self._sessions) > MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        for setup in setups[count:]:
            names = _run(setup, stages[-1][1] if stages else {}, call)
            stages.append((setup.key, names))
        return stages[len(setups) - 1][1]

    def _common(self, setups: Sequence[Setup]) -> int:
        """How many of these, from the first on, have run."""
        stages = self._sessions.get(setups[0].session, [])
        count = 0
        while count < min(len(stages), len(setups)) and stages[count][0] == setups[count].key:
            count += 1
        return count


here = Made()
"""What setups have made in this process, for what runs in it for its own notebook."""


def mark(name: str, machine: str) -> str:
    """What stands before each line that a setup writes."""
    return f"[setup {name!r} on {machine}] "


def namespace_of(function: Any) -> dict[str, Any]:
    """The globals of a function of a notebook; of anything else, nothing that matters."""
    return function.__globals__ if isinstance(function, FunctionType) else {}


def give(function: Any, names: Mapping[str, Any]) -> None:
    """Lets a function that was loaded for this, and those that came with it, see these names."""
    namespace_of(function).update(names)


def _run(setup: Setup, names: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """Runs a setup that sees these names; gives them with its own."""
    namespace = setup.function.__globals__
    namespace.update(names)
    call(setup, names)
    kept = {name: value for name, value in names.items() if name not in setup.defines}
    return kept | {name: namespace[name] for name in setup.defines if name in namespace}
