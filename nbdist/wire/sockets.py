"""What the operating system is told of a connection to or from a hub, so that a bad network costs seconds at most.

Without it TCP waits twice as long after each packet that goes missing in a row, up to two minutes, also once the cable
is plugged in again; and an end that only listens never notices that the other one is gone.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import sys

from nbdist.wire.address import Address
from nbdist.wire.tls import pinned_context

DEAD_SECONDS = 20
"""What was sent and is not confirmed for so long, or probes that are not: the connection is broken."""
PROBE_AFTER_SECONDS = 5
PROBE_PAUSE_SECONDS = 3
RESEND_SECONDS = 1
"""A packet that may be lost is sent again after so long at the latest."""

SEND_BYTES = 64 * 1024
"""A body goes out in pieces of this size: the time limit of a socket holds for all of a piece …"""
UNSENT_BYTES = 64 * 1024
"""… and for the answer, before which everything that the system has taken on stock must be sent."""

_LINUX_TCP_THIN_LINEAR_TIMEOUTS = 16
_LINUX_TCP_RTO_MAX_MS = 44
"""Since Linux 6.15; before, only the first few repetitions of a thin stream come without a growing pause."""
_MACOS_TCP_RXT_CONNDROPTIME = 0x80


def harden(sock: socket.socket) -> None:
    """Tells the system, as far as it can be told; what accepts connections hands this on to them."""
    _set(sock, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", PROBE_AFTER_SECONDS),
        ("TCP_KEEPALIVE", PROBE_AFTER_SECONDS),  # its name on macOS
        ("TCP_KEEPINTVL", PROBE_PAUSE_SECONDS),
        ("TCP_KEEPCNT", (DEAD_SECONDS - PROBE_AFTER_SECONDS) // PROBE_PAUSE_SECONDS),
        ("TCP_USER_TIMEOUT", 1000 * DEAD_SECONDS),
    ):
        if hasattr(socket, name):
            _set(sock, socket.IPPROTO_TCP, getattr(socket, name), value)
    if sys.platform == "linux":
        _set(sock, socket.IPPROTO_TCP, _LINUX_TCP_THIN_LINEAR_TIMEOUTS, 1)
        _set(sock, socket.IPPROTO_TCP, _LINUX_TCP_RTO_MAX_MS, 1000 * RESEND_SECONDS)
    elif sys.platform == "darwin":
        _set(sock, socket.IPPROTO_TCP, _MACOS_TCP_RXT_CONNDROPTIME, DEAD_SECONDS)


class _Plain(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _harden_upload(self.sock)


class _Secure(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _harden_upload(self.sock)


def http_connection(address: Address, limit_seconds: float) -> http.client.HTTPConnection:
    """For one request to a hub; the limit is for each read and write to make progress. It connects when it is used."""
    if address.tls:
        context = pinned_context(address.fingerprint)
        return _Secure(address.host, address.port, timeout=limit_seconds, context=context)
    return _Plain(address.host, address.port, timeout=limit_seconds)


def _harden_upload(sock: socket.socket) -> None:
    harden(sock)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        _set(sock, socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def _set(sock: socket.socket, level: int, option: int, value: int) -> None:
    with contextlib.suppress(OSError):  # a system that does not have it: its own habits stay
        sock.setsockopt(level, option, value)
