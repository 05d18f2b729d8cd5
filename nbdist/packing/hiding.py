"""Names that functions find where they run: what the notebook has for these names stays there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from types import FunctionType
from typing import Any


@dataclass(frozen=True, slots=True)
class Hidden:
    """Names that functions of this namespace do not take along."""

    namespace: dict[str, Any]
    names: Collection[str]

    def of(self, function: FunctionType) -> Collection[str]:
        """The names that this function does not take along."""
        return self.names if function.__globals__ is self.namespace else ()
