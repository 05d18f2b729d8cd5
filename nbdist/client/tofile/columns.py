"""From values to the columns of a file. Pure.

The first value that is there (not None, and no failure) says which columns there are; later values must have the same
fields, so that nothing has to be held back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nbdist.client.failures import ItemFailure
from nbdist.errors import JobError

INDEX, VALUE, ERROR = "index", "value", "error"
MAX_ITEM_CHARS = 200
"""Of an item that is neither a number nor a text, as it stands in a file."""
ELSE = "a .jsonl file takes values of any shape"
_PLAIN = (type(None), bool, int, float, complex, str)

Kind = Literal["value", "dict", "attributes", "tuple"]


@dataclass(frozen=True)
class Rows:
    """Some values that follow on each other."""

    indices: Sequence[int]
    items: Sequence[Any] | None
    """None: the file has no columns for them."""
    values: Sequence[Any]

    def slice(self, start: int, stop: int) -> Rows:
        """Some of them."""
        items = None if self.items is None else self.items[start:stop]
        return Rows(self.indices[start:stop], items, self.values[start:stop])


def is_missing(value: Any) -> bool:
    """Whether a value says nothing about the columns."""
    return value is None or isinstance(value, ItemFailure)


@dataclass(frozen=True)
class Shape:
    """Which columns values have."""

    kind: Kind
    fields: tuple[str, ...] = ()

    @classmethod
    def of(cls, value: Any) -> Shape:
        """By the rules of `Values.frame`."""
        if isinstance(value, dict) and value:
            return cls("dict", tuple(map(str, value)))
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return cls("attributes", tuple(field.name for field in dataclasses.fields(value)))
        if isinstance(value, tuple) and value:
            return cls("tuple", tuple(getattr(value, "_fields", [f"value_{at}" for at in range(len(value))])))
        return cls("value")

    @property
    def names(self) -> tuple[str, ...]:
        return self.fields if self.kind != "value" else (VALUE,)

    def columns(self, rows: Rows) -> dict[str, Sequence[Any]]:
        """The values by column. Raises JobError that names the first item whose value has other fields."""
        if self.kind == "value" and ItemFailure not in set(map(type, rows.values)):
            return {VALUE: rows.values}
        if self.kind == "value":
            return {VALUE: [None if isinstance(value, ItemFailure) else value for value in rows.values]}
        cells = [self._cells(index, value) for index, value in zip(rows.indices, rows.values, strict=True)]
        return dict(zip(self.fields, map(list, zip(*cells, strict=True)), strict=True)) if cells else {}

    def _cells(self, index: int, value: Any) -> Sequence[Any]:
        if is_missing(value):
            return (None,) * len(self.fields)
        if self.kind == "tuple" and isinstance(value, tuple) and len(value) == len(self.fields):
            return value
        if self.kind == "attributes" and dataclasses.is_dataclass(value) and self._has_attributes(value):
            return [getattr(value, name) for name in self.fields]
        if self.kind == "dict" and isinstance(value, Mapping):
            found = {str(name): inner for name, inner in value.items()}
            more = found.keys() - set(self.fields)
            if not more:
                return [found.get(name) for name in self.fields]
            raise JobError(
                f"the value of item {index} has {', '.join(map(repr, sorted(more)))}, which the first value of the "
                f"file does not have: give all values the same keys; {ELSE}"
            )
        raise JobError(
            f"the value of item {index} is of type {type(value).__name__!r} and does not have the columns of the first "
            f"value of the file, {', '.join(self.fields)}: give all values the same fields; {ELSE}"
        )

    def _has_attributes(self, value: Any) -> bool:
        return tuple(field.name for field in dataclasses.fields(value)) == self.fields


def item_columns(rows: Rows, names: Sequence[str]) -> dict[str, Sequence[Any]]:
    """The items by the names of the loop."""
    if rows.items is None or not names:
        return {}
    if len(names) == 1 and isinstance(rows.items, range):
        return {names[0]: rows.items}
    if len(names) == 1:
        return {names[0]: [_plain(item) for item in rows.items]}
    split = [item if isinstance(item, tuple) and len(item) == len(names) else (item,) for item in rows.items]
    return {name: [_plain(item[at]) if at < len(item) else None for item in split] for at, name in enumerate(names)}


def _plain(item: Any) -> Any:
    """An item as it may stand in a field: a number or a text."""
    if type(item) in _PLAIN:
        return item
    if type(item).__module__ == "numpy" and getattr(item, "shape", None) == () and hasattr(item, "item"):
        return item.item()
    try:
        text = repr(item)
    except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything
        text = f"<{type(item).__name__}>"
    return text if len(text) <= MAX_ITEM_CHARS else text[: MAX_ITEM_CHARS - 1] + "…"


def errors(rows: Rows) -> list[str | None]:
    """Why each item has no value; None: it has one."""
    return [
        f"{type(value.error).__name__}: {value.error}" if isinstance(value, ItemFailure) else None
        for value in rows.values
    ]
