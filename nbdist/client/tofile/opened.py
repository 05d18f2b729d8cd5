"""A file with a job's values, as the job's result."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from nbdist.errors import NbdistError


@dataclass(frozen=True)
class ResultFile:
    """The values of a job in a file, in order. Nothing of it is in memory until it is asked for."""

    path: Path
    rows: int
    """So many values; with `keep_if` fewer than items."""
    format: str
    """csv, jsonl, npy or parquet."""

    def __repr__(self) -> str:
        size = self._size()
        return f"<ResultFile: {self.rows:,} row{'' if self.rows == 1 else 's'} in {self.path.name} ({size})>"

    def __fspath__(self) -> str:
        return str(self.path)

    def __len__(self) -> int:
        return self.rows

    def open(self) -> IO[Any]:
        """The open file: text of csv and jsonl, else bytes."""
        if self.format in ("csv", "jsonl"):
            return self.path.open(encoding="utf-8", newline="")
        return self.path.open("rb")

    def frame(self) -> Any:
        """The file as a pandas DataFrame, in memory."""
        pandas = _library("pandas", "ResultFile.frame()")
        if self.format == "csv":
            return pandas.read_csv(self.path)
        if self.format == "jsonl":
            return pandas.read_json(self.path, lines=True)
        if self.format == "parquet":
            return pandas.read_parquet(self.path)
        array = self.array()
        if array.ndim > 2:
            raise NbdistError(f"{self.path.name} has values with {array.ndim - 1} axes each: array() has them")
        return pandas.DataFrame({"value": array} if array.ndim == 1 else array)

    def array(self) -> Any:
        """Of an .npy file: its NumPy array, mapped and not read. Of others: the column `value`."""
        if self.format == "npy":
            return _library("numpy", "ResultFile.array()").load(self.path, mmap_mode="r")
        frame = self.frame()
        if "value" not in frame:
            raise NbdistError(f"{self.path.name} has no column `value` but {', '.join(frame.columns)}: use frame()")
        return frame["value"].to_numpy()

    def _size(self) -> str:
        try:
            size: float = self.path.stat().st_size
        except OSError:
            return "it is not there any more"
        for unit in ("bytes", "KB", "MB", "GB"):
            if size < 1000:
                return f"{size:.3g} {unit}" if unit != "bytes" else f"{size:.0f} bytes"
            size /= 1000
        return f"{size:,.3g} TB"


def _library(name: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NbdistError(f"{what} needs {name}: python -m pip install {name}") from error
