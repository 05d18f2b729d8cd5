"""TLS: a hub on the LAN, the port that an invite opens, and an impostor who learns nothing."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import http.client
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hubs import WithHub

from nbdist.hub.addresses import lan_addresses, order
from nbdist.hub.statedir import StateDir
from nbdist.hub.tls import ensure_certificate
from nbdist.wire.address import Address
from nbdist.wire.messages import Answer, CloseInvites, MakeInvite, Welcome
from nbdist.wire.tls import FingerprintError, pinned_context

pytestmark = pytest.mark.real


def test_the_certificate_is_made_once_and_is_private(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    first, second = ensure_certificate(state), ensure_certificate(state)
    assert (first.fingerprint, first.key_pin) == (second.fingerprint, second.key_pin)
    assert (tmp_path / "hub-key.pem").stat().st_mode & 0o777 == 0o600
    state.close()


def test_a_hub_on_the_lan_speaks_tls_only(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        address = hub.notebook
        assert address.tls
        assert "127.0.0.1" in (address.host, *address.also)
        async with hub.client("notebook", "n1") as notebook:
            assert isinstance(notebook.log[0][0], Welcome)
        status, _, _ = await hub.request("GET", "/api/pool", hub.hub.keys.notebook)
        assert status == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"200 OK" not in await asyncio.wait_for(reader.read(), 10)
        writer.close()

    loopback_only(with_hub)(scenario, lan=True)


def loopback_only(with_hub: WithHub) -> WithHub:
    """The clients of these tests dial 127.0.0.1, which a hub on the LAN answers too."""

    def run(scenario: Callable[[Any], Any], **config: Any) -> None:
        async def local(hub: Any) -> None:
            ports = hub.hub.ports
            before = ports.lan_address
            ports.lan_address = lambda key: replace(before(key), host="127.0.0.1", also=("127.0.0.1",))
            await scenario(hub)

        with_hub(local, **config)

    return run


def test_an_invite_opens_the_lan_port_and_closing_shuts_it(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.client("notebook", "n1") as notebook:
            await notebook.send(MakeInvite(1, uses=1))
            answer, payload = await notebook.until(Answer)
            assert answer.error == ""
            invite = json.loads(payload)
            address = Address.parse(invite["url"])
            assert address.tls
            assert len(invite["lines"]) == 3
            assert await dial(address.port, address.fingerprint)
            await notebook.send(CloseInvites(2))
            await notebook.until(Answer)
            with pytest.raises(OSError):
                await dial(address.port, address.fingerprint)
            body = json.dumps({"name": "x", "peer": "w1"}).encode()
            assert (await hub.request("POST", "/join", address.key, body))[0] == 401
            await notebook.send(MakeInvite(3))
            again = json.loads((await notebook.until(Answer))[1])
            assert Address.parse(again["url"]).port == address.port

    with_hub(scenario)


async def dial(port: int, fingerprint: str) -> bool:
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=pinned_context(fingerprint))
    writer.close()
    return True


def test_a_bad_invite_is_answered_with_the_reason(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.client("notebook", "n1") as notebook:
            await notebook.send(MakeInvite(1, uses=-1))
            assert "0 (any number of)" in (await notebook.until(Answer))[0].error
            assert hub.hub.ports.certificate is None

    with_hub(scenario)


def test_an_impostor_learns_nothing(tmp_path: Path) -> None:
    """The fingerprint is checked before a byte of the application goes out."""

    states = [StateDir(tmp_path / name) for name in ("real", "impostor")]
    real, impostor = map(ensure_certificate, states)
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(60)

    def listen() -> None:
        connection, _ = listener.accept()
        connection.settimeout(60)
        try:
            with impostor.context.wrap_socket(connection, server_side=True) as channel:
                heard.append(channel.recv(1000))
        except OSError:
            heard.append(b"")

    thread = threading.Thread(target=listen)
    thread.start()
    client = http.client.HTTPSConnection(*listener.getsockname(), context=pinned_context(real.fingerprint), timeout=60)
    with pytest.raises(FingerprintError, match="another computer answers there"):
        client.request("GET", "/", headers={"Authorization": "Bearer SECRET"})
    client.close()
    thread.join(20)
    assert heard == [b""]
    listener.close()
    for state in states:
        state.close()


def key_pin_of(certificate: Path) -> str:
    """The SHA-256 of the public key in a certificate's file, base64."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    data = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def test_curl_accepts_the_pinned_key_and_no_other(with_hub: WithHub, tmp_path: Path) -> None:
    curl = shutil.which("curl")

    async def scenario(hub: Any) -> None:
        pin = hub.hub.ports.certificate.key_pin
        assert pin == key_pin_of(tmp_path / "state" / "hub-cert.pem")
        if curl is None:
            return
        url = hub.http("/assets/style.css")

        def fetch(pin: str) -> int:
            command = [curl, "-fsS", "-k", "--pinnedpubkey", f"sha256//{pin}", url, "-o", "-"]
            return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode

        assert await asyncio.to_thread(fetch, pin) == 0
        assert await asyncio.to_thread(fetch, "A" * 43 + "=") == 90

    with_hub(scenario, lan=True)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["127.0.0.1", "0.0.0.0", "::1", "nonsense", ""], []),
        (["172.17.0.1", "192.168.1.20", "192.168.1.20"], ["192.168.1.20", "172.17.0.1"]),
        (["169.254.3.4", "8.8.8.8", "10.0.0.5"], ["10.0.0.5", "8.8.8.8", "169.254.3.4"]),
        (["10.0.0.5", "192.168.1.20"], ["10.0.0.5", "192.168.1.20"]),
    ],
)
def test_addresses_that_others_can_dial_come_first(found: list[str], expected: list[str]) -> None:
    assert order(found) == expected


@pytest.mark.skipif(not hasattr(socket, "if_nameindex"), reason="interfaces are asked on POSIX systems only")
def test_an_address_is_found_without_routes_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = set(lan_addresses())
    monkeypatch.setattr("nbdist.hub.addresses._ROUTES", ())
    assert set(lan_addresses(by_name=False)) >= everywhere - {"127.0.1.1"}
