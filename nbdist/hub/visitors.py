"""Which Host and Origin a request may name: keeps web pages of other sites from talking to the hub. Pure.

A page that a browser has loaded from elsewhere can send requests to 127.0.0.1, and one whose name was pointed at
127.0.0.1 after it was loaded (DNS rebinding) is even of the same origin. The first is told by Origin, the second by
Host. Ports are not compared: rebinding is about names, and tunnels change ports.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


def host_error(host_header: str, hosts: Iterable[str]) -> str | None:
    """Why a request for this Host is refused; None: it is not. `hosts` are the machine's names and addresses."""
    host = _hostname(f"//{host_header}")
    if host and host in {known.lower() for known in hosts}:
        return None
    return (
        f"this hub does not answer to the name {host_header[:100]!r}: use the address that it printed "
        "(a hub on a LAN answers to its host name and addresses, any other to 127.0.0.1 only)"
    )


def origin_error(origin: str | None, host_header: str) -> str | None:
    """Why a request that says it comes from this web page is refused; None: it is not.

    Programs send no Origin; a browser sends it with every websocket and every request that can change something.
    """
    if origin is None:
        return None
    parts = urlsplit(origin)
    if parts.scheme in ("http", "https") and parts.netloc and parts.netloc.lower() == host_header.lower():
        return None
    return f"a web page of {origin[:100]!r} may not use this hub"


def _hostname(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
