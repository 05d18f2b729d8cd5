"""The setup cells of a session: in order, each in its place until it is replaced or forgotten."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbdist.client.analysis.sources import sources_of
from nbdist.errors import CellError
from nbdist.execution.task import Setup
from nbdist.notebook.setupcell import SetupCell
from nbdist.notebook.tables import Table
from nbdist.packing import snapshot

MAX_NAMES_SHOWN = 12
MAX_LINE_CHARS = 60


@dataclass(frozen=True)
class _Entry:
    setup: Setup
    code: str
    cell_id: str
    """Of the cell in the notebook, if the front end tells; it stays when the cell is edited."""
    sources: Mapping[str, str]


@dataclass
class Setups:
    """What each slot runs before the items of this notebook's jobs."""

    _entries: list[_Entry] = field(default_factory=list)
    _session: str = field(default_factory=lambda: secrets.token_hex(8))
    _age: str = ""
    """Makes keys differ from those of setups that were forgotten."""

    @property
    def all(self) -> tuple[Setup, ...]:
        """In the order in which they run."""
        return tuple(entry.setup for entry in self._entries)

    @property
    def names(self) -> frozenset[str]:
        """The names that they define."""
        return frozenset(name for setup in self.all for name in setup.defines)

    @property
    def sources(self) -> dict[str, str]:
        """The text of their code."""
        return {name: text for entry in self._entries for name, text in entry.sources.items()}

    def add(self, cell: SetupCell, namespace: dict[str, Any], filename: str, *, number: int, cell_id: str = "") -> str:
        """Takes a setup cell, with the notebook's values as they are now; gives a line for the person.

        It replaces the one of the same name, of the same cell, or, if it has no name, with the same code. Raises
        PackingError for what cannot travel.
        """
        name = cell.name or f"cell {number}"
        place = self._place(cell, cell_id)
        earlier = {each for entry in self._entries[:place] for each in entry.setup.defines}
        own = set(cell.defines) - cell.reads_first
        made = cell.function(namespace, filename)
        function, values = snapshot(made, earlier | own, f"setup {name!r}")
        content = hashlib.sha256(cell.code.encode("utf-8", "surrogatepass") + b"\0" + values).hexdigest()
        before = [entry.setup.key for entry in self._entries[place : place + 1]]
        is_known = any(key.startswith(content) for key in before)
        setup = Setup(name, function, cell.defines, before[0] if is_known else content + self._age, self._session)
        sources = {**sources_of(made), filename: cell.source.text}
        self._entries[place : place + 1] = [_Entry(setup, cell.code, cell_id, sources)]
        self._entries = [
            entry for entry in self._entries if entry.setup is setup or not (cell_id and entry.cell_id == cell_id)
        ]
        return self._told(setup, is_known)

    def clear(self, name: str | None = None) -> list[str]:
        """Forgets all setups, or the one of this name; gives the names. What slots have made is not used again."""
        gone = [entry for entry in self._entries if name in (None, entry.setup.name)]
        if name is not None and not gone:
            known = ", ".join(repr(setup.name) for setup in self.all) or "none"
            raise CellError(f"no setup is called {name!r}; there are: {known}")
        self._entries = [entry for entry in self._entries if entry not in gone]
        self._age += "'"
        return [entry.setup.name for entry in gone]

    def table(self) -> Table:
        """All setups, for the person."""
        if not self._entries:
            return Table("No setups: `%%distribute --setup` on a cell makes one.", (), ())
        rows = [(entry.setup.name, _shown(entry.setup), _first_line(entry.code)) for entry in self._entries]
        title = "Setups: each slot runs them once, in this order, before its next items"
        return Table(title, ("name", "defines", "code"), rows)

    def _place(self, cell: SetupCell, cell_id: str) -> int:
        """Where the cell belongs: in the place of another, or behind all."""
        tests: tuple[Callable[[_Entry], bool], ...] = (
            lambda entry: cell.name is not None and entry.setup.name == cell.name,
            lambda entry: bool(cell_id) and entry.cell_id == cell_id,
            lambda entry: cell.name is None and entry.code == cell.code,
        )
        for test in tests:
            for place, entry in enumerate(self._entries):
                if test(entry):
                    return place
        return len(self._entries)

    def _told(self, setup: Setup, is_known: bool) -> str:
        what = f"setup {setup.name!r} ({self.all.index(setup) + 1} of {len(self._entries)})"
        if is_known:
            return f"{what} is as it was: where it has run, it does not run again; defines {_shown(setup)}"
        return f"{what}: runs once in each slot before its next items; defines {_shown(setup)}"


def _shown(setup: Setup) -> str:
    names = setup.defines[:MAX_NAMES_SHOWN]
    more = len(setup.defines) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "") if names else "no names"


def _first_line(code: str) -> str:
    line = code.partition("\n")[0]
    return line if len(line) <= MAX_LINE_CHARS else line[: MAX_LINE_CHARS - 1] + "…"
