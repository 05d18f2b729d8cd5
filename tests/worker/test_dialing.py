"""Dialling: what is no hub, and says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from nbdist.errors import AccessError, ConnectionFailedError
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


class Unfriendly(RequestHandler):
    """Another hub, which does not know the invite."""

    def post(self) -> None:
        self.set_status(401)
        self.write("who are you?")


@pytest.mark.real
def test_the_other_addresses_are_tried_when_the_first_turns_the_worker_away(limited: Limited, fake_hub: Any) -> None:
    async def test() -> None:
        hub = fake_hub()
        hub.open()
        other = HTTPServer(Application([("/join", Unfriendly)]))
        other.listen(hub.port, "127.0.0.2")
        invite = Address("127.0.0.2", hub.port, tls=False, key="invite", also=("127.0.0.1",))
        dialer = Dialer(lambda: invite, "box", 1)
        connection, _ = await dialer.dial()
        assert dialer.hub is not None
        assert dialer.hub.address.host == "127.0.0.1"
        await connection.close()
        with pytest.raises(AccessError, match="who are you"):
            await Dialer(lambda: replace(invite, also=("127.0.0.3",)), "box", 1).dial()
        other.stop()
        await other.close_all_connections()
        await hub.close()

    limited(test)
