"""Rows as a parquet file. Its end can be written only once all rows are known: the part is a row of Arrow streams."""

from __future__ import annotations

import base64
import importlib
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from nbdist.client.tofile.columns import ERROR, INDEX, Rows, Shape, errors, item_columns
from nbdist.errors import JobError

GROUP_ROWS = 65_536
GROUP_BYTES = 32 * 1024 * 1024
"""A row group ends with the first rows that bring it over one of these."""
_LENGTH = struct.Struct(">Q")


class ParquetRows:
    """Rows as columns with types: where those of a column differ (whole numbers, then others), one that holds all."""

    def __init__(self, item_names: Sequence[str], *, has_errors: bool, facts: dict[str, Any] | None = None) -> None:
        self._arrow: Any = importlib.import_module("pyarrow")
        self._item_names = item_names
        self._has_errors = has_errors
        self._shape: Shape | None = None
        self._schema: Any = None
        if facts:
            self._shape = Shape(facts["kind"], tuple(facts["fields"]))
            schema = self._arrow.py_buffer(base64.b64decode(facts["schema"]))
            self._schema = self._arrow.ipc.read_schema(schema)

    @property
    def facts(self) -> dict[str, Any]:
        """What must be known to go on after a break, as JSON."""
        if self._shape is None or self._schema is None:
            return {}
        schema = base64.b64encode(self._schema.serialize().to_pybytes()).decode("ascii")
        return {"kind": self._shape.kind, "fields": self._shape.fields, "schema": schema}

    @property
    def waits(self) -> bool:
        """Whether no value has said yet which columns there are."""
        return self._shape is None

    def decide(self, value: Any) -> None:
        """The first value that says which columns there are; None: none does."""
        self._shape = Shape.of(value)

    def encode(self, rows: Rows) -> bytes:
        """The rows as an Arrow stream, with its length before it."""
        assert self._shape is not None
        columns = self._columns(rows, self._shape)
        try:
            table = self._arrow.table(columns)
            found = [table.schema] if self._schema is None else [self._schema, table.schema]
            schema = self._arrow.unify_schemas(found, promote_options="permissive")
            table.cast(schema)
        except (self._arrow.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise self._refused(rows, self._shape, error) from None
        self._schema = schema
        sink = self._arrow.BufferOutputStream()
        with self._arrow.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        data = sink.getvalue().to_pybytes()
        return _LENGTH.pack(len(data)) + bytes(data)

    def finish(self, part: IO[bytes], path: Path) -> Path:
        """Makes a new file at `path` of the part; gives where it is."""
        if self._schema is None:
            empty: dict[str, Any] = dict.fromkeys([INDEX, *self._item_names, "value"], ())
            self._schema = self._arrow.table({name: self._arrow.array([], "int64") for name in empty}).schema
        parquet = importlib.import_module("pyarrow.parquet")
        with path.open("wb") as file:
            with parquet.ParquetWriter(file, self._schema) as writer:
                for group in self._groups(part):
                    writer.write_table(group)
            file.flush()
            os.fsync(file.fileno())
        return path

    def _groups(self, part: IO[bytes]) -> Iterator[Any]:
        held: list[Any] = []
        part.seek(0)
        while head := part.read(_LENGTH.size):
            table = self._arrow.ipc.open_stream(part.read(_LENGTH.unpack(head)[0])).read_all()
            held.append(self._completed(table))
            if sum(len(one) for one in held) >= GROUP_ROWS or sum(one.nbytes for one in held) >= GROUP_BYTES:
                yield self._arrow.concat_tables(held).combine_chunks()
                held = []
        if held:
            yield self._arrow.concat_tables(held).combine_chunks()

    def _completed(self, table: Any) -> Any:
        return table.select(self._schema.names).cast(self._schema)

    def _columns(self, rows: Rows, shape: Shape) -> dict[str, Any]:
        columns: dict[str, Any] = {INDEX: self._arrow.array(rows.indices, "int64")}
        columns |= dict.fromkeys(self._item_names, [None] * len(rows.indices)) | item_columns(rows, self._item_names)
        columns |= shape.columns(rows)
        if self._has_errors:
            columns[ERROR] = self._arrow.array(errors(rows), "string")
        return columns

    def _refused(self, rows: Rows, shape: Shape, error: Exception) -> JobError:
        """Names the first item whose value does not fit."""
        held = [] if self._schema is None else [self._schema]
        for at, index in enumerate(rows.indices):
            try:
                schema = self._arrow.table(self._columns(rows.slice(at, at + 1), shape)).schema
                held = [self._arrow.unify_schemas([*held, schema], promote_options="permissive")]
            except (self._arrow.ArrowException, TypeError, ValueError, OverflowError) as wrong:
                value = rows.values[at]
                return JobError(
                    f"the value (or the item) of item {index}, of type {type(value).__name__!r}, has no place in the "
                    f"columns of the .parquet file: {wrong}; pick .jsonl"
                )
        return JobError(
            f"the values of items {rows.indices[0]} to {rows.indices[-1]} are no columns of parquet: {error}"
        )
