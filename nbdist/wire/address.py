"""Addresses of hubs: where to dial and what to show at the door.

    ws://127.0.0.1:8786/#key=SECRET
    wss://192.168.1.20:8786/#key=SECRET&cert=64 hex digits&also=10.0.0.5

The secret stands in the fragment, which no HTTP client sends and no server logs; it travels as `Authorization: Bearer`.
`cert` is the SHA-256 of the hub's certificate, which is checked inside the TLS handshake (`tls.py`). `also` names
further addresses of the same hub: the one that answers first is dialled (`racing.py`).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from nbdist.errors import AddressError
from nbdist.wire import blobs

SOCKET_PATH = "/socket"
"""Where a hub takes websockets, of every role."""


@dataclass(frozen=True, slots=True)
class Address:
    """A hub's address with the credential for it."""

    host: str
    port: int
    tls: bool
    key: str = ""
    fingerprint: str = ""
    """SHA-256 of the hub's certificate in DER, 64 hex digits; empty without TLS."""
    also: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads an address as a hub prints it. Raises AddressError, without the secret in its message."""
        text = text.strip()
        shown = text.split("#")[0][:200]
        try:
            parts = urlsplit(text)
            port = parts.port
            text.encode()  # half of a character cannot be written out again
        except ValueError as error:
            raise AddressError(f"{shown!r} is no address of a hub: {error}") from None
        if parts.scheme not in ("ws", "wss") or not parts.hostname or not port or parts.path not in ("", "/"):
            raise AddressError(
                f"{shown!r} is no address of a hub. It looks like ws://127.0.0.1:8786/#key=… or "
                "wss://192.168.1.20:8786/#key=…&cert=…: copy the whole line that the hub printed"
            )
        fragment = dict(parse_qsl(parts.fragment))
        address = cls(
            host=parts.hostname,
            port=port,
            tls=parts.scheme == "wss",
            key=fragment.get("key", ""),
            fingerprint=fragment.get("cert", "").lower(),
            also=tuple(host for host in fragment.get("also", "").split(",") if host),
        )
        if address.tls and not blobs.is_name(address.fingerprint):
            raise AddressError(
                f"{shown!r} has no complete 'cert=' behind '#': copy the whole line that the hub printed"
            )
        if not (address.key.isascii() and address.key.isprintable()):
            raise AddressError(f"{shown!r} has a 'key=' that no hub prints: copy the whole line that the hub printed")
        if not address.tls and not is_loopback(address.host):
            raise AddressError(f"{shown!r}: beyond this machine a hub is reached by wss:// only")
        return address

    @property
    def url(self) -> str:
        """The whole address, secret included: for the person, never for a log."""
        fields = {"key": self.key, "cert": self.fingerprint, "also": ",".join(self.also)}
        fragment = urlencode({name: value for name, value in fields.items() if value}, quote_via=quote, safe=",")
        return f"{'wss' if self.tls else 'ws'}://{self.netloc}/" + (f"#{fragment}" if fragment else "")

    @property
    def shown(self) -> str:
        """The address without the secret."""
        return replace(self, key="", fingerprint="", also=()).url

    @property
    def netloc(self) -> str:
        """host:port, with brackets round an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def socket_url(self) -> str:
        """What the websocket client dials."""
        return f"{'wss' if self.tls else 'ws'}://{self.netloc}{SOCKET_PATH}"

    def hosts(self) -> list[Address]:
        """This address and one for each further host, in the order in which to try them."""
        return [self, *(replace(self, host=host) for host in self.also)]

    def __repr__(self) -> str:
        return f"Address({self.shown})"


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
