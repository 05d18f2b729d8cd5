"""Finished runs on their way out of a slot: collected to parts, sent when they are due.

Used by two threads: the one that runs items adds, and the ticker sends what is due while a long item runs.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from nbdist.execution.folding import Reducer, merge
from nbdist.execution.run import Run
from nbdist.packing import Buffer, PackedRun, pack_part, pack_runs
from nbdist.wire import blobs, frames
from nbdist.wire.frames import Payload
from nbdist.wire.messages import Attempt, BlobRef, Message, Part, SlotPart

PART_BYTES = 192 * 1024
"""A part leaves once it has this size."""
PART_SECONDS = 0.25
"""… or once its first result is this old."""

Sender = Callable[[Message, Payload], None]


class Outbox:
    """The parts of one slice."""

    def __init__(
        self,
        send: Sender,
        clock: Callable[[], float],
        *,
        job: str,
        attempt: Attempt,
        start: int,
        spool: str,
        failures_apart: bool,
        reduce: Reducer | None,
        portable: bool = False,
    ) -> None:
        self._send = send
        self._clock = clock
        self._job = job
        self._attempt = attempt
        self._next = start
        self._spool = spool
        self._failures_apart = failures_apart
        self._reduce = reduce
        self._portable = portable
        """They go to another version of Python."""
        self._lock = threading.Lock()
        self._folded: Run | None = None
        self._packed: list[PackedRun] = []
        self._bytes = 0
        self._failed = 0
        self._oldest_at = 0.0

    def add(self, run: Run) -> None:
        """Takes a run; sends what is due now."""
        if self._reduce is not None and not run.failures and run.stopped_at is None:
            self._add_folded(run)
        else:
            with self._lock:
                self._pack_folded()
                self._pack(run)
        self.send_due()

    def send_due(self) -> None:
        """Sends what has waited for long enough."""
        with self._lock:
            if (self._packed or self._folded is not None) and self._clock() - self._oldest_at >= PART_SECONDS:
                self._flush(is_final=False)

    def finish(self) -> bool:
        """Sends the rest as the attempt's final part. False: there was nothing left, somebody must say so."""
        with self._lock:
            return self._flush(is_final=True)

    def abandon(self) -> None:
        """Sends the rest, of an attempt that did not end well."""
        with self._lock:
            self._flush(is_final=False)

    def _add_folded(self, run: Run) -> None:
        """Folds the run onto what waits. It runs user code, so not under the lock: the ticker must not wait for it."""
        assert self._reduce is not None
        with self._lock:
            held, self._folded = self._folded, None
        joined = run
        if held is not None:
            try:
                joined = merge(self._reduce, held, run)
            except Exception:  # noqa: BLE001 - user code; the notebook meets it again when it joins the two, and raises it
                with self._lock:
                    self._pack(held)
        with self._lock:
            self._note_age()
            self._folded = joined

    def _pack_folded(self) -> None:
        if self._folded is not None:
            held, self._folded = self._folded, None
            self._pack(held)

    def _pack(self, run: Run) -> None:
        for packed in pack_runs(run, portable=self._portable):
            alone = self._failures_apart and bool(packed.failed)
            if alone or self._failed + len(packed.failed) > frames.MAX_FAILED_PER_PART:
                self._flush(is_final=False)
            self._note_age()
            self._packed.append(packed)
            self._bytes += packed.size
            self._failed += len(packed.failed)
            if alone or self._bytes > PART_BYTES or packed.stopped_at is not None:
                self._flush(is_final=False)

    def _note_age(self) -> None:
        if not self._packed and self._folded is None:
            self._oldest_at = self._clock()

    def _flush(self, *, is_final: bool) -> bool:
        self._pack_folded()
        runs, self._packed = self._packed, []
        self._bytes = self._failed = 0
        if not runs:
            return False
        part = Part(
            job=self._job,
            attempt=self._attempt,
            start=self._next,
            stop=runs[-1].stop,
            seconds=sum(run.seconds for run in runs),
            final=is_final,
            failed=tuple(index for run in runs for index in run.failed),
            stopped_at=runs[-1].stopped_at,
        )
        self._next = part.stop
        self._post(part, pack_part(runs))
        return True

    def _post(self, part: Part, pieces: Sequence[Buffer]) -> None:
        size = sum(len(piece) for piece in pieces)
        if size <= frames.MAX_INLINE_PAYLOAD_BYTES:
            self._send(part, b"".join(pieces))
            return
        descriptor, draft = tempfile.mkstemp(prefix=draft_prefix(os.getpid()), dir=self._spool)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for piece in pieces:
                    file.write(piece)
        except OSError:
            os.unlink(draft)  # the folder may be full
            raise
        ref = BlobRef(blobs.blob_name(pieces), size)
        path = os.path.join(self._spool, f"part-{os.path.basename(draft)}")
        os.replace(draft, path)
        self._send(SlotPart(replace(part, blob=ref), path), b"")


def draft_prefix(pid: int) -> str:
    """How the names of files begin that a slot is still writing: if it dies meanwhile, nobody else will remove them."""
    return f"draft-{pid}-"
