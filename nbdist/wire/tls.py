"""TLS to a hub whose certificate is self-signed: the fingerprint is checked inside the handshake.

A check after `connect()` returns is too late: the credential has then been sent to whoever answered. The context
made here verifies the SHA-256 of the peer's certificate at the end of the handshake, before a byte of the
application goes out, for blocking sockets (`http.client`) and for asyncio alike.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl


class FingerprintError(ssl.SSLCertVerificationError):
    """Somebody else answers at the hub's address, or the hub has made itself a new certificate."""


def fingerprint(certificate_der: bytes) -> str:
    """The SHA-256 of a certificate in DER, as 64 hex digits."""
    return hashlib.sha256(certificate_der).hexdigest()


def pinned_context(expected: str) -> ssl.SSLContext:
    """A client's context that accepts exactly the certificate with this fingerprint."""

    def check(certificate: bytes | None) -> None:
        found = fingerprint(certificate or b"")
        if not hmac.compare_digest(found, expected.lower()):
            raise FingerprintError(
                f"the certificate at this address has fingerprint {found[:16]}…, the invite says {expected[:16]}…: "
                "another computer answers there, or the hub was set up anew; ask for a new invite"
            )

    class PinnedObject(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            check(self.getpeercert(True))

    class PinnedSocket(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            check(self.getpeercert(True))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.sslobject_class = PinnedObject
    context.sslsocket_class = PinnedSocket
    return context
