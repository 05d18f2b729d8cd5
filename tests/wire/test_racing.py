"""Several addresses of one hub: the one that answers first, with the right certificate, is dialled first."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from nbdist.hub.statedir import StateDir
from nbdist.hub.tls import Certificate, ensure_certificate
from nbdist.wire import racing
from nbdist.wire.address import Address
from nbdist.wire.racing import by_answer

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0
SILENT, SHUT, OTHER, HUB = (f"127.0.0.{number}" for number in (2, 3, 4, 5))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> list[Certificate]:
    """The hub's, and another computer's."""
    found = []
    for _ in range(2):
        with contextlib.closing(StateDir(tmp_path_factory.mktemp("state"))) as state:
            found.append(ensure_certificate(state))
    return found


@pytest.fixture
def in_network(certificates: list[Certificate]) -> Callable[[Callable[[Address], Awaitable[None]]], None]:
    """Runs a test where the hub's port is served at some addresses; one of them says nothing."""

    async def run(test: Callable[[Address], Awaitable[None]]) -> None:
        ours, foreign = certificates
        async with contextlib.AsyncExitStack() as servers:
            silent = servers.enter_context(socket.create_server((SILENT, 0)))
            port = silent.getsockname()[1]
            for host, certificate in ((HUB, ours), (OTHER, foreign)):
                server = await asyncio.start_server(
                    lambda reader, writer: writer.close(), host, port, ssl=certificate.context
                )
                await servers.enter_async_context(server)
            await asyncio.wait_for(test(Address(HUB, port, True, "key", ours.fingerprint)), LIMIT_SECONDS)

    return lambda test: asyncio.run(run(test))


def test_a_silent_address_is_not_waited_for(in_network: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(racing, "LIMIT_SECONDS", 1e9)

    async def test(hub: Address) -> None:
        found = await by_answer([replace(hub, host=host) for host in (SILENT, SHUT, OTHER, HUB)])
        assert [address.host for address in found] == [HUB, SILENT, SHUT, OTHER]

    in_network(test)


def test_one_that_answers_while_another_is_tried_wins(
    in_network: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is not given up when the second begins."""
    monkeypatch.setattr(racing, "LIMIT_SECONDS", 1e9)
    monkeypatch.setattr(racing, "NEXT_SECONDS", 0.0)

    async def test(hub: Address) -> None:
        found = await by_answer([hub, replace(hub, host=SILENT)])
        assert found[0] is hub

    in_network(test)


def test_where_nobody_answers_all_are_left_and_the_silent_ones_come_last(
    in_network: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(racing, "LIMIT_SECONDS", 0.1)
    monkeypatch.setattr(racing, "NEXT_SECONDS", 0.01)

    async def test(hub: Address) -> None:
        found = await by_answer([replace(hub, host=host) for host in (SILENT, SHUT, OTHER)])
        assert {address.host for address in found[:2]} == {SHUT, OTHER}
        assert found[2].host == SILENT

    in_network(test)


def test_a_single_address_is_not_tried() -> None:
    only = Address("192.0.2.1", 9, True, "key", "00" * 32)
    assert asyncio.run(by_answer([only])) == [only]
