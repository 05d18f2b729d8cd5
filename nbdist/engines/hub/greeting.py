"""Opens one websocket to a hub: the credential, the hello, the welcome, or a refusal that says what to do."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from nbdist.errors import (
    AccessError,
    ConnectionFailedError,
    FrameError,
    NbdistError,
    NobodyListensError,
    StrangerError,
    VersionError,
)
from nbdist.wire import frames, tls
from nbdist.wire.address import Address
from nbdist.wire.local import this_machine
from nbdist.wire.messages import PROTOCOL_MAX, PROTOCOL_MIN, Hello, Message, Refused, Welcome
from nbdist.wire.sockets import harden

OPEN_LIMIT_SECONDS = 5.0
WELCOME_LIMIT_SECONDS = 5.0
MAX_REASON_CHARACTERS = 500
_CREDENTIAL_STATUS = (401, 403)


async def greet(address: Address, peer: str) -> tuple[ClientConnection, Welcome]:
    """Connects and says hello as a notebook.

    Raises AccessError, StrangerError, VersionError, and ConnectionFailedError when it makes sense to try again:
    NobodyListensError if nothing listens there.
    """
    connection = await _open(address)
    try:
        hello = Hello("notebook", PROTOCOL_MIN, PROTOCOL_MAX, this_machine(os.cpu_count() or 1), peer)
        await connection.send(frames.encode(hello))
        async with asyncio.timeout(WELCOME_LIMIT_SECONDS):
            answer, _ = frames.decode(await connection.recv(decode=False))
        return connection, _check_answer(answer, address)
    except (ConnectionClosed, TimeoutError, FrameError) as error:
        await connection.close()
        raise ConnectionFailedError(f"no welcome from the hub at {address.shown}: {error!r}") from error
    except BaseException:
        await connection.close()
        raise


async def _open(address: Address) -> ClientConnection:
    context = tls.pinned_context(address.fingerprint) if address.tls else None
    try:
        connection = await connect(
            address.socket_url,
            additional_headers={"Authorization": f"Bearer {address.key}"},
            ssl=context,
            compression=None,
            proxy=None,
            open_timeout=OPEN_LIMIT_SECONDS,
            ping_interval=None,
            close_timeout=1,
            max_size=frames.MAX_FRAME_BYTES,
            max_queue=64,
            write_limit=frames.MAX_FRAME_BYTES,
        )
        harden(connection.transport.get_extra_info("socket"))
        return connection
    except tls.FingerprintError as error:
        raise StrangerError(f"{address.shown}: {error.args[-1]}") from None
    except InvalidStatus as error:
        text = (error.response.body or b"").decode("utf-8", "replace").strip()[:MAX_REASON_CHARACTERS]
        if error.response.status_code in _CREDENTIAL_STATUS:
            raise AccessError(text or _no_entry(address)) from None
        raise ConnectionFailedError(f"{address.shown} answers {error.response.status_code}: {text}") from None
    except (OSError, TimeoutError, ssl.SSLError, InvalidHandshake, EOFError) as error:
        if _is_refused(error):
            raise NobodyListensError(
                f"no hub listens at {address.shown} ({error}): it has ended, or this port was shut. "
                "`nbdist hub` starts one; `nbdist invite` opens the port again and prints a new line"
            ) from error
        raise ConnectionFailedError(
            f"no hub answers at {address.shown} ({str(error) or type(error).__name__}). Is it running? "
            "`nbdist hub` starts one and prints its address"
        ) from error


def _is_refused(error: Exception) -> bool:
    """Also where a name has several addresses, which asyncio tells as text only."""
    kinds = (ConnectionRefusedError, socket.gaierror)
    return isinstance(error, kinds) or f"[Errno {errno.ECONNREFUSED}]" in str(error)


def _no_entry(address: Address) -> str:
    return (
        f"the hub at {address.shown} does not accept this credential: it is wrong, expired or revoked. Copy the whole "
        "'connect' line that the hub printed"
    )


def _check_answer(answer: Message, address: Address) -> Welcome:
    if isinstance(answer, Welcome):
        return answer
    if not isinstance(answer, Refused):
        raise FrameError(f"{type(answer).__name__} instead of a welcome")
    text = f"the hub at {address.shown} refuses: {answer.reason}" + (f"; {answer.todo}" if answer.todo else "")
    kinds: dict[str, type[NbdistError]] = {"access": AccessError, "version": VersionError}
    raise kinds.get(answer.code, ConnectionFailedError)(text)
