"""What the Python API puts round a user's function. It is pickled by reference, so it must be there in every slot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class WithKeywords:
    """Calls a function with an item that is (positional arguments, keyword arguments)."""

    function: Callable[..., Any]

    def __call__(self, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
        return self.function(*arguments, **keywords)


@dataclass(frozen=True, slots=True)
class WithItems:
    """Calls a function with the item of an index: of items so large that they travel as captured values."""

    function: Callable[..., Any]
    sequences: Sequence[Sequence[Any]]
    are_zipped: bool
    """An item is a tuple with an element of each sequence; else there is one sequence."""
    star: bool

    def __call__(self, index: int) -> Any:
        item = tuple(sequence[index] for sequence in self.sequences) if self.are_zipped else self.sequences[0][index]
        return self.function(*item) if self.star else self.function(item)
