"""A task: the function of a job and the functions that go with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final


@final
class Skip:
    """The type of `SKIP`."""

    __slots__ = ()

    def __reduce__(self) -> str:
        return "SKIP"

    def __repr__(self) -> str:
        return "SKIP"


SKIP: Final = Skip()
"""What a function returns for an item that is to have no result. One object in every process."""


@dataclass(frozen=True, slots=True)
class StopHere:
    """What a function returns for an item whose value is the one that was looked for: no further item need run."""

    value: Any


@dataclass(frozen=True)
class Setup:
    """Code that a process runs once, before the items that may then use what it has made."""

    name: str
    function: Callable[[], Any]
    """Binds names in its own globals, and takes with it what it refers to."""
    defines: tuple[str, ...]
    """The names that it binds or deletes there."""
    key: str
    """The same only for the same code and the same captured values."""
    session: str
    """Whose it is: nothing that it makes is shared with another session."""


@dataclass(frozen=True)
class Task:
    """What is done with each item: `function(item)`, then `keep_if`, `stop_when` and `reduce`, where there are any."""

    function: Callable[..., Any]
    """Called with the item; with no argument in jobs that run once on each machine or slot."""
    star: bool = False
    """Items are tuples of arguments: `function(*item)`."""
    keep_if: Callable[[Any], Any] | None = None
    """Whether the value is a result at all."""
    stop_when: Callable[[Any], Any] | None = None
    """Whether the value is the one that was looked for."""
    reduce: Callable[..., Any] | None = None
    """An associative function of two values, or one of the built-ins sum, min, max, any and all."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """File name -> text of the code that has no file where it runs: for the lines of tracebacks."""
    setups: tuple[Setup, ...] = ()
    """What must have run, in this order, where the items run; the function sees the names that these define."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Environment variables that the code sees: for its eyes only."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """Path -> the file (`filing.inputs`) that the code names by it: `nbdist.file(path)`."""
    home: tuple[str, str] = field(default=("", ""), repr=False)
    """The notebook's folder, and what proves to be on its machine (`filing.here`)."""
