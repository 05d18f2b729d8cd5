"""Bytes on disk: one anonymous file, appended to, emptied when nothing in it is needed."""

from __future__ import annotations

import tempfile
from pathlib import Path


class SpoolFile:
    """A spool of one job (`results.Spool`). The file has no name, or loses it when it is closed."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, prefix="spool-", buffering=0)  # noqa: SIM115 - closed by close()
        self._size = 0

    def append(self, data: bytes) -> None:
        """Keeps the bytes, behind those before. Raises OSError, and has kept nothing then."""
        self._file.seek(self._size)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._size += len(data)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes that were kept there."""
        self._file.seek(offset)
        return self._file.read(size)

    def clear(self) -> None:
        """Empties the file."""
        self._file.truncate(0)
        self._size = 0

    def close(self) -> None:
        """Removes the file."""
        self._file.close()
