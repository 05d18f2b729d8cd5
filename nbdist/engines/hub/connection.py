"""One websocket to the hub, on a thread and an event loop of its own; it dials again when the connection breaks.

Frames go out in the order in which `send` was called, many by one wake-up of the loop. What is sent while there is no
connection is dropped: after each greeting the owner says by `Owner.opened` what the hub must be told again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from nbdist.engines.hub import greeting
from nbdist.engines.hub.tending import TEND_SECONDS, Tender
from nbdist.errors import (
    AccessError,
    ConnectionFailedError,
    FrameError,
    NbdistError,
    NobodyListensError,
    ProtocolError,
    StrangerError,
    VersionError,
)
from nbdist.wire import frames
from nbdist.wire.address import Address, is_loopback
from nbdist.wire.local import read_nonce
from nbdist.wire.messages import Message, ProveLocal, Refused, Welcome
from nbdist.wire.racing import by_answer
from nbdist.wire.sending import send_now

FIRST_LIMIT_SECONDS = 10.0
"""For the first connection; later ones are tried for as long as the engine lives."""
REFUSED_LIMIT_SECONDS = 1.0
"""For a first connection that is refused everywhere: so long a hub that is just starting may need to listen."""
FIRST_DELAY_SECONDS = 0.02
LOOPBACK_DELAY_SECONDS = 0.25
LAN_DELAY_SECONDS = 2.0
IDLE_DELAY_SECONDS = 5.0
"""Between two attempts: doubled from the first, up to the second or third while somebody waits, else up to the last."""
MAX_PROTOCOL_REFUSALS = 3
"""What is sent again after a reconnect may be what the hub refuses: after so many times in a row it is over."""
STEADY_SECONDS = 10.0
"""A connection that has held for so long ends the row."""
CLOSE_LIMIT_SECONDS = 3.0


class Owner(Protocol):
    """What a connection tells, always on its own thread; none of these may block."""

    def opened(self, welcome: Welcome) -> Iterable[bytes]:
        """A hub has welcomed us: the frames that it must have first."""

    def received(self, message: Message, payload: memoryview, frame_bytes: int) -> None:
        """A message has come."""

    def lost(self, reason: str) -> None:
        """The connection is gone; it is being dialled again."""

    def ended(self, error: NbdistError) -> None:
        """It is over for good."""

    def is_waiting(self) -> bool:
        """Whether anything depends on the connection now: it is then dialled more often."""

    def told(self, text: str) -> None:
        """Something that whoever waits should know."""


class Connection:
    """Keeps one connection up.

    `find(urgent)` gives the hub's address, each time before it is dialled, on a thread where it may block; it may
    start a hub if the matter is urgent. `tender` looks after the worker of a pool on this machine.
    """

    def __init__(self, owner: Owner, find: Callable[[bool], Address], peer: str, tender: Tender | None = None) -> None:
        self.address: Address | None = None
        self.folder: Path | None = None
        """The hub's folder, if it is on this machine."""
        self._owner = owner
        self._find = find
        self._tender = tender
        self._peer = peer
        self._outbox: deque[bytes] = deque()
        self._is_draining = False
        self._drainer: asyncio.Task[None] | None = None
        self._socket: ClientConnection | None = None
        self._closing = False
        self._protocol_refusals = 0
        self._first: Future[None] = Future()
        self._loop = asyncio.new_event_loop()
        self._nudged = asyncio.Event()
        self._main: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._work, name="nbdist-hub", daemon=True)

    def start(self) -> None:
        """Connects. Raises AccessError, VersionError, ConnectionFailedError, and what `find` raises."""
        self._thread.start()
        try:
            self._first.result()
        except BaseException:
            self.close()
            raise

    def send(self, frame: bytes) -> None:
        """Sends a frame as soon as the loop runs; any thread may call it."""
        self._outbox.append(frame)
        if not self._is_draining:
            self._is_draining = True
            self.call_soon(self._start_draining)

    def nudge_if_down(self) -> None:
        """Somebody waits: dial now if there is no connection."""
        if self._socket is None:
            self.call_soon(self._nudged.set)

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Calls back on the connection's thread; does nothing once it is closed."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(callback)

    def close(self) -> None:
        """Sends what waits, closes and ends the thread. Idempotent; not for the connection's own thread."""
        self._closing = True
        self.call_soon(self._finish)
        if self._thread.is_alive():
            self._thread.join(CLOSE_LIMIT_SECONDS)

    # --- on the thread ----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        error: NbdistError = ConnectionFailedError("the connection to the pool was closed")
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._keep_up())
            except NbdistError as reason:
                error = reason
            except asyncio.CancelledError:
                pass
            finally:
                self._owner.ended(error)
                if not self._first.done():
                    self._first.set_exception(error)

    async def _keep_up(self) -> None:
        self._main = asyncio.current_task()
        if self._tender is not None:
            self._tending = self._loop.create_task(self._tend(self._tender))  # it ends with the loop
        give_up_at = self._loop.time() + FIRST_LIMIT_SECONDS
        refused_at: float | None = None
        delay = FIRST_DELAY_SECONDS
        while not self._closing:
            try:
                socket, welcome = await self._dial()
            except ConnectionFailedError as error:
                now = self._loop.time()
                refused_at = None if not isinstance(error, NobodyListensError) else refused_at or now
                is_shut = refused_at is not None and now > refused_at + REFUSED_LIMIT_SECONDS
                if not self._first.done() and (is_shut or now > give_up_at):
                    raise
                await self._pause(delay)
                delay *= 2
                continue
            delay = FIRST_DELAY_SECONDS
            since = self._loop.time()
            reason = await self._serve(socket, welcome)
            if self._loop.time() - since > STEADY_SECONDS:
                self._protocol_refusals = 0
            if not self._closing:
                self._owner.lost(reason)

    async def _dial(self) -> tuple[ClientConnection, Welcome]:
        found = await self._loop.run_in_executor(None, self._find, self._is_urgent())
        errors: list[NbdistError] = []
        for address in await by_answer(found.hosts()):
            try:
                socket, welcome = await greeting.greet(address, self._peer)
            except NbdistError as error:
                errors.append(error)
            else:
                self.address = address
                return socket, welcome
        raise most_telling(errors, is_first=not self._first.done())

    async def _serve(self, socket: ClientConnection, welcome: Welcome) -> str:
        try:
            again = self._prove_local(welcome)
            self._outbox.clear()
            # at the front: what other threads add meanwhile goes behind them, and must not be lost
            self._outbox.extendleft(reversed([*again, *self._owner.opened(welcome)]))
            self._socket = socket
            self._start_draining()
            if not self._first.done():
                self._first.set_result(None)
            while True:
                frame = await socket.recv(decode=False)
                message, payload = frames.decode(frame)
                if isinstance(message, Refused):
                    self._protocol_refusals += message.code == "protocol"
                    return _broken(message, is_final=self._protocol_refusals >= MAX_PROTOCOL_REFUSALS)
                self._owner.received(message, payload, len(frame))
        except ConnectionClosed as closed:
            return str(closed)
        except FrameError as error:
            return f"the hub sent something that is no message: {error}"
        finally:
            self._socket = None
            await socket.close()

    def _prove_local(self, welcome: Welcome) -> list[bytes]:
        """What is to be sent if the hub's folder can be read here."""
        nonce = read_nonce(Path(welcome.folder)) if welcome.folder else ""
        self.folder = Path(welcome.folder) if nonce else None
        return [frames.encode(ProveLocal(nonce))] if nonce else []

    def _start_draining(self) -> None:
        """Sends what waits, at once as far as the connection has room; a task sends the rest."""
        if self._drainer is not None:
            return  # it takes what has been added
        if self._socket is None:
            self._outbox.clear()
        while self._outbox and self._socket is not None and send_now(self._socket, self._outbox[0]):
            self._outbox.popleft()
        if self._outbox and self._socket is not None:
            self._drainer = self._loop.create_task(self._drain(self._socket))
        else:
            self._stop_draining()

    async def _drain(self, socket: ClientConnection) -> None:
        try:
            while self._outbox:
                await socket.send(self._outbox.popleft())
        except ConnectionClosed:
            self._outbox.clear()  # the reader sees it too, and dials
        self._drainer = None
        self._stop_draining()

    def _stop_draining(self) -> None:
        self._is_draining = False
        if self._outbox:  # a thread has added a frame when it saw that somebody was draining
            self._is_draining = True
            self.call_soon(self._start_draining)

    async def _pause(self, delay: float) -> None:
        near = self.address is None or is_loopback(self.address.host)
        most = IDLE_DELAY_SECONDS
        if self._is_urgent():
            most = LOOPBACK_DELAY_SECONDS if near else LAN_DELAY_SECONDS
        self._nudged.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._nudged.wait(), min(delay, most) * random.uniform(0.5, 1.0))

    async def _tend(self, tender: Tender) -> None:
        """Looks after the worker while there is a hub and somebody waits for it."""
        while not self._closing:
            await asyncio.sleep(TEND_SECONDS)
            if self._socket is not None and self._owner.is_waiting():
                text = await self._loop.run_in_executor(None, tender.look)
                if text:
                    self._owner.told(text)

    def _is_urgent(self) -> bool:
        return not self._first.done() or self._owner.is_waiting()

    def _finish(self) -> None:
        if self._main is not None and not self._main.done():
            self._finisher = self._loop.create_task(self._say_all_and_end(self._main))

    async def _say_all_and_end(self, main: asyncio.Task[None]) -> None:
        if self._socket is not None:
            with contextlib.suppress(TimeoutError, ConnectionClosed):
                async with asyncio.timeout(CLOSE_LIMIT_SECONDS / 2):
                    while self._outbox:
                        await self._socket.send(self._outbox.popleft())
                    await self._socket.close()
        main.cancel()


def most_telling(errors: Sequence[NbdistError], *, is_first: bool) -> NbdistError:
    """Of what came of dialling a hub's addresses, one after another, what is to be raised.

    What the hub itself says counts most. That another computer has one of the addresses by now counts more than that
    nobody answers at another, but it does not end a connection that has been up: the hub may come back at the other.
    """
    failures = [error for error in errors if isinstance(error, ConnectionFailedError)]
    strangers = [error for error in errors if isinstance(error, StrangerError)]
    for error in errors:
        if error not in failures and error not in strangers:
            return error
    if strangers and (is_first or not failures):
        return strangers[0]
    kind = (
        NobodyListensError if all(isinstance(error, NobodyListensError) for error in errors) else ConnectionFailedError
    )
    return kind("; ".join(map(str, errors)))


def _broken(refused: Refused, *, is_final: bool) -> str:
    """Why the hub has broken with us; raises if there is no sense in dialling again."""
    text = f"{refused.reason}; {refused.todo}" if refused.todo else refused.reason
    if refused.code == "access":
        raise AccessError(text)
    if refused.code == "version":
        raise VersionError(text)
    if is_final:
        raise ProtocolError(f"the hub does not understand this notebook: {text}")
    if refused.code == "replaced":
        raise NbdistError(f"the hub has closed this connection: {text}")
    return text
