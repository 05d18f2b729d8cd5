"""Frames that are sent at once go out whole and in order, and not when there is no room."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from nbdist.wire.sending import ROOM_BYTES, send_now

FRAMES = 3_000


@pytest.mark.real
def test_a_slow_reader_is_waited_for_and_nothing_is_lost_or_reordered() -> None:
    async def run() -> tuple[int, list[bytes]]:
        read = asyncio.Event()
        received: list[bytes] = []
        done = asyncio.Event()

        async def serve_one(connection: ServerConnection) -> None:
            await read.wait()
            async for message in connection:
                assert isinstance(message, bytes)
                received.append(message[:4])
                if len(received) == FRAMES:
                    done.set()

        refused = 0
        async with (
            serve(serve_one, "127.0.0.1", 0, compression=None, max_queue=1) as server,
            connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", compression=None, proxy=None) as connection,
        ):
            for number in range(FRAMES):
                frame = number.to_bytes(4, "big") + bytes(4_000)
                if not send_now(connection, frame):
                    refused += 1
                    assert connection.transport.get_write_buffer_size() > ROOM_BYTES
                    read.set()
                    await connection.send(frame)
            await asyncio.wait_for(done.wait(), 20)
            await connection.close()
            assert not send_now(connection, b"too late")
        return refused, received

    refused, received = asyncio.run(run())
    assert refused
    assert received == [number.to_bytes(4, "big") for number in range(FRAMES)]
