"""What the Python API puts round a user's function. It is pickled by reference, so it must be there in every slot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class WithKeywords:
    """Calls a function with an item that is (positional arguments, keyword arguments)."""

    function: Callable[..., Any]

    def __call__(self, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
        return self.function(*arguments, **keywords)
