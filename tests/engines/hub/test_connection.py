"""Reaching a hub: a port that is shut, a hub that is just starting, several addresses."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve

from nbdist.engines.hub.connection import most_telling
from nbdist.engines.hub.engine import HubEngine
from nbdist.errors import AccessError, ConnectionFailedError, NobodyListensError, StrangerError
from nbdist.wire.address import Address

LIMIT_SECONDS = 60.0


def test_a_port_that_is_shut_is_told_long_before_other_trouble(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbdist.engines.hub.connection.FIRST_LIMIT_SECONDS", 1e9)
    monkeypatch.setattr("nbdist.engines.hub.connection.REFUSED_LIMIT_SECONDS", 0.05)
    address = replace(hub.address, host="localhost", also=("127.0.0.1",))
    hub.close()
    with pytest.raises(ConnectionFailedError, match=r"no hub listens at ws://localhost.*was shut"):
        HubEngine(lambda urgent: address)


def test_a_hub_that_is_just_starting_is_reached(hub: Any) -> None:
    """Refused at first: the address is that of nobody once, then the hub's."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        shut = Address("127.0.0.1", nobody.getsockname()[1], False)
    found = iter([shut, shut])
    engine = HubEngine(lambda urgent: next(found, hub.address))
    assert engine.address == hub.address.shown
    engine.close()


@pytest.mark.parametrize("status", [401, 500])
def test_the_other_addresses_are_tried_when_the_first_turns_us_away(hub: Any, status: int) -> None:
    def turn_away(connection: ServerConnection, request: Any) -> Any:
        return connection.respond(status, "not here")

    with serve(lambda _: None, "127.0.0.2", hub.port, process_request=turn_away) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        engine = HubEngine(lambda urgent: replace(hub.address, host="127.0.0.2", also=("127.0.0.1",)))
        assert engine.address == hub.address.shown
        engine.close()
        if status == 401:
            with pytest.raises(AccessError, match="not here"):
                HubEngine(lambda urgent: replace(hub.address, host="127.0.0.3", also=("127.0.0.2",)))
        server.shutdown()
        thread.join(LIMIT_SECONDS)


def test_the_most_telling_error_is_raised() -> None:
    denied, stranger = AccessError("revoked"), StrangerError("another computer")
    shut, silent = NobodyListensError("shut"), ConnectionFailedError("silent")
    assert most_telling([shut, stranger, denied, silent], is_first=True) is denied
    assert most_telling([shut, stranger, silent], is_first=True) is stranger
    assert most_telling([stranger, stranger], is_first=False) is stranger
    told = most_telling([shut, stranger], is_first=False)  # the hub may come back at the first address
    assert (type(told), str(told)) == (ConnectionFailedError, "shut; another computer")
    assert type(most_telling([shut, shut], is_first=True)) is NobodyListensError
    assert type(most_telling([shut, silent], is_first=True)) is ConnectionFailedError
