"""The lines that a person types on another machine to add it. Pure."""

from __future__ import annotations

from nbdist.wire.address import Address
from nbdist.wire.messages import Role

PYZ_PATH = "/worker.pyz"
PYZ_FILE = "nbdist-worker.pyz"


def join_lines(invite: Address, key_pin: str, role: Role = "worker") -> list[tuple[str, str]]:
    """Pairs of a label and a line. `key_pin`: the certificate's for curl (`tls.Certificate`); empty without TLS."""
    if role == "notebook":
        return [
            ("in a notebook", f"%distribute connect {invite.url}"),
            ("in Python", f"pool = nbdist.connect({invite.url!r})"),
        ]
    if role == "viewer":
        return [("show the pool", f"nbdist status {_quoted(invite.url)}")]
    return [
        ("with nbdist installed", f"nbdist worker {_quoted(invite.url)}"),
        ("Linux, macOS: any Python 3.11+", _shell(invite, key_pin)),
        ("Windows PowerShell: any Python 3.11+", _powershell(invite, key_pin)),
    ]


def _fetch(curl: str, invite: Address, key_pin: str) -> str:
    """Gets the worker's one file. The certificate is self-signed: its key is checked instead of its signature."""
    scheme = "https" if invite.tls else "http"
    pinned = f"-k --pinnedpubkey {_quoted('sha256//' + key_pin)} " if invite.tls else ""
    return f"{curl} -fsS {pinned}{scheme}://{invite.netloc}{PYZ_PATH} -o {PYZ_FILE}"


def _shell(invite: Address, key_pin: str) -> str:
    """The invite goes by the environment: a command line can be seen by every user of that machine."""
    return f"{_fetch('curl', invite, key_pin)} && NBDIST_INVITE={_quoted(invite.url)} python3 {PYZ_FILE}"


def _powershell(invite: Address, key_pin: str) -> str:
    return f"{_fetch('curl.exe', invite, key_pin)}; $env:NBDIST_INVITE={_quoted(invite.url)}; py -3 {PYZ_FILE}"


def _quoted(text: str) -> str:
    """In single quotes, for a POSIX shell and for PowerShell: addresses and pins have no quotes in them."""
    if "'" in text:
        raise ValueError("an address with a quote in it")
    return f"'{text}'"
