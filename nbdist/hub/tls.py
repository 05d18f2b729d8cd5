"""The hub's certificate: self-signed, made once, kept in the state directory, pinned by whoever joins."""

from __future__ import annotations

import base64
import datetime
import hashlib
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from nbdist.hub.statedir import StateDir, write_private
from nbdist.wire.tls import fingerprint

KEY_FILE = "hub-key.pem"
CERTIFICATE_FILE = "hub-cert.pem"
PINS_FILE = "hub-cert.json"
VALID_DAYS = 3650


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key, ready to serve."""

    context: ssl.SSLContext
    fingerprint: str
    """SHA-256 of the certificate in DER, 64 hex digits: what nbdist pins."""
    key_pin: str
    """SHA-256 of its public key (SubjectPublicKeyInfo), base64: what `curl --pinnedpubkey` pins."""


def ensure_certificate(state: StateDir) -> Certificate:
    """The hub's certificate, made now if there is none."""
    key_file, certificate_file = state.path / KEY_FILE, state.path / CERTIFICATE_FILE
    key_pin = state.read(PINS_FILE).get("key_pin")
    if not (key_file.exists() and certificate_file.exists() and isinstance(key_pin, str)):
        key_pin = _make(key_file, certificate_file)
        state.write(PINS_FILE, {"key_pin": key_pin})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate_file, key_file)
    der = ssl.PEM_cert_to_DER_cert(certificate_file.read_text("ascii"))
    return Certificate(context, fingerprint(der), key_pin)


def _make(key_file: Path, certificate_file: Path) -> str:
    """Writes a new key and certificate; gives the key's pin."""
    from cryptography import x509  # 50 ms to import: only a hub that makes a certificate pays
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nbdist hub")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), *([x509.DNSName(host)] if (host := _ascii_hostname()) else [])]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    write_private(key_file, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    write_private(certificate_file, certificate.public_bytes(pem))
    info = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(info).digest()).decode()


def _ascii_hostname() -> str:
    host = socket.gethostname()
    return host if host.isascii() and len(host) < 64 else ""
