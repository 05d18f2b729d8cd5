"""Frames on their way to the hub: sent at once, or in order by one task while the connection has no room."""

from __future__ import annotations

import asyncio
from collections import deque

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from nbdist.wire.sending import send_now

MAX_OUTPUT_BYTES = 1024 * 1024
"""While so much waits to be sent, what user code prints is dropped."""


class Uplink:
    """The way to the hub, which is there or not."""

    def __init__(self) -> None:
        self._connection: ClientConnection | None = None
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._writer: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the hub is there."""
        return self._connection is not None

    def open(self, connection: ClientConnection) -> None:
        """The hub is there."""
        self._connection = connection
        self._writer = asyncio.ensure_future(self._write(connection))

    def close(self) -> None:
        """The hub is gone; what was not sent is not sent."""
        self._connection = None
        self._frames.clear()
        self._bytes = 0
        self._empty.set()
        if self._writer is not None:
            self._writer.cancel()
            self._writer = None

    def abort(self) -> None:
        """Breaks the connection off; its reader notices."""
        if self._connection is not None:
            self._connection.transport.abort()

    def send(self, frame: bytes) -> None:
        """Sends a frame, at once if nothing waits; without a hub it is dropped."""
        if self._connection is None or (self._empty.is_set() and send_now(self._connection, frame)):
            return
        self._frames.append(frame)
        self._bytes += len(frame)
        self._empty.clear()
        self._wake.set()

    def send_if_room(self, frame: bytes) -> None:
        """Queues a frame that may be lost."""
        if self._bytes < MAX_OUTPUT_BYTES:
            self.send(frame)

    async def flushed(self, limit_seconds: float) -> None:
        """Waits until everything is sent, or for so long."""
        try:
            await asyncio.wait_for(self._empty.wait(), limit_seconds)
        except TimeoutError:
            return

    async def _write(self, connection: ClientConnection) -> None:
        try:
            while True:
                while self._frames:
                    frame = self._frames.popleft()
                    self._bytes -= len(frame)
                    await connection.send(frame)
                self._empty.set()
                self._wake.clear()
                await self._wake.wait()
        except ConnectionClosed:
            return  # the reader notices too, and tells
