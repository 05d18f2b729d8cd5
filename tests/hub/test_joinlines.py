"""The lines that add a machine: complete, pinned, and without a secret in what other users of the machine can see."""

from __future__ import annotations

import pytest

from nbdist.hub.joinlines import join_lines
from nbdist.wire.address import Address

LAN = Address("192.168.1.20", 8786, tls=True, key="SECRET", fingerprint="ab" * 32, also=("10.0.0.5",))
LOCAL = Address("127.0.0.1", 8786, tls=False, key="SECRET")


def test_the_lines_for_a_worker() -> None:
    assert join_lines(LAN, "PIN=") == [
        ("with nbdist installed", f"nbdist worker '{LAN.url}'"),
        (
            "Linux, macOS: any Python 3.11+",
            "curl -fsS -k --pinnedpubkey 'sha256//PIN=' https://192.168.1.20:8786/worker.pyz -o nbdist-worker.pyz"
            f" && NBDIST_INVITE='{LAN.url}' python3 nbdist-worker.pyz",
        ),
        (
            "Windows PowerShell: any Python 3.11+",
            "curl.exe -fsS -k --pinnedpubkey 'sha256//PIN=' https://192.168.1.20:8786/worker.pyz -o nbdist-worker.pyz"
            f"; $env:NBDIST_INVITE='{LAN.url}'; py -3 nbdist-worker.pyz",
        ),
    ]


def test_without_tls_nothing_is_pinned() -> None:
    assert all("pinned" not in line and "https" not in line for _, line in join_lines(LOCAL, ""))


def test_the_invite_can_be_read_back_from_every_line() -> None:
    for _, line in join_lines(LAN, "PIN="):
        assert Address.parse(line[line.index("wss://") :].split("'")[0]) == LAN


def test_notebooks_and_viewers_get_other_lines() -> None:
    assert [line for _, line in join_lines(LAN, "PIN", "notebook")] == [
        f"%distribute connect {LAN.url}",
        f"pool = nbdist.connect('{LAN.url}')",
    ]
    assert join_lines(LAN, "PIN", "viewer")[0][1] == f"nbdist status '{LAN.url}'"


def test_a_quote_never_ends_a_line_early() -> None:
    with pytest.raises(ValueError):
        join_lines(Address("evil'; rm", 1, tls=False), "")
