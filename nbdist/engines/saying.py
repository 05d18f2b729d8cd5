"""What a setup writes in this very process: each line with a mark, as its view marks those of other machines."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import TextIO


@contextlib.contextmanager
def marked(mark: str) -> Iterator[None]:
    """What is printed inside has the mark before each line."""
    out, err = _Marking(sys.stdout, mark), _Marking(sys.stderr, mark)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
    finally:
        out.finish()
        err.finish()


class _Marking(io.TextIOBase):
    """Passes on whole lines."""

    def __init__(self, stream: TextIO, mark: str) -> None:
        self._stream = stream
        self._mark = mark
        self._line = ""
        """What is written of the next line."""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._stream.write(f"{self._mark}{line}\n")
        return len(text)

    def finish(self) -> None:
        """No more comes."""
        if self._line:
            self.write("\n")
