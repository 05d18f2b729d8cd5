"""Rows as the text of a csv or jsonl file. Pure."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from nbdist.client.failures import ItemFailure
from nbdist.client.tofile.columns import ERROR, INDEX, VALUE, Rows, Shape, errors, item_columns
from nbdist.errors import JobError

_PLAIN = frozenset({type(None), bool, int, float, complex, str})
_NUMBERS = frozenset({int, float})


class CsvRows:
    """Rows as csv: a line of names, then a line a value. None and what a failed item has is an empty field."""

    def __init__(self, item_names: Sequence[str], *, has_errors: bool, facts: dict[str, Any] | None = None) -> None:
        self._item_names = item_names
        self._has_errors = has_errors
        self._shape: Shape | None = None
        self._has_names = bool(facts)
        if facts:
            self._shape = Shape(facts["kind"], tuple(facts["fields"]))

    @property
    def facts(self) -> dict[str, Any]:
        """What must be known to go on after a break, as JSON."""
        return (
            {}
            if self._shape is None or not self._has_names
            else {"kind": self._shape.kind, "fields": self._shape.fields}
        )

    @property
    def waits(self) -> bool:
        """Whether no value has said yet which columns there are."""
        return self._shape is None

    def decide(self, value: Any) -> None:
        """The first value that says which columns there are; None: none does."""
        self._shape = Shape.of(value)

    def encode(self, rows: Rows) -> bytes:
        """The lines, with that of the names before the first ones."""
        assert self._shape is not None
        columns: dict[str, Sequence[Any]] = {INDEX: rows.indices}
        columns |= dict.fromkeys(self._item_names, [None] * len(rows.indices)) | item_columns(rows, self._item_names)
        values = self._shape.columns(rows) or {name: [] for name in self._shape.names}
        columns |= {name: _fields(column, rows) for name, column in values.items()}
        if self._has_errors:
            columns[ERROR] = errors(rows)
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        if not self._has_names:
            writer.writerow(columns)
            self._has_names = True
        try:
            if _are_numbers(columns.values()):
                text.write(_filled(",".join(["%s"] * len(columns)) + "\n", columns.values()))
            else:
                writer.writerows(zip(*columns.values(), strict=True))
        except (ValueError, csv.Error) as error:  # an integer of too many digits, for one
            raise JobError(
                f"the values of items {rows.indices[0]} to {rows.indices[-1]} are no text: {error}"
            ) from None
        return text.getvalue().encode("utf-8", "backslashreplace")

    def finish(self, part: IO[bytes], path: Path) -> Path:
        """The part is the whole file."""
        return Path(part.name)


def _are_numbers(columns: Iterable[Sequence[Any]]) -> bool:
    """Whether all are whole numbers, or floats: their text is the same in all formats, and made at once."""
    return all(isinstance(column, range) or _NUMBERS.issuperset(map(type, column)) for column in columns)


def _filled(line: str, columns: Collection[Sequence[Any]]) -> str:
    """A line for each row, with its values in their places."""
    count = len(next(iter(columns), ()))
    return (line * count) % tuple(itertools.chain.from_iterable(zip(*columns, strict=True)))


def _fields(column: Sequence[Any], rows: Rows) -> Sequence[Any]:
    """The values of a column as fields of a csv file. Raises JobError that names the item of one that cannot be one."""
    if _PLAIN.issuperset(map(type, column)):
        return column
    return [_field(value, index) for value, index in zip(column, rows.indices, strict=True)]


def _field(value: Any, index: int) -> Any:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, (list, tuple, dict)):
        return _json(value, index, "of a .csv file; return numbers or texts, or pick .jsonl")
    kind: Any = type(value)
    has_text = kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__
    if getattr(value, "shape", ()) != () or not has_text:
        raise JobError(
            f"the value of item {index} is of type {type(value).__name__!r}, which is no field of a .csv file: return "
            f"a number, a text or a dict of them{'; .npy takes arrays' if hasattr(value, 'shape') else ''}"
        )
    return str(value)


class JsonRows:
    """Rows as JSON, an object a line: `index`, the item by the names of the loop, and `value`, or `error`."""

    facts: dict[str, Any] = {}  # noqa: RUF012 - there is nothing to remember

    def __init__(self, item_names: Sequence[str]) -> None:
        self._item_names = item_names

    waits = False
    """The columns need not be known."""

    def decide(self, value: Any) -> None:
        """There is nothing to decide."""

    def encode(self, rows: Rows) -> bytes:
        """The lines."""
        columns: dict[str, Sequence[Any]] = {INDEX: rows.indices}
        columns |= dict.fromkeys(self._item_names, [None] * len(rows.indices)) | item_columns(rows, self._item_names)
        columns.pop(VALUE, None)
        if _are_whole([*columns.values(), rows.values]):
            line = ", ".join(f"{_encode(name)}: %s" for name in [*columns, VALUE])
            return _filled(f"{{{line}}}\n", [*columns.values(), rows.values]).encode()
        heads = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
        lines = [_line(head, value) + "\n" for head, value in zip(heads, rows.values, strict=True)]
        return "".join(lines).encode("utf-8", "backslashreplace")

    def finish(self, part: IO[bytes], path: Path) -> Path:
        """The part is the whole file."""
        return Path(part.name)


def _are_whole(columns: Iterable[Sequence[Any]]) -> bool:
    """Whether all are whole numbers."""
    return all(isinstance(column, range) or {int}.issuperset(map(type, column)) for column in columns)


def _line(head: dict[str, Any], value: Any) -> str:
    if isinstance(value, ItemFailure):
        return _encode({**_known(head), ERROR: f"{type(value.error).__name__}: {value.error}"})
    try:
        return _encode({**head, VALUE: _as_dict(value)})
    except (TypeError, ValueError, RecursionError):  # it may be the item
        wanted = "for a .jsonl file: return numbers, texts, None, or lists and dicts of them; or pick .csv"
        text = _json(value, head[INDEX], wanted)
        return f'{_encode(_known(head))[:-1]}, "{VALUE}": {text}}}'


def _as_dict(value: Any) -> Any:
    return value._asdict() if isinstance(value, tuple) and hasattr(value, "_asdict") else value


def _known(head: dict[str, Any]) -> dict[str, Any]:
    """Index and items; what JSON does not know (nan, a complex number) becomes text."""
    return {name: item if _is_json(item) else str(item) for name, item in head.items()}


def _is_json(value: Any) -> bool:
    try:
        _encode(value)
    except (TypeError, ValueError):
        return False
    return True


def _json(value: Any, index: int, wanted: str) -> str:
    """The value as JSON. Raises JobError that names the item."""
    try:
        return _encode(_as_dict(value))
    except (TypeError, ValueError, RecursionError) as error:
        reason = str(error)
    raise JobError(f"the value of item {index}, of type {type(value).__name__!r}, is no JSON ({reason}) {wanted}")


def _other(value: Any) -> Any:
    """What JSON does not know, as something that it does."""
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} is no type that JSON has")


_encode: Callable[[Any], str] = json.JSONEncoder(default=_other, allow_nan=False, ensure_ascii=False).encode
