"""What waits to be written to one peer: bounded, so that a peer that does not read slows itself only. Pure.

Messages go out at once while the connection takes them. When it does not, progress is replaced by later progress,
output is counted instead of kept, and a peer for which too much else waits is given up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from nbdist.wire import frames
from nbdist.wire.frames import Payload
from nbdist.wire.messages import JobProgress, Message, Output

SOFT_BYTES = 1024 * 1024
"""More than this is waiting: only what must be sent is added."""
HARD_BYTES = 256 * 1024 * 1024
"""More than this is waiting: the peer is given up. Results cannot get there, they obey credit."""
MAX_HELD = 1_000
"""Jobs and streams of which the latest state is kept for later."""


class Outbox:
    """The way out to one peer.

    `write(frame)` begins to write and returns whether it is done already; if not, `written` is to be called with the
    frame's size when it is. `give_up()` closes the connection.
    """

    def __init__(self, write: Callable[[bytes], bool], give_up: Callable[[], None]) -> None:
        self._write = write
        self._give_up = give_up
        self._waiting_bytes = 0
        self._held: dict[tuple[str, ...], Message] = {}

    def send(self, message: Message, payload: Payload = b"") -> None:
        """Writes a message. Raises FrameError if it fits no frame."""
        frame = frames.encode(message, payload)
        if self._waiting_bytes + len(frame) > HARD_BYTES:
            self._give_up()
        elif not self._write(frame):
            self._waiting_bytes += len(frame)

    def send_if_room(self, message: Message, payload: Payload = b"") -> None:
        """Writes progress or output, or keeps what can be kept of it until there is room."""
        if self._waiting_bytes <= SOFT_BYTES:
            self.send(message, payload)
            return
        key = _key(message)
        if key is None or (key not in self._held and len(self._held) >= MAX_HELD):
            return
        if isinstance(message, Output):
            before = self._held.get(key)
            cut = before.cut_bytes if isinstance(before, Output) else 0
            message = replace(message, cut_bytes=cut + message.cut_bytes + len(payload))
        self._held[key] = message

    def written(self, size: int) -> None:
        """So many bytes that waited are written."""
        self._waiting_bytes -= size
        if self._held and self._waiting_bytes <= SOFT_BYTES // 2:
            held, self._held = self._held, {}
            for message in held.values():
                self.send(message)


def _key(message: Message) -> tuple[str, ...] | None:
    if isinstance(message, JobProgress):
        return ("progress", message.job)
    if isinstance(message, Output):
        return ("output", message.job, message.worker, message.stream, message.setup)
    return None
