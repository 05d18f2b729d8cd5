"""The ports on which the hub listens: on this machine only, on the LAN with TLS, or on both."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from nbdist.errors import NbdistError
from nbdist.hub.addresses import lan_addresses
from nbdist.hub.statedir import StateDir
from nbdist.hub.tls import Certificate, ensure_certificate
from nbdist.hub.visitors import LOOPBACK_HOSTS
from nbdist.wire.address import Address
from nbdist.wire.sockets import harden

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"
PORTS_FILE = "ports.json"
MAIN, LAN = "port", "lan_port"
NAMES_SECONDS = 2.0
"""Finding the machine's addresses by its name may take so long; afterwards those found by routes must do."""

log = logging.getLogger("nbdist.hub")


class Ports:
    """Opens and closes ports; knows under which addresses the hub is reached."""

    def __init__(self, state: StateDir, make_server: Callable[[ssl.SSLContext | None], HTTPServer]) -> None:
        self._state = state
        self._make_server = make_server
        self._main_port = 0
        self._lan_port = 0
        self._lan_server: HTTPServer | None = None
        self._servers: list[HTTPServer] = []
        self._lan_hosts: list[str] = []
        self.certificate: Certificate | None = None

    async def open(self, port: int, *, lan: bool) -> None:
        """Opens the hub's port. Raises NbdistError if it is taken."""
        if lan:
            await self._open_tls(port, MAIN)
            self._main_port = self._lan_port
            return
        sockets = self._bind(port, LOOPBACK, MAIN)
        self._main_port = sockets[0].getsockname()[1]
        server = self._make_server(None)
        server.add_sockets(sockets)
        self._servers.append(server)

    async def open_lan(self) -> None:
        """Opens the port on the LAN, unless it is open. Raises NbdistError."""
        if self._lan_server is None:
            await self._open_tls(0, LAN)

    def close_lan(self) -> None:
        """Shuts the port on the LAN; does nothing for a hub that was started on the LAN. Connections stay."""
        if self._lan_server is not None and self._lan_port != self._main_port:
            self._lan_server.stop()
            self._servers.remove(self._lan_server)
            self._lan_server = None
            self._lan_hosts = []

    def close(self) -> None:
        """Shuts all ports."""
        for server in self._servers:
            server.stop()

    def hosts(self) -> set[str]:
        """The names and addresses to which the hub answers now."""
        if self._lan_server is None:
            return set(LOOPBACK_HOSTS)
        name = socket.gethostname().lower()
        return {*LOOPBACK_HOSTS, *self._lan_hosts, name, f"{name}.local", f"{name.split('.')[0]}.local"}

    def address(self, key: str) -> Address:
        """Where peers on this machine dial; with the hub on the LAN, where all do."""
        if self._main_port == self._lan_port:
            return self.lan_address(key)
        return Address(LOOPBACK, self._main_port, tls=False, key=key)

    def lan_address(self, key: str) -> Address:
        """Where peers on the LAN dial; the port there must be open."""
        assert self.certificate is not None
        best, *others = [*self._lan_hosts, LOOPBACK]
        also = tuple(host for host in others if host != LOOPBACK or self._main_port == self._lan_port)
        return Address(best, self._lan_port, tls=True, key=key, fingerprint=self.certificate.fingerprint, also=also)

    async def _open_tls(self, port: int, name: str) -> None:
        loop = asyncio.get_running_loop()
        self.certificate = await loop.run_in_executor(None, ensure_certificate, self._state)
        try:
            found = await asyncio.wait_for(loop.run_in_executor(None, lan_addresses), NAMES_SECONDS)
        except TimeoutError:
            found = lan_addresses(by_name=False)
        if not found:
            log.warning("this machine seems to have no address on a LAN: only workers on it can join")
        if self._lan_server is not None:
            return  # two asked at once
        sockets = self._bind(port, EVERYWHERE, name)
        server = self._make_server(self.certificate.context)
        server.add_sockets(sockets)
        self._servers.append(server)
        self._lan_server, self._lan_hosts = server, found
        self._lan_port = sockets[0].getsockname()[1]

    def _bind(self, port: int, host: str, name: str) -> list[socket.socket]:
        """Sockets on the port that was asked for; if none was, on the one of last time, or on any."""
        remembered = self._state.read(PORTS_FILE)
        last = remembered.get(name)
        candidates = [port] if port else [*([last] if isinstance(last, int) else []), 0]
        for candidate in candidates:
            try:
                sockets = bind_sockets(candidate, host, family=socket.AF_INET)
            except (OSError, OverflowError) as error:
                problem = error
                continue
            for one in sockets:
                harden(one)
            self._state.write(PORTS_FILE, {**remembered, name: sockets[0].getsockname()[1]})
            return sockets
        raise NbdistError(f"port {port} is not free ({problem}): choose another with --port N, or --port 0 for any")
