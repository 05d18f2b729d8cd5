"""What a setup writes in this very process, as events of its job."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

from nbdist.engines.base import Deliver
from nbdist.wire.messages import Output, Stream

STREAMS: tuple[Stream, Stream] = ("stdout", "stderr")


@contextlib.contextmanager
def said(deliver: Deliver, worker: str, job: str, setup: str) -> Iterator[None]:
    """What a setup writes goes to the job, which marks it."""
    out, err = (_Said(deliver, Output(job, (0, 0), 0, stream, worker, setup=setup)) for stream in STREAMS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
    finally:
        out.finish()
        err.finish()


class _Said(io.TextIOBase):
    """Delivers whole lines."""

    def __init__(self, deliver: Deliver, message: Output) -> None:
        self._deliver = deliver
        self._message = message
        self._line = ""
        """What is written of the next line."""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        whole, end, self._line = (self._line + text).rpartition("\n")
        if end:
            self._deliver(self._message, f"{whole}\n".encode("utf-8", "replace"))
        return len(text)

    def finish(self) -> None:
        """No more comes."""
        if self._line:
            self.write("\n")
