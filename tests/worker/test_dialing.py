"""Dialling: what is no hub, and says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from nbdist.errors import ConnectionFailedError
from nbdist.wire.address import Address
from nbdist.worker.dialing import Dialer

Limited = Callable[[Any], None]


class Friendly(RequestHandler):
    """Answers 200 to everything, as the login page of a hotel does."""

    def post(self) -> None:
        self.write("<html>welcome</html>")


@pytest.fixture
def sockets() -> Iterator[list[Any]]:
    found = bind_sockets(0, "127.0.0.1")
    yield found
    for sock in found:
        sock.close()


@pytest.mark.real
def test_a_web_server_that_is_no_hub_is_dialled_again_and_ends_nothing(limited: Limited, sockets: list[Any]) -> None:
    address = Address("127.0.0.1", sockets[0].getsockname()[1], tls=False, key="invite")

    async def test() -> None:
        server = HTTPServer(Application([("/.*", Friendly)]))
        server.add_sockets(sockets)
        with pytest.raises(ConnectionFailedError, match="no hub"):
            await Dialer(lambda: address, "box", 1).dial()
        server.stop()
        await asyncio.wait_for(server.close_all_connections(), 5)

    limited(test)
