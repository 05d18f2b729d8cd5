"""The agent: connects the supervisor with the hub, the slots and the files of this machine. Decides nothing."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from nbdist.awake.keeper import Keeper, system_lock
from nbdist.driver import Driver
from nbdist.errors import (
    AccessError,
    AddressError,
    BlobError,
    ConnectionFailedError,
    FrameError,
    NbdistError,
    NoRoomError,
    VersionError,
)
from nbdist.wire import frames
from nbdist.wire.frames import Payload
from nbdist.wire.messages import (
    Attempt,
    BlobPlaced,
    Heartbeat,
    LoadTask,
    Message,
    Output,
    Part,
    Refused,
    RenewSlots,
    RunSlice,
    Welcome,
)
from nbdist.wire.messages.slots import LOST
from nbdist.worker import orders, places, system, transfer
from nbdist.worker.builds import Builds
from nbdist.worker.config import WorkerConfig
from nbdist.worker.dialing import Dialer, Refusal, refusal_error
from nbdist.worker.inventory import Inventory
from nbdist.worker.itemfiles import ItemFiles, not_in_place
from nbdist.worker.jobs import JobFiles
from nbdist.worker.keptparts import KeptParts
from nbdist.worker.launchers import Launchers
from nbdist.worker.orders import HUB, LOCAL, SLOT
from nbdist.worker.prepared import AGAIN_SECONDS
from nbdist.worker.preparing import Doings
from nbdist.worker.records import WorkerPolicy
from nbdist.worker.slots import SlotHost, weigh
from nbdist.worker.supervisor import Supervisor
from nbdist.worker.uplink import Uplink

ORPHAN_SECONDS = 30.0
"""A worker that was started for one hub ends when that has said that it stops and is not back after so long."""
LAST_WORDS_SECONDS = 1.0
FETCH_TRIES = 3
FETCH_PAUSE_SECONDS = 0.5
ITEM_TRIES = 4
"""… nor one that finds no room: that may be there when other items are done. The pause doubles with each try."""
"""A transfer that breaks off does not cost a machine its part in a job at once."""


START_HUB_PAUSE_SECONDS = 5.0
"""After a hub could not be started."""


class Agent:
    """A worker's I/O. Make it inside the event loop, in the main thread."""

    def __init__(self, config: WorkerConfig, say: Callable[[str], None], policy: WorkerPolicy | None = None) -> None:
        self._config = config
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._held = places.folders()
        self._folder, self._blob_folder = (folder.path for folder in self._held)
        self._builds = Builds(places.environments(), self._blob_folder / "own", config.threads, self._event)
        log = self._folder / "start.log"
        self._launcher = Launchers(partial(self._builds.launcher, log=log, fork=config.fork))
        self._hosts = [self._host(number) for number in range(config.slots)]
        self._memory_bytes = config.memory_bytes if system.WATCHES_MEMORY else 0
        policy = replace(policy or WorkerPolicy(), installer=self._builds.installer if config.installs else None)
        self._supervisor = Supervisor(config.slots, policy, memory_bytes=self._memory_bytes)
        self._driver = Driver(self._supervisor, clock=time.monotonic, send=self._send, call_at=self._call_at)
        self._uplink = Uplink()
        self._inventory = Inventory(lambda message: self._uplink.send(frames.encode(message)), self._other_packages)
        packages = self._inventory.state
        self._dialer = Dialer(config.address, config.name, config.slots, packages, installs=config.installs)
        self._keeper = Keeper(
            lambda: any(slot.running is not None for slot in self._supervisor.slots),
            clock=time.monotonic,
            call_later=lambda seconds, callback: self._loop.call_later(seconds, callback).cancel,
            lock=None if config.may_sleep else system_lock("nbdist worker"),
        )
        cache = transfer.BlobCache(self._blob_folder)
        self._doings = Doings()
        self._jobs = JobFiles(cache, self._doings)
        self._item_files = ItemFiles(cache)
        self._items: dict[Attempt, bytes] = {}
        self._parts = KeptParts()
        self._events: deque[Message] = deque()
        self._is_busy = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._done: asyncio.Future[str] = self._loop.create_future()
        self._stopped_at: float | None = None

    async def run(self) -> str:
        """Works until it is to end; gives the reason. Raises AccessError and VersionError if never taken in."""
        for send in self._supervisor.start(time.monotonic()):
            self._send(send.peer, send.message, b"")
        dialling = self._loop.create_task(self._keep_dialling())
        self._spawn(self._inventory.watch())
        try:
            await asyncio.wait((dialling, self._done), return_when=asyncio.FIRST_COMPLETED)
            if not self._done.done():
                dialling.result()
            await self._uplink.flushed(LAST_WORDS_SECONDS)
            return self._done.result()
        finally:
            await self._close(dialling)

    def leave(self, reason: str) -> None:
        """The person wants the machine back: once, finish running items; twice, at once."""
        self._event(orders.UserLeaves(reason))

    async def _close(self, dialling: asyncio.Task[None]) -> None:
        self._driver.stop()
        self._keeper.close()
        for task in (dialling, *self._tasks):
            task.cancel()
        await asyncio.gather(dialling, *self._tasks, self._builds.close(), return_exceptions=True)
        for host in self._hosts:
            host.close()
        self._launcher.close()
        for folder in self._held:
            folder.close()

    # --- the hub ----------------------------------------------------------------------------------------------------

    async def _keep_dialling(self) -> None:
        is_known = False
        failing_since: float | None = None
        while True:
            try:
                connection, welcome = await self._dialer.dial()
                if not is_known:
                    self._say(f"joined as {welcome.name}")
                is_known, failing_since = True, None
                self._stopped_at = None
                await self._converse(connection, welcome)
                self._say("the hub is gone; dialling again")
            except Refusal as refusal:
                self._refused(refusal.refused, is_known)
            except AccessError:
                if not is_known and self._config.ready_file is None:
                    raise
            except (ConnectionFailedError, AddressError) as error:
                if failing_since is None and not is_known and self._config.ready_file is None:
                    self._say(f"{error}; dialling until it answers")
                await self._start_hub()
            now = time.monotonic()
            failing_since = now if failing_since is None else failing_since
            if self._stopped_at is not None and now - self._stopped_at > ORPHAN_SECONDS:
                raise ConnectionFailedError("the hub has stopped")
            await asyncio.sleep(self._dialer.pause(now - failing_since))

    async def _start_hub(self) -> None:
        """Where the hub is the machine's own and was killed, its worker starts it again, as notebooks do."""
        ready = self._config.ready_file
        if self._config.start_hub is None or ready is None or not ready.exists():
            return  # one that has ended in order has removed its file
        try:
            await asyncio.to_thread(self._config.start_hub)
        except (NbdistError, OSError) as error:
            self._say(f"the hub cannot be started: {error}")
            await asyncio.sleep(START_HUB_PAUSE_SECONDS)

    def _refused(self, refused: Refused, is_known: bool) -> None:
        """Ends the worker if it was never taken in and dialling again cannot help."""
        error = refusal_error(refused)
        if refused.code == "stopped" and self._config.ready_file is not None and self._stopped_at is None:
            self._stopped_at = time.monotonic()
        if not is_known and isinstance(error, (AccessError, VersionError)):
            raise error
        self._say(str(error))

    async def _converse(self, connection: ClientConnection, welcome: Welcome) -> None:
        """Hears the hub until the connection ends."""
        self._uplink.open(connection)
        reason = "the connection ended"
        try:
            self._inventory.greeted(welcome)
            self._input(HUB, welcome)
            while True:
                message, payload = frames.decode(await connection.recv(decode=False))
                if isinstance(message, Refused):
                    raise Refusal(message)
                self._input(HUB, message, payload)
        except ConnectionClosed:
            return
        except FrameError as error:
            reason = str(error)
        finally:
            self._uplink.close()
            self._event(orders.HubLost(reason))
            await connection.close()

    # --- the supervisor ---------------------------------------------------------------------------------------------

    def _input(self, peer: str, message: Message, payload: Payload = b"") -> None:
        """Hands something to the supervisor, and then what came of it here."""
        if isinstance(message, RunSlice) and payload:
            self._items[message.attempt] = bytes(payload)
        self._driver.receive(peer, message, payload)
        self._drain()

    def _event(self, message: Message) -> None:
        """Something happened here. While the supervisor's orders are carried out it waits for the last of them."""
        self._events.append(message)
        self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        while self._events:
            self._driver.receive(LOCAL, self._events.popleft())

    def _call_at(self, when: float, callback: Callable[[], None]) -> Callable[[], None]:
        handle = self._loop.call_later(max(0.0, when - time.monotonic()), callback)
        return handle.cancel

    def _send(self, peer: str, message: Message, payload: Payload) -> None:
        if peer == HUB:
            self._to_hub(message, payload)
        elif peer == LOCAL:
            _ORDERS[type(message)](self, message, payload)
        else:
            self._to_slot(int(peer.removeprefix(SLOT)), message)

    def _to_hub(self, message: Message, payload: Payload) -> None:
        """Sends to the hub, with what only the agent has: payloads, and what the machine is at."""
        if isinstance(message, Output):
            self._uplink.send_if_room(frames.encode(message, payload))
            return
        if isinstance(message, Part):
            payload = self._parts.payload(message)
        elif isinstance(message, Heartbeat):
            message = self._heartbeat(message)
            payload = b""
        else:
            payload = b""
        self._uplink.send(frames.encode(message, payload))

    def _heartbeat(self, message: Heartbeat) -> Heartbeat:
        running = []
        for row in message.running:
            where = self._hosts[row.slot].where()
            running.append(replace(row, item=max(row.item, where.item)) if where.attempt == row.attempt else row)
        return Heartbeat(tuple(running), system.load_average(), system.memory_used_bytes())

    def _to_slot(self, number: int, message: Message) -> None:
        host = self._hosts[number]
        if isinstance(message, LoadTask):
            host.send(*self._jobs.load(message))
        elif isinstance(message, RunSlice):
            files = self._item_files.files(message.attempt)
            host.send(replace(message, files=files) if files else message, self._items.pop(message.attempt, b""))
        else:
            host.send(message)

    # --- slots ------------------------------------------------------------------------------------------------------

    def _host(self, number: int) -> SlotHost:
        return SlotHost(
            number,
            self._launcher,
            self._folder,
            niceness=self._config.niceness,
            work=self._blob_folder,
            deliver=lambda slot, message, payload: self._input(f"{SLOT}{slot}", message, payload),
            died=self._event,
        )

    def _start_slot(self, order: orders.StartSlot, payload: Payload) -> None:
        self._spawn(self._hosts[order.slot].start(order.environment))
        self._loop.call_soon(self._keep_environments)

    def _keep_environments(self) -> None:
        """What neither a job nor a slot needs may go."""
        needed = self._jobs.environments() | {host.environment for host in self._hosts}
        self._launcher.keep(needed)
        self._builds.keep(needed)

    def _begin_claim(self, order: orders.BeginClaim, payload: Payload) -> None:
        self._hosts[order.slot].claim.begin(order.attempt, order.start, order.stop)
        self._keeper.poke()

    def _cut_claim(self, order: orders.CutClaim, payload: Payload) -> None:
        stop = self._hosts[order.slot].cut(order.attempt, order.give)
        if stop is not None:
            self._event(orders.ClaimCut(order.slot, order.attempt, stop))

    def _look_at_item(self, order: orders.LookAtItem, payload: Payload) -> None:
        where = self._hosts[order.slot].where()
        if where.attempt == order.attempt:
            self._event(orders.ItemSeen(order.slot, where.attempt, where.item, where.began))

    def _look_at_memory(self, order: orders.LookAtMemory, payload: Payload) -> None:
        self._spawn(self._weigh(order.slots))

    async def _weigh(self, slots: Sequence[int]) -> None:
        self._event(await weigh([self._hosts[slot] for slot in slots], enough=self._memory_bytes))

    # --- files ------------------------------------------------------------------------------------------------------

    def _get_ready(self, order: orders.GetReady, payload: Payload) -> None:
        self._jobs.begin(order, bytes(payload))
        lacking = None if order.environment else self._jobs.lacking(order)
        if lacking is not None:
            self._event(orders.JobNotInPlace(order.job, *lacking))
        elif order.task is None and not order.blobs:
            self._event(orders.JobInPlace(order.job))
        else:
            self._spawn(self._fetch(order.job))

    async def _fetch(self, job: str) -> None:
        hub = self._dialer.hub
        assert hub is not None
        for left in reversed(range(FETCH_TRIES)):
            try:
                if await self._jobs.fetch(job, hub):
                    self._event(orders.JobInPlace(job))
                return
            except (OSError, BlobError, AccessError) as error:
                if self._dialer.hub is not hub:
                    return  # it has been lost, and will ask again
                if not left or isinstance(error, AccessError):
                    self._event(orders.JobNotInPlace(job, f"its data did not come: {error}", "", AGAIN_SECONDS))
                    return
            await asyncio.sleep(FETCH_PAUSE_SECONDS)

    def _other_packages(self, is_update: bool) -> None:
        self._jobs.look_again()
        if is_update:
            self._input(HUB, RenewSlots())  # no slot goes on with an old version

    def _drop_job(self, order: orders.DropJob, payload: Payload) -> None:
        self._jobs.drop(order.job)
        self._keep_environments()

    def _fetch_items(self, order: orders.FetchItems, payload: Payload) -> None:
        self._item_files.begin(order.attempt, order.blobs)
        self._spawn(self._get_items(order))

    async def _get_items(self, order: orders.FetchItems) -> None:
        """Gets the blobs of a slice; while the hub is away, it waits for that."""
        tries = 0
        while self._item_files.is_wanted(order.attempt):
            hub = self._dialer.hub
            assert hub is not None
            try:
                await self._item_files.fetch(order.attempt, order.blobs, hub)
                self._event(orders.ItemsInPlace(order.attempt))
                return
            except (OSError, NoRoomError) as error:
                tries = tries + 1 if self._uplink.is_open else 0
                if tries >= ITEM_TRIES:
                    self._event(not_in_place(order.attempt, error, self._blob_folder))
                    return
            except (BlobError, AccessError) as error:
                self._event(orders.ItemsNotInPlace(order.attempt, str(error), is_gone=True))
                return
            await asyncio.sleep(FETCH_PAUSE_SECONDS * 2**tries)

    def _drop_items(self, order: orders.DropItems, payload: Payload) -> None:
        self._items.pop(order.attempt, None)
        self._item_files.drop(order.attempt)

    def _place_blob(self, order: orders.PlaceBlob, payload: Payload) -> None:
        if order.path.startswith(LOST):
            self._event(orders.BlobNotInPlace(order.attempt, order.start, order.path.removeprefix(LOST)))
            return
        self._parts.keep_file(order)
        self._spawn(self._place(order))

    async def _place(self, order: orders.PlaceBlob) -> None:
        hub = self._dialer.hub
        assert hub is not None
        try:
            is_in_folder = await asyncio.to_thread(transfer.put, hub, order.blob, Path(order.path))
        except OSError as error:
            self._say(f"a result does not reach the hub: {error}")
            self._uplink.abort()  # a new connection begins with all that is not acknowledged
            return
        except BlobError as error:
            self._event(orders.BlobNotInPlace(order.attempt, order.start, str(error)))
            return
        if is_in_folder:
            self._uplink.send(frames.encode(BlobPlaced(order.blob)))
        self._event(orders.BlobInPlace(order.attempt, order.start))

    def _tell(self, order: orders.Say, payload: Payload) -> None:
        self._say(order.text)

    def _quit(self, order: orders.Quit, payload: Payload) -> None:
        if not self._done.done():
            self._done.set_result(order.reason)

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_ORDERS: dict[type[Message], Callable[[Agent, Any, Payload], None]] = {
    orders.StartSlot: Agent._start_slot,
    orders.BeginClaim: Agent._begin_claim,
    orders.CutClaim: Agent._cut_claim,
    orders.InterruptSlot: lambda agent, order, _: agent._hosts[order.slot].interrupt(order.attempt),
    orders.KillSlot: lambda agent, order, _: agent._hosts[order.slot].kill(),
    orders.NudgeSlot: lambda agent, order, _: agent._hosts[order.slot].nudge(),
    orders.LookAtItem: Agent._look_at_item,
    orders.LookAtMemory: Agent._look_at_memory,
    orders.GetReady: Agent._get_ready,
    orders.LookAtJob: lambda self, order, _: self._event(orders.JobSeen(order.job, self._doings.of(order.job))),
    orders.DropJob: Agent._drop_job,
    orders.BuildEnvironment: lambda agent, order, _: agent._builds.begin(order),
    orders.CancelBuild: lambda agent, order, _: agent._builds.cancel(order),
    orders.LookForModules: lambda agent, order, _: agent._builds.look(order, agent._jobs.installed_modules(order.job)),
    orders.FetchItems: Agent._fetch_items,
    orders.DropItems: Agent._drop_items,
    orders.KeepPart: lambda agent, order, payload: agent._parts.keep(order, payload),
    orders.PlaceBlob: Agent._place_blob,
    orders.DropParts: lambda agent, order, _: agent._parts.drop(order),
    orders.Say: Agent._tell,
    orders.Quit: Agent._quit,
}
