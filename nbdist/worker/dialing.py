"""Dialling the hub: trade the invite for a credential, open the websocket, say hello."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import secrets
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

from nbdist.errors import AccessError, ConnectionFailedError, FrameError, VersionError
from nbdist.wire import frames, graphics
from nbdist.wire.address import Address, is_loopback
from nbdist.wire.local import read_nonce, this_machine
from nbdist.wire.messages import PROTOCOL_MAX, PROTOCOL_MIN, Hello, ProveLocal, Refused, Welcome
from nbdist.wire.racing import by_answer
from nbdist.wire.sockets import harden
from nbdist.wire.tls import FingerprintError, pinned_context
from nbdist.worker import system, transfer

OPEN_SECONDS = 10.0
"""For the handshake and the welcome."""
LOOPBACK_RETRY_SECONDS = 0.25
LAN_RETRY_SECONDS = 2.0
LATER_RETRY_SECONDS = 5.0
"""Between dials, at most: on this machine, on the LAN in the first minute, and after that."""
SOON_SECONDS = 60.0
NO_LONGER_WELCOME = (401, 403)


class Refusal(Exception):
    """The hub has refused this worker: what it said."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason)
        self.refused = refused


class Dialer:
    """Reaches one hub again and again, as the same peer."""

    def __init__(
        self,
        address: Callable[[], Address | None],
        name: str,
        slots: int,
        packages: Callable[[], str] = str,
        *,
        installs: bool = False,
    ) -> None:
        """`packages` gives the hash of what is installed here; `installs`: jobs get environments of their own."""
        self._installs = installs
        self._address = address
        self._name = name or socket.gethostname()
        self._slots = slots
        self._packages = packages
        self._keys: dict[str, str] = {}
        """Invite -> the credential that it was traded for."""
        self.peer = secrets.token_hex(16)
        self.hub: transfer.Hub | None = None
        """The hub that was reached last."""

    async def dial(self) -> tuple[ClientConnection, Welcome]:
        """One attempt, at each of the hub's hosts. Raises ConnectionFailedError, AccessError and Refusal: what the hub
        itself said if it could be reached at all."""
        address = self._address()
        if address is None:
            raise ConnectionFailedError("the hub is not there yet")
        problems: list[tuple[int, Exception]] = []
        for one in await by_answer(address.hosts()):
            try:
                return await self._dial(one)
            except Refusal as refusal:
                if refusal.refused.code == "access":
                    self._keys.pop(one.key, None)  # the hub may have lost or revoked it; the invite may still be good
                problems.append((0, refusal))
            except AccessError as error:
                problems.append((1, error))
            except FingerprintError as error:
                problems.append((2, ConnectionFailedError(f"{one.shown}: {error.args[-1]}")))
            except (OSError, TimeoutError, WebSocketException, http.client.HTTPException) as error:
                problems.append((3, ConnectionFailedError(f"no answer at {one.shown}: {error}")))
        raise min(problems, key=lambda found: found[0])[1]

    def pause(self, failing_seconds: float) -> float:
        """How long to wait before the next attempt, when all have failed for so long."""
        address = self.hub.address if self.hub is not None else self._address()
        if address is None or is_loopback(address.host):
            return random.uniform(0.01, LOOPBACK_RETRY_SECONDS)
        most = LAN_RETRY_SECONDS if failing_seconds < SOON_SECONDS else LATER_RETRY_SECONDS
        return random.uniform(0.1, 1.0) * most

    async def _dial(self, address: Address) -> tuple[ClientConnection, Welcome]:
        address = await self._trade(address)
        connection = await open_socket(address)
        try:
            async with asyncio.timeout(OPEN_SECONDS):  # `wait_for` of Python 3.11 can swallow a cancellation
                welcome = await self._greet(connection)
        except BaseException:
            await connection.close()
            raise
        self.hub = transfer.Hub(address, await self._prove_local(connection, welcome))
        return connection, welcome

    async def _trade(self, address: Address) -> Address:
        """The address with a credential of this worker's own in place of the invite."""
        if address.key not in self._keys:
            body = json.dumps({"name": self._name, "peer": self.peer}).encode()
            status, answer = await asyncio.to_thread(
                transfer.request, transfer.Hub(address), "POST", "/join", body, **{"Content-Type": "application/json"}
            )
            if status in NO_LONGER_WELCOME:
                raise AccessError(_text(answer))
            if status == 200:
                self._keys[address.key] = _credential(answer)
            elif status == 409:
                self._keys[address.key] = address.key
            else:
                raise OSError(f"the hub answered {status}: {_text(answer)}")
        return replace(address, key=self._keys[address.key])

    async def _greet(self, connection: ClientConnection) -> Welcome:
        gpus = await asyncio.to_thread(graphics.names)
        packages = await asyncio.to_thread(self._packages)
        machine = replace(this_machine(system.cores(), gpus), packages=packages, installs=self._installs)
        hello = Hello("worker", PROTOCOL_MIN, PROTOCOL_MAX, machine, self.peer, name=self._name, slots=self._slots)
        await connection.send(frames.encode(hello))
        try:
            message, _ = frames.decode(await connection.recv(decode=False))
        except FrameError as error:
            raise Refusal(Refused("version", f"the hub speaks another language: {error}", "upgrade nbdist")) from None
        if isinstance(message, Refused):
            raise Refusal(message)
        if not isinstance(message, Welcome):
            raise OSError(f"the hub greets with {type(message).__name__}")
        return message

    async def _prove_local(self, connection: ClientConnection, welcome: Welcome) -> Path | None:
        """The hub's folder if this process can read it, after telling the hub so."""
        if not welcome.folder:
            return None
        nonce = await asyncio.to_thread(read_nonce, Path(welcome.folder))
        if not nonce:
            return None
        await connection.send(frames.encode(ProveLocal(nonce)))
        return Path(welcome.folder)


async def open_socket(address: Address) -> ClientConnection:
    """A websocket to the hub, on which nothing was said yet. Raises AccessError, OSError and WebSocketException."""
    try:
        connection = await connect(
            address.socket_url,
            ssl=pinned_context(address.fingerprint) if address.tls else None,
            additional_headers={"Authorization": f"Bearer {address.key}"},
            compression=None,
            proxy=None,
            ping_interval=None,
            max_size=frames.MAX_FRAME_BYTES,
            open_timeout=OPEN_SECONDS,
            close_timeout=1,
        )
        harden(connection.transport.get_extra_info("socket"))
        return connection
    except InvalidStatus as error:
        if error.response.status_code in NO_LONGER_WELCOME:
            raise AccessError(_text(error.response.body)) from None
        raise
    except InvalidHandshake as error:
        raise OSError(f"no hub answers there ({error})") from error


def refusal_error(refused: Refused) -> AccessError | VersionError | ConnectionFailedError:
    """A refusal as an error, with what to do."""
    text = f"{refused.reason}. {refused.todo}" if refused.todo else refused.reason
    if refused.code == "access":
        return AccessError(text)
    return VersionError(text) if refused.code == "version" else ConnectionFailedError(text)


def _credential(answer: bytes) -> str:
    """What an invite was traded for. Raises OSError if no hub has answered that."""
    try:
        return str(json.loads(answer)["key"])
    except (ValueError, KeyError, TypeError):
        raise OSError("what answers there is no hub") from None


def _text(body: bytes | bytearray | None) -> str:
    return (body or b"").decode("utf-8", "replace").strip() or "the hub does not accept this invite: ask for a new one"
