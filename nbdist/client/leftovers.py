"""Ends what nobody holds any more, on a thread of its own.

The garbage collector says so at any moment and on any thread, perhaps in the middle of whatever takes a lock: what it
calls only leaves a note. `queue.SimpleQueue` is made for that.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable

_notes: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
_starting = threading.Lock()
_started_in = 0
"""The process that has the thread: a forked copy has none."""


def later(work: Callable[[], object]) -> None:
    """Lets the thread do this soon. It calls nothing else, so the garbage collector may call it."""
    _notes.put(work)


def start() -> None:
    """Starts the thread, unless it runs."""
    global _started_in
    with _starting:
        if _started_in != os.getpid():
            _started_in = os.getpid()
            threading.Thread(target=_work, name="nbdist-leftovers", daemon=True).start()


def _work() -> None:
    while True:
        work = _notes.get()
        try:
            work()
        except Exception as error:  # noqa: BLE001 - told, and the next one must not suffer
            with contextlib.suppress(OSError, ValueError, AttributeError):  # the stream may be closed, or none
                print(f"nbdist: a pool that is no longer held did not end well: {error!r}", file=sys.stderr)
        del work
