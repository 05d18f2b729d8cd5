"""The websocket door: bytes of one connection on one side, messages for the switchboard on the other."""

from __future__ import annotations

import asyncio
import logging
import struct
from typing import Any

from tornado.iostream import IOStream, StreamClosedError
from tornado.websocket import WebSocketHandler

from nbdist.errors import NbdistError, ProtocolError
from nbdist.hub import visitors
from nbdist.hub.access import bearer
from nbdist.hub.outbox import Outbox
from nbdist.hub.peers import Peer
from nbdist.hub.refusal import RefusalError, as_refused
from nbdist.hub.rooms import Rooms
from nbdist.wire import frames
from nbdist.wire.address import is_loopback
from nbdist.wire.frames import Payload
from nbdist.wire.messages import Hello, Message, Refused

HELLO_SECONDS = 10.0
"""A connection that has not said who it is by then is closed."""
GOODBYE_SECONDS = 1.0
"""A connection that is refused may take so long to close its side."""
BREATH_SECONDS = 1.0
"""Pieces of a message that takes longer to come show that its sender lives; they are told this often."""
BATCH_BYTES = 256 * 1024
"""Frames that wait for the end of a turn are written at the latest when they are so much."""

log = logging.getLogger("nbdist.hub")


class SocketDoor(WebSocketHandler):
    """One connection, from its handshake to its end; the `Link` of a peer."""

    def initialize(self, rooms: Rooms) -> None:
        """Called by Tornado with what the application was made with."""
        self._rooms = rooms
        self._peer: Peer | None = None
        self._is_over = False
        self._refused_with = ""
        self._outbox = Outbox(self._write_frame, self._give_up)
        self._batch: list[bytes] | None = None
        """Frames of this turn of the loop that wait for its end; None: nothing was written in it yet."""
        self._batch_bytes = 0
        self._hello_timer: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self.is_remote = not is_loopback(self.request.remote_ip or "")

    def prepare(self) -> None:
        """Turns web pages of other sites away."""
        host = self.request.host
        error = visitors.host_error(host, self._rooms.hosts())
        error = error or visitors.origin_error(self.request.headers.get("Origin"), host)
        if error is not None:
            self.set_status(403)
            self.finish(error + "\n")

    def check_origin(self, origin: str) -> bool:
        """`prepare` has done it, by stricter rules."""
        return True

    def get_compression_options(self) -> dict[str, Any] | None:
        """None: payloads are mostly packed numbers, and latency counts."""
        return None

    def open(self, *args: str, **kwargs: str) -> None:
        """The websocket is there; its `Hello` is waited for.

        The credential is checked then: a client that is refused has sent its first message and reads why.
        """
        self.set_nodelay(True)
        self._watch_bytes()
        self._hello_timer = asyncio.get_running_loop().call_later(HELLO_SECONDS, self._no_hello)

    def on_message(self, data: str | bytes) -> None:
        """One frame."""
        if self._is_over:
            return
        self._heard_at = asyncio.get_running_loop().time()
        try:
            if isinstance(data, str):
                raise ProtocolError("a text frame: messages are binary")
            message, payload = frames.decode(data)
            if self._peer is None:
                self._greet(message)
            else:
                self._rooms.board.receive(self._peer, message, payload)
        except NbdistError as error:
            self.refuse(as_refused(error))

    def on_close(self) -> None:
        """The connection is gone."""
        self._is_over = True
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        if self._peer is not None:
            reason = self._refused_with or self.close_reason or "the connection was closed"
            self._rooms.board.closed(self._peer, reason)

    # --- the link of the peer ---------------------------------------------------------------------------------------

    def send(self, message: Message, payload: Payload = b"") -> None:
        """Sends a message now, or as soon as the connection takes it."""
        if not self._is_over:
            self._outbox.send(message, payload)

    def send_if_room(self, message: Message, payload: Payload = b"") -> None:
        """Sends a message that may be left out while the peer does not read."""
        if not self._is_over:
            self._outbox.send_if_room(message, payload)

    def refuse(self, refused: Refused) -> None:
        """Says why, and closes."""
        if self._is_over:
            return
        self._outbox.send(refused)
        self._write_batch()
        self._refused_with = f"{refused.code}: {refused.reason}"
        self._is_over = True
        self.close(1008, refused.code)
        asyncio.get_running_loop().call_later(GOODBYE_SECONDS, self._give_up)

    # --- bytes ------------------------------------------------------------------------------------------------------

    def _greet(self, message: Message) -> None:
        if not isinstance(message, Hello):
            raise ProtocolError(f"the first message is {type(message).__name__}, not Hello")
        grant = self._rooms.access.check(bearer(self.request.headers.get("Authorization", "")), message.peer)
        self._peer = self._rooms.board.greet(message, grant, self)
        if self._hello_timer is not None:
            self._hello_timer.cancel()

    def _watch_bytes(self) -> None:
        """On a slow network a message is longer on its way than anybody may be silent."""
        stream = self._stream()
        if stream is None:
            return
        loop, read = asyncio.get_running_loop(), stream.read_from_fd

        def read_and_tell(buf: bytearray | memoryview) -> int | None:
            size = read(buf)
            is_alive = size != 0  # None: of a TLS record not all is here yet, which may take longer than a message
            if is_alive and self._peer is not None and loop.time() > self._heard_at + BREATH_SECONDS:
                self._heard_at = loop.time()
                loop.call_soon(self._rooms.board.bytes_came, self._peer)
            return size

        stream.read_from_fd = read_and_tell  # type: ignore[method-assign]

    def _no_hello(self) -> None:
        self.refuse(as_refused(RefusalError("protocol", f"no Hello within {HELLO_SECONDS:.0f} s", "upgrade nbdist")))

    def _write_frame(self, frame: bytes) -> bool:
        """Begins to write; whether all of it is out.

        The first frame of a turn of the loop goes out at once, for latency; those that follow in the same turn go
        together at its end, because a system call costs more than a frame. (Tornado's own `write_message` starts a
        task for each message, which costs more still.)
        """
        if self._batch is None:
            self._batch = []
            asyncio.get_running_loop().call_soon(self._end_turn)
            return self._write(_binary_header(len(frame)) + frame, len(frame))
        self._batch += (_binary_header(len(frame)), frame)
        self._batch_bytes += len(frame)
        if self._batch_bytes >= BATCH_BYTES:
            self._write_batch()
        return False

    def _end_turn(self) -> None:
        self._write_batch()
        self._batch = None

    def _write_batch(self) -> None:
        if self._batch:
            data, size = b"".join(self._batch), self._batch_bytes
            self._batch, self._batch_bytes = [], 0
            if self._write(data, size):
                self._outbox.written(size)

    def _write(self, data: bytes, size: int) -> bool:
        """Writes; if not all of it goes out, the outbox is told later that frames of `size` bytes have."""
        stream = self._stream()
        if stream is None:
            return True
        try:
            future = stream.write(data)
        except StreamClosedError:
            return True
        if future.done():
            return True
        future.add_done_callback(lambda _: self._outbox.written(size))
        return False

    def _give_up(self) -> None:
        stream = self._stream()
        if stream is not None:
            stream.close()

    def _stream(self) -> IOStream | None:
        stream = None if self.ws_connection is None else self.ws_connection.stream
        return None if stream is None or stream.closed() else stream


def _binary_header(size: int) -> bytes:
    """What stands before a binary message of a server: RFC 6455, 5.2, FIN and opcode 2, no mask."""
    if size < 126:
        return struct.pack(">BB", 0x82, size)
    if size < 65536:
        return struct.pack(">BBH", 0x82, 126, size)
    return struct.pack(">BBQ", 0x82, 127, size)
