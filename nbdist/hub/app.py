"""The hub's process: puts the rooms together, opens the port, says that it is ready, and ends in order."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import ssl
import sys
import time
from collections.abc import Callable, Sequence

from tornado.httpserver import HTTPServer
from tornado.web import Application

from nbdist import __version__
from nbdist.awake.keeper import Keeper, system_lock
from nbdist.errors import NbdistError
from nbdist.folders import HeldFolder
from nbdist.hub import web
from nbdist.hub.access import INVITE_SECONDS, Access, login_path
from nbdist.hub.archive import Archive
from nbdist.hub.blobdoor import PIECE_BYTES, BlobDoor
from nbdist.hub.blobs import BlobStore
from nbdist.hub.config import HubConfig, parse
from nbdist.hub.doors import SocketDoor
from nbdist.hub.keys import ACCESS_FILE, Keys, open_access
from nbdist.hub.lifetime import Lifetime
from nbdist.hub.pages import doors as pages
from nbdist.hub.pages.recording import SAMPLE_SECONDS
from nbdist.hub.pages.view import View
from nbdist.hub.ports import Ports
from nbdist.hub.requests import Requests
from nbdist.hub.rooms import Rooms
from nbdist.hub.saver import Saver
from nbdist.hub.scheduling import SchedulingMachine
from nbdist.hub.statedir import StateBusyError, StateDir, shared_folder, write_private
from nbdist.hub.stores import Stores
from nbdist.hub.switchboard import Identity, Switchboard
from nbdist.scheduler.machine import Scheduler
from nbdist.wire.address import SOCKET_PATH
from nbdist.wire.frames import MAX_FRAME_BYTES

EXIT_BUSY = 3
"""Another hub holds the state directory."""
EXIT_FAILED = 2
MAX_BUFFER_BYTES = 4 * 1024 * 1024
"""Of one connection, for what has come and is not read yet. Must exceed a frame."""
MAX_HEADER_BYTES = 16 * 1024
EXPIRE_PAUSE_SECONDS = 600.0
"""How often jobs that were over a long time ago are looked for, at most ten times while one is kept."""
IDLE_CONNECTION_SECONDS = 60.0
"""A connection that has not asked for anything by then is closed (a websocket has)."""

log = logging.getLogger("nbdist.hub")


def main(argv: Sequence[str]) -> int:
    """`nbdist hub`: runs until it is told to end; gives the exit code."""
    return run_hub(parse(argv))


def run_hub(config: HubConfig) -> int:
    """Runs a hub until its end. 0: it was told to end; 2: it could not start; 3: its state directory is in use."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="nbdist hub: %(message)s")
    logging.getLogger("tornado.general").setLevel(logging.ERROR)  # it reports each port scan
    try:
        state = StateDir(config.state)
    except StateBusyError as error:
        log.error("%s", error)
        return EXIT_BUSY
    except OSError as error:
        log.error("the state directory cannot be used: %s; choose another with --state DIR", error)
        return EXIT_FAILED
    try:
        asyncio.run(_run(config, state))
    except (NbdistError, OSError) as error:
        log.error("%s", error)
        return EXIT_FAILED
    finally:
        state.close()
    return 0


async def _run(config: HubConfig, state: StateDir) -> None:
    lifetime = Lifetime()
    lifetime.watch_signals()
    if config.die_with_parent:
        lifetime.watch_parent()
    hub = Hub(config, state, lifetime)
    try:
        await hub.start()
        _check_speedups()
        gc.collect()
        gc.freeze()
        await lifetime.wait()
    finally:
        await hub.stop()


class Hub:
    """All rooms of one hub. `machine` is the scheduler, or what stands for it in a test."""

    def __init__(
        self,
        config: HubConfig,
        state: StateDir,
        lifetime: Lifetime,
        machine: Callable[[int], SchedulingMachine] | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._config = config
        self._lifetime = lifetime
        self._saver = Saver(lambda: state.write(ACCESS_FILE, access.table()), loop.call_later)
        access = Access(time.time, self._saver.changed)
        self.keys: Keys = open_access(state, access, embedded=config.embedded)
        self._saver.flush()  # what will be printed must be good after a crash
        self._shared = _shared_folder(config, state)
        folder = self._shared.path if self._shared else config.blobs or state.path / "blob-store"
        limits = config.limits
        self.blobs = BlobStore(folder, limits.cache_bytes, in_memory=self._shared is not None)
        identity = Identity(self.keys.hub, state.next_epoch(), __version__)
        scheduler = machine(identity.epoch) if machine is not None else Scheduler(identity.epoch, limits.policy)
        self.board = Switchboard(
            identity,
            scheduler,
            Stores(self.blobs, Archive(state.path, limits.keep_seconds), limits),
            clock=loop.time,
            call_at=lambda when, callback: loop.call_at(when, callback).cancel,
            call_soon=loop.call_soon,
        )
        self.ports = Ports(state, self._make_server)
        self.view = View(scheduler, self.board.describe, loop.time)
        self.board.printed = self.view.printed
        self.rooms = Rooms(self.board, access, self.blobs, self.ports.hosts, self.view, __version__)
        self.board.requests = Requests(self.board, access, self.ports, lambda job: scheduler.row(job, loop.time()))
        self.board.changed = self._changed
        self._keeper = Keeper(
            lambda: bool(self.board.stores.unfinished()),
            clock=loop.time,
            call_later=lambda seconds, callback: loop.call_later(seconds, callback).cancel,
            lock=None if config.may_sleep else system_lock("nbdist hub"),
        )
        self._application = make_application(self.rooms)
        self._expiry_seconds = min(EXPIRE_PAUSE_SECONDS, limits.keep_seconds / 10)
        self._expiry = loop.call_later(self._expiry_seconds, self._expire)
        self._sampling = loop.call_later(SAMPLE_SECONDS, self._sample)

    async def start(self) -> None:
        """Takes up what an earlier hub has left here, opens the port and says so."""
        self.board.restore()
        self.board.expire()
        await self.ports.open(self._config.port, lan=self._config.lan)
        connect, invite = self.ports.address(self.keys.notebook).url, self.ports.address(self.keys.invite).url
        if self._config.ready_file is not None:
            ready = {"connect": connect, "invite": invite, "pid": os.getpid(), "version": __version__}
            write_private(self._config.ready_file, json.dumps(ready).encode())
        print(f"connect {connect}\ninvite {invite}", flush=True)
        if sys.stderr.isatty():  # for a person; a log gets no secret
            code = self.rooms.access.make_login_code("notebook", INVITE_SECONDS)
            address = self.ports.address("")
            page = f"{'https' if address.tls else 'http'}://{address.netloc}{login_path(code)}"
            print(f"status page (the link works once): {page}", file=sys.stderr)
        self._changed()

    async def stop(self) -> None:
        """Says good-bye, shuts the ports, and leaves nothing behind that the next hub here does not need."""
        self._expiry.cancel()
        self._sampling.cancel()
        self._keeper.close()
        self.ports.close()
        self.board.stop()
        await asyncio.sleep(0)  # the good-byes go out
        self.board.stores.close()
        self.blobs.close()
        self._saver.flush()
        if self._shared is not None:
            self._shared.close(keep=self.blobs.is_pinned)
        if self._config.ready_file is not None:
            self._config.ready_file.unlink(missing_ok=True)

    def _expire(self) -> None:
        self.board.expire()
        self._expiry = asyncio.get_running_loop().call_later(self._expiry_seconds, self._expire)

    def _sample(self) -> None:
        self.view.sample()
        self._sampling = asyncio.get_running_loop().call_later(SAMPLE_SECONDS, self._sample)

    def _make_server(self, context: ssl.SSLContext | None) -> HTTPServer:
        return HTTPServer(
            self._application,
            ssl_options=context,
            max_buffer_size=MAX_BUFFER_BYTES,
            max_header_size=MAX_HEADER_BYTES,
            max_body_size=web.MAX_BODY_BYTES,
            chunk_size=PIECE_BYTES,
            idle_connection_timeout=IDLE_CONNECTION_SECONDS,
        )

    def _changed(self) -> None:
        """Peers or jobs have come or gone."""
        self._keeper.poke()
        if self._config.embedded:
            peers = self.board.peers
            used = any(peer.role == "notebook" or peer.link.is_remote for peer in peers)
            self._lifetime.idle(not used and not self.board.stores.unfinished())


def _shared_folder(config: HubConfig, state: StateDir) -> HeldFolder | None:
    """A folder in shared memory, if blobs have no place of their own and there is one."""
    if config.blobs is not None:
        return None
    try:
        return shared_folder(state)
    except OSError:
        return None


def make_application(rooms: Rooms) -> Application:
    """The doors of a hub."""
    shared = {"rooms": rooms}
    return Application(
        [
            (SOCKET_PATH, SocketDoor, shared),
            (r"/blobs/([^/]+)", BlobDoor, shared),
            (r"/join", web.JoinDoor, shared),
            (r"/api/pool", web.PoolDoor, shared),
            (r"/api/explain", web.ExplainDoor, shared),
            *pages.routes(shared),
        ],
        default_handler_class=web.NothingHere,
        default_handler_args=shared,
        websocket_max_message_size=MAX_FRAME_BYTES,
        log_function=_no_request_log,
    )


def _no_request_log(handler: object) -> None:
    """Requests are not logged: who wants to know about jobs asks the pool."""


def _check_speedups() -> None:
    try:
        import tornado.speedups  # noqa: F401
    except ImportError:
        log.warning("Tornado's compiled part is missing: large messages will be slow (python -m pip install tornado)")
