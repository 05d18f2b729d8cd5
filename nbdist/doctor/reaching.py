"""Goes to a hub as a worker does, with the worker's own code, but for the trade of the invite and the greeting."""

from __future__ import annotations

import asyncio
import email.utils
import errno
import http.client
import json
import socket
import ssl
import time
from dataclasses import replace
from typing import Any

from websockets.exceptions import WebSocketException

from nbdist.doctor import networks
from nbdist.doctor.findings import Invite, Reached, Trouble
from nbdist.errors import AccessError
from nbdist.wire.address import Address
from nbdist.wire.tls import FingerprintError
from nbdist.worker import transfer
from nbdist.worker.dialing import open_socket

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
CHECK_PATH = "/join"
MAX_ANSWER_BYTES = 64 * 1024
MAX_PYTHONS = 20
_NO_WAY = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}


async def reach(address: Address) -> list[Reached]:
    """How far each of the hub's addresses leads, all tried at the same time. Uses nothing up."""
    return list(await asyncio.gather(*(_reach_one(one) for one in address.hosts())))


async def _reach_one(address: Address) -> Reached:
    found = await asyncio.to_thread(_ask, address)
    if found.trouble is None:
        try:
            connection = await open_socket(address)
        except AccessError as error:
            return replace(found, trouble="access", error=str(error))
        except (OSError, TimeoutError, WebSocketException) as error:
            return replace(found, trouble="broken", error=f"the websocket does not open: {error}")
        await connection.close()
    return found


def _ask(address: Address) -> Reached:
    """All steps that are plain HTTP. For a thread."""
    found = Reached(address.host, address.port, address.tls, networks.look([]))
    try:
        rows = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return replace(found, trouble="name", error=_text(error))
    resolved = tuple(dict.fromkeys(str(row[4][0]) for row in rows))
    start = time.monotonic()
    trouble, error_text = _knock(address)
    seconds = time.monotonic() - start
    found = replace(
        found,
        resolved=resolved,
        trouble=trouble,
        error=error_text,
        seconds=seconds,
        network=networks.look(resolved, start if trouble in ("timeout", "unreachable") else None),
    )
    return found if trouble is not None else _converse(address, found)


def _knock(address: Address) -> tuple[Trouble | None, str]:
    """Whether the port takes connections."""
    try:
        socket.create_connection((address.host, address.port), CONNECT_SECONDS).close()
    except ConnectionRefusedError as error:
        return "refused", _text(error)
    except TimeoutError as error:
        return "timeout", _text(error)
    except OSError as error:
        return ("unreachable" if error.errno in _NO_WAY else "broken"), _text(error)
    return None, ""


def _converse(address: Address, found: Reached) -> Reached:
    """The handshake, and one question."""
    hub = transfer.Hub(address)
    connection = hub.connection()
    connection.timeout = ANSWER_SECONDS
    try:
        connection.connect()
        connection.request("GET", CHECK_PATH, headers=hub.headers())
        began = time.time()
        answer = connection.getresponse()
        body = answer.read(MAX_ANSWER_BYTES)
        clock = (began + time.time()) / 2
    except (OSError, http.client.HTTPException) as error:
        return replace(found, trouble=_why(error), error=_text(error))
    finally:
        connection.close()
    return _understand(found, answer, body, clock)


def _why(error: Exception) -> Trouble:
    if isinstance(error, FingerprintError):
        return "stranger"
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "no TLS"
    return "broken" if isinstance(error, OSError) else "no hub"


def _understand(found: Reached, answer: http.client.HTTPResponse, body: bytes, clock: float) -> Reached:
    text = body.decode("utf-8", "replace").strip()
    is_ours = "default-src 'none'" in answer.headers.get("Content-Security-Policy", "")
    if answer.status == 200 and (invite := _invite(text)) is not None:
        ahead = _ahead(answer.headers.get("Date", ""), clock)
        return replace(found, invite=invite, clock_ahead_seconds=ahead)
    if answer.status == 401 and answer.headers.get("WWW-Authenticate") == "Bearer":
        ahead = _ahead(answer.headers.get("Date", ""), clock)
        return replace(found, trouble="access", error=text, clock_ahead_seconds=ahead)
    if is_ours and answer.status == 403:
        return replace(found, trouble="host", error=text)
    if is_ours and answer.status in (404, 405):
        return replace(found, trouble="old", error=text)
    return replace(found, trouble="no hub", error=f"its answer is HTTP {answer.status} and not a hub's")


def _invite(text: str) -> Invite | None:
    """The answer of a hub; None if it is none."""
    try:
        data: dict[str, Any] = json.loads(text)
        lowest, highest = data["protocol"]
        return Invite(
            role=str(data["role"]),
            is_invite=bool(data["is_invite"]),
            valid_seconds=float(data["valid_seconds"]),
            nbdist=str(data["nbdist"]),
            protocol=(int(lowest), int(highest)),
            pythons=tuple(str(one) for one in data["pythons"])[:MAX_PYTHONS],
        )
    except (ValueError, KeyError, TypeError):
        return None


def _ahead(date: str, clock: float) -> float | None:
    """By how much `clock` is ahead of an HTTP date, which is cut to whole seconds."""
    try:
        return clock - (email.utils.parsedate_to_datetime(date).timestamp() + 0.5)
    except (ValueError, TypeError):
        return None


def _text(error: Exception) -> str:
    if isinstance(error, FingerprintError):
        return str(error.args[-1])
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
