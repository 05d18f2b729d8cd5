"""Frames between agent and slot: each behind its length, 4 bytes big endian, on a stream socket."""

from __future__ import annotations

import socket
import struct

from nbdist.errors import FrameError
from nbdist.wire import frames
from nbdist.wire.frames import Payload
from nbdist.wire.messages import Message

_LENGTH = struct.Struct(">I")
RECEIVE_BYTES = 256 * 1024


def pack(message: Message, payload: Payload = b"") -> bytes:
    """A message as it goes over the socket."""
    frame = frames.encode(message, payload)
    return _LENGTH.pack(len(frame)) + frame


class Splitter:
    """Cuts a stream of bytes into frames, however it arrives."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are complete now. Raises FrameError on a length that no frame has."""
        buffer = self._buffer
        buffer += data
        complete: list[bytes] = []
        at = 0
        while len(buffer) - at >= _LENGTH.size:
            size: int = _LENGTH.unpack_from(buffer, at)[0]
            if size > frames.MAX_FRAME_BYTES:
                raise FrameError(f"a frame of {size} bytes between agent and slot")
            if len(buffer) - at - _LENGTH.size < size:
                break
            at += _LENGTH.size
            complete.append(bytes(memoryview(buffer)[at : at + size]))
            at += size
        if at:
            del buffer[:at]
        return complete


class BlockingLink:
    """The slot's end: reads one message at a time and waits for it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._splitter = Splitter()
        self._frames: list[bytes] = []

    def receive(self) -> tuple[Message, memoryview] | None:
        """The next message and its payload; None once the other end is closed."""
        while not self._frames:
            data = self._sock.recv(RECEIVE_BYTES)
            if not data:
                return None
            self._frames = self._splitter.feed(data)[::-1]
        return frames.decode(self._frames.pop())

    def send(self, message: Message, payload: Payload = b"") -> None:
        """Sends a message; waits while the other end does not read."""
        self._sock.sendall(pack(message, payload))
