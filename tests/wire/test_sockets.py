"""What TCP is told, and bodies that take longer than a read or a write may."""

from __future__ import annotations

import socket
import threading

import pytest

from nbdist.wire import sockets
from nbdist.wire.address import Address

PIECE_BYTES = 4096
PIECE_SECONDS = 0.005


def test_who_listens_hands_it_on_to_those_that_come() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sockets.harden(server)
        with socket.create_connection(server.getsockname()), server.accept()[0] as accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            for name, value in (("TCP_KEEPIDLE", sockets.PROBE_AFTER_SECONDS), ("TCP_USER_TIMEOUT", 20_000)):
                if hasattr(socket, name):
                    assert accepted.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value


@pytest.mark.real
def test_a_body_may_take_longer_than_a_single_write_may() -> None:
    """The limit of a socket holds for all of what one call sends."""
    count = 30
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE_BYTES)
        server.bind(("127.0.0.1", 0))
        server.listen()
        thread = threading.Thread(target=_read_slowly, args=(server, count * sockets.SEND_BYTES), daemon=True)
        thread.start()
        connection = sockets.http_connection(Address("127.0.0.1", server.getsockname()[1], tls=False, key=""), 1.0)
        body = (bytes(sockets.SEND_BYTES) for _ in range(count))
        connection.request("PUT", "/", body, {"Content-Length": str(count * sockets.SEND_BYTES)})
        assert connection.getresponse().status == 200
        connection.close()
        thread.join()


def _read_slowly(server: socket.socket, size: int) -> None:
    accepted, _ = server.accept()
    pause = threading.Event()
    with accepted:
        while size > 0 and (data := accepted.recv(PIECE_BYTES)):
            size -= len(data)
            pause.wait(PIECE_SECONDS)
        accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
