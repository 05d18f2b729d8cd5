"""For the worker's tests: real slots without an agent, and a hub that says what a test tells it to."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from nbdist.execution.task import Task
from nbdist.packing import pack_task, unpack_part
from nbdist.wire import frames
from nbdist.wire import messages as m
from nbdist.worker import processes
from nbdist.worker.agent import Agent
from nbdist.worker.config import WorkerConfig
from nbdist.worker.orders import SlotDied
from nbdist.worker.slots import SlotHost

LIMIT_SECONDS = 60.0
INSTALL_LIMIT_SECONDS = 80.0


def pack(function: Callable[..., Any], **more: Any) -> bytes:
    pieces, _ = pack_task(Task(function, **more), lambda view: "")
    return b"".join(pieces)


@pytest.fixture
def packed() -> Callable[..., bytes]:
    """Packs a function as a task."""
    return pack


@pytest.fixture
def limited() -> Callable[[Callable[..., Awaitable[None]]], None]:
    """Runs a coroutine function, not for ever."""

    def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def within_limit() -> None:
            async with asyncio.timeout(LIMIT_SECONDS):
                await work()

        asyncio.run(within_limit())

    return run


@dataclass
class Bench:
    """One slot, driven by hand."""

    host: SlotHost
    heard: asyncio.Queue[tuple[m.Message, bytes]] = field(default_factory=asyncio.Queue)
    passed: list[tuple[m.Message, bytes]] = field(default_factory=list)
    """What `until` has seen."""

    async def until(self, *kinds: type[m.Message]) -> Any:
        while True:
            message, payload = await self.heard.get()
            self.passed.append((message, payload))
            if isinstance(message, kinds):
                return message

    def run(self, task: bytes, start: int, stop: int, attempt: m.Attempt = (1, 1), **options: Any) -> None:
        self.host.send(m.LoadTask("j", m.JobOptions(**options), ranges=((0, 10**7, 1),)), task)
        self.again(start, stop, attempt)

    def again(self, start: int, stop: int, attempt: m.Attempt) -> None:
        self.host.claim.begin(attempt, start, stop)
        self.host.send(m.RunSlice("j", attempt, 0, start, stop))

    async def to_end(self) -> list[Any]:
        """The values of all parts up to the end of the slice."""
        while True:
            found = await self.until(m.Part, m.SlotPart, m.SliceEnded)
            if isinstance(found, m.SliceEnded) or (found.part if isinstance(found, m.SlotPart) else found).final:
                break
        parts = [
            self._payload(message, data) for message, data in self.passed if isinstance(message, m.Part | m.SlotPart)
        ]
        return [value for part in parts for run in unpack_part(part) for value in run.values]

    def _payload(self, message: m.Message, data: bytes) -> bytes:
        """Of a part; one that is too large for a frame lies in a file."""
        return Path(message.path).read_bytes() if isinstance(message, m.SlotPart) else data

    def text(self, stream: str) -> dict[int, str]:
        found: dict[int, str] = {}
        for message, payload in self.passed:
            if isinstance(message, m.Output) and message.stream == stream:
                found[message.item] = found.get(message.item, "") + payload.decode()
        return found


@pytest.fixture(params=["fork", "spawn"])
def slot(request: pytest.FixtureRequest, tmp_path: Path, limited: Any) -> Callable[[Any], None]:
    """Runs a test on a slot that is up, once for each way to start slots that this machine has."""
    if request.param == "fork" and not processes.system.CAN_FORK:
        pytest.skip("this operating system has no fork server")

    async def on_slot(test: Callable[[Bench], Awaitable[None]]) -> None:
        launcher = processes.launcher(
            processes.slot_environment(1), tmp_path / "start.log", fork=request.param == "fork"
        )
        heard: asyncio.Queue[tuple[m.Message, bytes]] = asyncio.Queue()

        def deliver(number: int, message: m.Message, payload: Any) -> None:
            heard.put_nowait((message, bytes(payload)))

        def died(event: SlotDied) -> None:
            heard.put_nowait((event, b""))

        host = SlotHost(0, launcher, tmp_path, niceness=0, deliver=deliver, died=died)
        try:
            await host.start()
            bench = Bench(host, heard)
            await bench.until(m.SlotReady)
            await test(bench)
        finally:
            host.close()
            launcher.close()

    return lambda test: limited(functools.partial(on_slot, test))


class Line:
    """The fake hub's end of one websocket."""

    def __init__(self, handler: WebSocketHandler) -> None:
        self._handler = handler
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def send(self, frame: bytes) -> None:
        self._handler.write_message(frame, binary=True)

    def abort(self) -> None:
        """Breaks off, as a cut cable does."""
        self._handler.ws_connection.stream.close()


@dataclass
class FakeHub:
    """A hub by hand: takes workers in, keeps what they say."""

    lines: asyncio.Queue[Line] = field(default_factory=asyncio.Queue)
    keys: list[str] = field(default_factory=list)
    """The credentials with which websockets were opened."""
    trades: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    """What was shown to get a credential."""
    refusal: m.Refused | None = None
    blobs: dict[str, list[bytes | int]] = field(default_factory=dict)
    """Name -> what it answers, one after another: bytes, or a status. The last answer is given again and again."""
    go_on: asyncio.Event | None = None
    """Blobs come half, and the other half when this is set."""
    port: int = 0

    @property
    def invite(self) -> str:
        return f"ws://127.0.0.1:{self.port}/#key=invite"

    def open(self, port: int = 0) -> None:
        self._sockets = bind_sockets(port, "127.0.0.1")
        self.port = self._sockets[0].getsockname()[1]
        doors = [("/join", _Join), ("/socket", _Socket), ("/blobs/(.*)", _Blobs)]
        self._server = HTTPServer(Application([(path, door, {"hub": self}) for path, door in doors]))
        self._server.add_sockets(self._sockets)

    async def close(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()


class _Join(RequestHandler):
    def initialize(self, hub: FakeHub) -> None:
        self.hub = hub

    def post(self) -> None:
        self.hub.trades.put_nowait(self.request.headers["Authorization"])
        if self.request.headers["Authorization"] == "Bearer invite":
            self.write({"key": "credential"})
        else:
            self.set_status(401)
            self.write("this invite has expired")


class _Blobs(RequestHandler):
    def initialize(self, hub: FakeHub) -> None:
        self.hub = hub

    async def get(self, name: str) -> None:
        answers = self.hub.blobs.get(name, [404])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, int):
            self.set_status(answer)
            return
        self.set_header("Content-Length", str(len(answer)))
        half = len(answer) // 2
        self.write(answer[:half])
        if self.hub.go_on is not None:
            await self.flush()
            await self.hub.go_on.wait()
        self.write(answer[half:])


class _Socket(WebSocketHandler):
    def initialize(self, hub: FakeHub) -> None:
        self.hub = hub
        self.line: Line | None = None

    def open(self) -> None:
        self.hub.keys.append(self.request.headers["Authorization"].removeprefix("Bearer "))

    def on_message(self, data: str | bytes) -> None:
        assert isinstance(data, bytes)
        if self.line is not None:
            self.line.received.put_nowait(data)
            return
        hello, _ = frames.decode(data)
        assert isinstance(hello, m.Hello)
        self.line = Line(self)
        self.line.send(frames.encode(self.hub.refusal or m.Welcome(1, "h1", 1, hello.name, "0.1.0")))
        if self.hub.refusal is None:
            self.hub.lines.put_nowait(self.line)


@dataclass
class Talk:
    """One connection of the fake hub's."""

    line: Line
    said: list[tuple[m.Message, bytes]] = field(default_factory=list)

    async def say(self, message: m.Message, payload: bytes = b"") -> None:
        self.line.send(frames.encode(message, payload))

    async def until(self, *kinds: type[m.Message]) -> Any:
        while True:
            message, payload = frames.decode(await self.line.received.get())
            self.said.append((message, bytes(payload)))
            if isinstance(message, kinds):
                return message

    async def prepare(self, task: bytes, **options: Any) -> None:
        await self.say(m.PrepareJob("j", m.JobOptions(**options), ranges=((0, 1000, 1),)), task)
        await self.until(m.JobReady)


@dataclass
class Joined:
    """A worker and its hub."""

    hub: FakeHub
    agent: Agent
    work: asyncio.Task[str]
    notes: list[str]

    async def talk(self) -> Talk:
        return Talk(await self.hub.lines.get())


@pytest.fixture
def fake_hub() -> type[FakeHub]:
    """The class, for tests that start their own."""
    return FakeHub


@pytest.fixture
def joined(limited: Any) -> Callable[[Any], None]:
    """Runs a test on a worker of two slots that has joined a fake hub."""

    async def on_worker(test: Callable[[Joined], Awaitable[None]]) -> None:
        async for worker in _worker():
            await test(worker)

    return lambda test: limited(functools.partial(on_worker, test))


@pytest.fixture
def installs() -> Callable[[Any], None]:
    """Runs a test on a worker of one slot with `--install` that has joined a fake hub."""

    async def on_worker(test: Callable[[Joined], Awaitable[None]]) -> None:
        async with asyncio.timeout(INSTALL_LIMIT_SECONDS):
            async for worker in _worker(slots=1, installs=True):
                await test(worker)

    return lambda test: asyncio.run(on_worker(test))


async def _worker(**config: Any) -> AsyncIterator[Joined]:
    hub = FakeHub()
    hub.open()
    notes: list[str] = []
    agent = Agent(WorkerConfig(**{"slots": 2, "invite": hub.invite, "name": "box", **config}), notes.append)
    work = asyncio.ensure_future(agent.run())
    try:
        yield Joined(hub, agent, work, notes)
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await hub.close()
