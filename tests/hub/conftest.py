"""A hub in the test's own event loop, and clients that speak the wire."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from nbdist import __version__
from nbdist.hub.app import Hub
from nbdist.hub.config import HubConfig
from nbdist.hub.lifetime import Lifetime
from nbdist.hub.statedir import StateDir
from nbdist.wire import frames
from nbdist.wire.address import Address
from nbdist.wire.messages import Hello, Machine, Message, WorkerFacts
from nbdist.wire.tls import pinned_context

LIMIT_SECONDS = 60.0


@dataclass
class Client:
    """One websocket to a hub."""

    socket: ClientConnection
    peer: str
    log: list[tuple[Message, bytes]] = field(default_factory=list)

    async def send(self, message: Message, payload: bytes = b"") -> None:
        await self.socket.send(frames.encode(message, payload))

    async def next(self) -> tuple[Message, bytes]:
        async with asyncio.timeout(LIMIT_SECONDS):
            data = await self.socket.recv()
        assert isinstance(data, bytes)
        message, payload = frames.decode(data)
        self.log.append((message, bytes(payload)))
        return self.log[-1]

    async def until(self, kind: type[Message] | tuple[type[Message], ...]) -> tuple[Any, bytes]:
        """The next message of a kind (or of several); others are passed over (they stay in `log`)."""
        while True:
            message, payload = await self.next()
            if isinstance(message, kind):
                return message, payload

    async def closed(self) -> None:
        """Returns once the hub has closed the connection."""
        async with asyncio.timeout(LIMIT_SECONDS):
            await self.socket.wait_closed()


class HubUnderTest:
    """A running hub with its address book."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    @property
    def notebook(self) -> Address:
        return self.hub.ports.address(self.hub.keys.notebook)

    @property
    def invite(self) -> Address:
        return self.hub.ports.address(self.hub.keys.invite)

    def http(self, path: str) -> str:
        address = self.notebook
        return f"{'https' if address.tls else 'http'}://127.0.0.1:{address.port}{path}"

    async def request(
        self, method: str, path: str, key: str = "", body: bytes | Iterable[bytes] = b"", **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """One HTTP request: status, body and headers of the answer."""
        address = self.notebook

        def talk() -> tuple[int, bytes, dict[str, str]]:
            options: dict[str, Any] = {"timeout": LIMIT_SECONDS}
            if address.tls:
                options["context"] = pinned_context(address.fingerprint)
            kind = http.client.HTTPSConnection if address.tls else http.client.HTTPConnection
            connection = kind("127.0.0.1", address.port, **options)
            try:
                extra = {"Authorization": f"Bearer {key}"} if key else {}
                connection.request(method, path, body, {**extra, **headers})
                answer = connection.getresponse()
                return answer.status, answer.read(), dict(answer.headers)
            finally:
                connection.close()

        return await asyncio.to_thread(talk)

    def worker_key(self, peer: str) -> str:
        return self.hub.rooms.access.trade(self.hub.keys.invite, "test", peer)[0]

    @contextlib.asynccontextmanager
    async def dial(self, key: str, **options: Any) -> AsyncIterator[ClientConnection]:
        address = self.notebook
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers |= options.pop("headers", {})
        context = pinned_context(address.fingerprint) if address.tls else None
        socket = await connect(
            address.socket_url,
            additional_headers=headers,
            compression=None,
            proxy=None,
            ping_interval=None,
            max_size=frames.MAX_FRAME_BYTES,
            close_timeout=1,
            ssl=context,
            **options,
        )
        try:
            yield socket
        finally:
            await socket.close()

    @contextlib.asynccontextmanager
    async def client(self, role: str, peer: str, key: str | None = None, **hello: Any) -> AsyncIterator[Client]:
        """A peer that was greeted: `log[0]` is its Welcome, or what the hub said instead."""
        if key is None:
            key = self.worker_key(peer) if role == "worker" else self.hub.keys.notebook
        async with self.dial(key) as socket:
            client = Client(socket, peer)
            await client.send(hello_of(role, peer, **hello))
            await client.next()
            yield client

    @contextlib.asynccontextmanager
    async def worker(self, peer: str, slots: int = 1) -> AsyncIterator[Client]:
        async with self.client("worker", peer, slots=slots) as client:
            await client.send(WorkerFacts())
            yield client


def hello_of(role: Any, peer: str, **changes: Any) -> Hello:
    machine = Machine("host", "linux", "x86_64", "3.11.7", "cpython", changes.pop("nbdist", __version__))
    fields = {"protocol_min": 1, "protocol_max": 1, "slots": 1 if role == "worker" else 0} | changes
    return Hello(role=role, machine=machine, peer=peer, **fields)


@pytest.fixture
def make_hello() -> Callable[..., Hello]:
    return hello_of


@pytest.fixture
def with_hub(tmp_path: Path) -> Callable[..., None]:
    """`with_hub(scenario, **config)` runs a coroutine function with a hub, in a new event loop."""

    def run(scenario: Callable[[HubUnderTest], Awaitable[None]], **config: Any) -> None:
        machine = config.pop("machine", None)

        async def main() -> None:
            state = StateDir(config.pop("state", tmp_path / "state"))
            settings = HubConfig(**({"state": state.path, "blobs": tmp_path / "blobs"} | config))
            hub = Hub(settings, state, Lifetime(), *([machine] if machine else []))
            try:
                await hub.start()
                async with asyncio.timeout(2 * LIMIT_SECONDS):
                    await scenario(HubUnderTest(hub))
            finally:
                await hub.stop()
                state.close()

        asyncio.run(main())

    return run
