"""Sends a frame over a websocket at once, where the connection has room for it.

`ClientConnection.send` is a coroutine that takes locks and waits for flow control; a frame that is on its way within
one call instead costs half as much, which counts where a call's round trip passes four processes.
"""

from __future__ import annotations

from websockets.asyncio.client import ClientConnection
from websockets.protocol import State

ROOM_BYTES = 256 * 1024
"""While more than this waits in the transport, frames must be sent by `ClientConnection.send`, which waits."""


def send_now(connection: ClientConnection, frame: bytes) -> bool:
    """Writes the frame to the transport; False: it must be sent by the coroutine, which waits or raises.

    To be called on the connection's loop, while no `send` of it is under way.
    """
    transport = connection.transport
    if connection.protocol.state is not State.OPEN or transport.is_closing():
        return False  # asyncio would complain of each write, on the user's screen
    if transport.get_write_buffer_size() > ROOM_BYTES:
        return False
    connection.protocol.send_binary(frame)
    connection.send_data()
    return True
