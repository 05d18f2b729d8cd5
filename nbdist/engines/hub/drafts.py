"""Large captured values on their way into the folder of a hub on this machine: copied while they are being named.

Copying and hashing take about as long as each other; one after the other would double the wait before a cell's first
run. A value is copied before `Pool.map` returns, so that changing it afterwards does not change the job.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterable
from pathlib import Path

from nbdist.engines.base import Buffer

COPY_PIECE_BYTES = 1024 * 1024


class Draft:
    """A file in the hub's `incoming` folder that is being written by a thread of its own."""

    def __init__(self, view: memoryview, folder: Path) -> None:
        self._path = folder / "incoming" / uuid.uuid4().hex
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._copy, args=(view,), name="nbdist-draft", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Returns once the file is complete, or cannot be written."""
        self._thread.join()

    def place(self, target: Path) -> None:
        """Gives the complete file its name. Raises OSError if it could not be written."""
        self.wait()
        if self._error is not None:
            raise self._error
        self._path.replace(target)

    def discard(self) -> None:
        """Nobody needs the file."""
        self.wait()
        self._path.unlink(missing_ok=True)

    def _copy(self, view: memoryview) -> None:
        try:
            write(self._path, [view])
        except OSError as error:
            self._error = error
            self._path.unlink(missing_ok=True)


class Drafts:
    """The drafts of one engine, by the names of their blobs."""

    def __init__(self) -> None:
        self._drafts: dict[str, Draft] = {}
        self._lock = threading.Lock()

    def add(self, name: str, draft: Draft) -> None:
        """Keeps a complete draft until it is placed or discarded."""
        with self._lock:
            doubled = name in self._drafts
            if not doubled:
                self._drafts[name] = draft
        if doubled:
            draft.discard()

    def take(self, name: str) -> Draft | None:
        """The draft of a blob, for whoever takes it to place or to discard."""
        with self._lock:
            return self._drafts.pop(name, None)

    def discard_all(self) -> None:
        """The engine is closed."""
        with self._lock:
            drafts, self._drafts = list(self._drafts.values()), {}
        for draft in drafts:
            draft.discard()


def write(path: Path, pieces: Iterable[Buffer]) -> None:
    """Writes a new private file. Raises OSError."""
    # one thread: more would wait for the file's lock
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with open(descriptor, "wb", buffering=0) as file:
        for piece in pieces:
            view = memoryview(piece).cast("B")
            while view:
                view = view[file.write(view[:COPY_PIECE_BYTES]) :]
