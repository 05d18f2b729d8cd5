"""A hub that does what the test says: real websockets, one connection at a time, no scheduler."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from nbdist.engines.hub.engine import HubEngine
from nbdist.wire import frames
from nbdist.wire.address import Address
from nbdist.wire.messages import Hello, Message, Refused, Welcome

LIMIT_SECONDS = 60.0
M = TypeVar("M", bound=Message)


class FakeHub:
    """Welcomes who comes; keeps what it is sent for the test to look at."""

    key = "the-key"

    def __init__(self) -> None:
        self.folder = ""
        self.epoch = 1
        self.refusal: Refused | None = None
        self.headers: list[str | None] = []
        self.hellos: list[Hello] = []
        self.welcomed: queue.Queue[ServerConnection] = queue.Queue()
        self._inbox: queue.Queue[tuple[Message, bytes]] = queue.Queue()
        self._connection: ServerConnection | None = None
        self.server: Server = serve(self._handle, "127.0.0.1", 0, compression=None, max_size=None)
        self.port = self.server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.port, False, self.key)

    def expect(self, kind: type[M]) -> tuple[M, bytes]:
        """The next message; it must be of this kind."""
        message, payload = self._inbox.get(timeout=LIMIT_SECONDS)
        assert isinstance(message, kind), f"{kind.__name__} was expected, {message} came"
        return message, payload

    def heard(self) -> bool:
        """Whether a message waits."""
        return not self._inbox.empty()

    def send(self, message: Message, payload: bytes = b"") -> None:
        assert self._connection is not None
        self._connection.send(frames.encode(message, payload))

    def send_raw(self, data: bytes) -> None:
        assert self._connection is not None
        self._connection.send(data)

    def drop(self) -> None:
        """Breaks the connection off and forgets what came over it."""
        self.welcomed.get(timeout=LIMIT_SECONDS)
        assert self._connection is not None
        with contextlib.suppress(OSError):
            self._connection.socket.shutdown(2)
        while self.heard():
            self._inbox.get()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join(LIMIT_SECONDS)

    def _handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.headers.append(connection.request.headers.get("Authorization"))
        with contextlib.suppress(ConnectionClosed):
            hello, _ = frames.decode(connection.recv(decode=False))
            assert isinstance(hello, Hello)
            self.hellos.append(hello)
            if self.refusal is not None:
                connection.send(frames.encode(self.refusal))
                return
            self._connection = connection
            connection.send(frames.encode(Welcome(1, "hub", self.epoch, hello.name, "0.1.0", self.folder)))
            self.welcomed.put(connection)
            while True:
                message, payload = frames.decode(connection.recv(decode=False))
                self._inbox.put((message, bytes(payload)))


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    fake = FakeHub()
    yield fake
    fake.close()


@pytest.fixture
def engine(hub: FakeHub) -> Iterator[HubEngine]:
    connected = HubEngine(lambda urgent: hub.address)
    yield connected
    connected.close()


@pytest.fixture
def local_hub(hub: FakeHub, tmp_path: Path) -> FakeHub:
    """It shows its folder."""
    for name in ("blobs", "incoming"):
        (tmp_path / name).mkdir()
    (tmp_path / "nonce").write_text("proof")
    hub.folder = str(tmp_path)
    return hub


class Events:
    """Takes what an engine delivers."""

    def __init__(self) -> None:
        self._events: queue.Queue[tuple[Any, bytes]] = queue.Queue()

    def __call__(self, message: Message, payload: Any) -> None:
        self._events.put((message, bytes(payload)))

    def next(self, kind: type[M]) -> tuple[M, bytes]:
        message, payload = self._events.get(timeout=LIMIT_SECONDS)
        assert isinstance(message, kind), f"{kind.__name__} was expected, {message} came"
        return message, payload

    def empty(self) -> bool:
        return self._events.empty()


@pytest.fixture
def events() -> Events:
    return Events()
