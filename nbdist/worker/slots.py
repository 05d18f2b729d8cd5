"""The agent's end of its slots: their processes, sockets and claims."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from nbdist.errors import FrameError, NbdistError
from nbdist.wire import frames
from nbdist.wire.frames import Payload
from nbdist.wire.messages import Attempt, Message
from nbdist.worker import link, system
from nbdist.worker.claim import AgentClaim, Where
from nbdist.worker.orders import MemoryUsed, SlotDied
from nbdist.worker.outbox import draft_prefix
from nbdist.worker.processes import Launcher, SlotProcess
from nbdist.worker.setup import SlotSetup

STDERR_TAIL_BYTES = 4096
"""Of what a process wrote before it died, for the error."""
EXIT_SECONDS = 1.0
"""A process that has closed its socket has so long to end."""


class SlotHost:
    """One slot, whichever process it has at the moment.

    `deliver` is given what the process says; `died` is called once for each process that ends or does not start.
    """

    def __init__(
        self,
        number: int,
        launcher: Launcher,
        folder: Path,
        *,
        niceness: int,
        work: Path | None = None,
        deliver: Callable[[int, Message, Payload], None],
        died: Callable[[SlotDied], None],
    ) -> None:
        self.number = number
        self.claim = AgentClaim(folder / f"slot-{number}.claim")
        self._launcher = launcher
        self._output = folder / f"slot-{number}"
        self._setup = SlotSetup(
            claim=str(folder / f"slot-{number}.claim"),
            spool=str(folder),
            output=str(self._output),
            cwd=str(Path.cwd()),
            work=str((work or folder) / f"slot-{number}.work"),
            niceness=niceness,
        )
        self._deliver = deliver
        self._died = died
        self._process: SlotProcess | None = None
        self._transport: asyncio.Transport | None = None
        self._launching: asyncio.Future[SlotProcess] | None = None
        self._is_given_up = self._is_up = False

    @property
    def environment(self) -> str:
        """In which its process runs, or ran; empty: the worker's own."""
        return self._setup.environment

    async def start(self, environment: str = "") -> None:
        """Gives the slot a process, in this environment."""
        self._setup = replace(self._setup, environment=environment)
        self._clear_output()
        self._is_given_up = self._is_up = False
        self._launching = asyncio.ensure_future(self._launcher.start(self._setup))
        try:
            self._process = process = await self._launching
        except (OSError, NbdistError) as error:
            self._never_started(f"cannot start a process: {error}")
            return
        except asyncio.CancelledError:
            if not self._is_given_up:
                raise
            self._never_started("no process came")
            return
        finally:
            self._launching = None
        loop = asyncio.get_running_loop()
        protocol = _SlotProtocol(self)
        self._transport, _ = await loop.create_connection(lambda: protocol, sock=process.sock)
        process.ended.add_done_callback(functools.partial(self._ended, process, self._transport))

    def _never_started(self, reason: str) -> None:
        self._died(SlotDied(self.number, -1, reason, self._launcher.last_words()))

    def _ended(self, process: SlotProcess, transport: asyncio.Transport, _: asyncio.Future[str]) -> None:
        """The process is gone. What it has forked may hold its socket open: nobody waits for that."""
        if process is self._process:
            system.kill_rest(process.pid)
            asyncio.get_running_loop().call_later(EXIT_SECONDS, transport.abort)

    def _clear_output(self) -> None:
        for number in (1, 2):
            Path(f"{self._output}.{number}").write_bytes(b"")

    def send(self, message: Message, payload: Payload = b"") -> None:
        """Sends a message, if the process is there."""
        if self._transport is not None:
            self._transport.write(link.pack(message, payload))

    def interrupt(self, attempt: Attempt) -> None:
        """Stops this attempt, if it still runs."""
        self.claim.cancel(attempt)
        self.nudge()

    def nudge(self) -> None:
        """Lets the slot look whether there is something that it is to stop."""
        if self._process is not None:
            system.interrupt(self._process.pid)

    def kill(self) -> None:
        """Ends the process and what it has started; if it is still to come, nobody waits for it any more."""
        if self._process is not None:
            system.kill(self._process.pid)
        elif self._launching is not None:
            self._is_given_up = True
            self._launching.cancel()

    def cut(self, attempt: Attempt, give: float) -> int | None:
        """Takes a share of what the slot has not claimed of the attempt; None if it is at another."""
        return self.claim.cut(give) if self.claim.attempt == attempt else None

    def where(self) -> Where:
        """What the slot is at."""
        return self.claim.where()

    @property
    def pid(self) -> int | None:
        """Its process; None while it has none."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """Ends the process for good."""
        self._died = lambda event: None
        self.kill()
        self._process = None
        if self._transport is not None:
            self._transport.abort()
        self.claim.close()

    def received(self, frame: bytes) -> None:
        """A frame from the process. One that makes no sense ends it."""
        try:
            message, payload = frames.decode(frame)
        except FrameError:
            self.kill()
            return
        self._is_up = True
        self._deliver(self.number, message, payload)

    async def lost(self) -> None:
        """The process has closed its socket."""
        process, self._process, self._transport = self._process, None, None
        if process is None:
            return
        try:
            reason = await asyncio.wait_for(asyncio.shield(process.ended), EXIT_SECONDS)
        except TimeoutError:
            system.kill(process.pid)
            reason = "it closed its connection"
        system.kill_rest(process.pid)
        self._remove_drafts(process.pid)
        words = self._stderr_tail() or ("" if self._is_up else self._launcher.last_words())
        where = self.claim.where()
        self._died(SlotDied(self.number, where.item, reason, words, where.began))

    def _remove_drafts(self, pid: int) -> None:
        for draft in Path(self._setup.spool).glob(f"{draft_prefix(pid)}*"):
            draft.unlink(missing_ok=True)

    def _stderr_tail(self) -> str:
        try:
            with open(f"{self._output}.2", "rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - STDERR_TAIL_BYTES))
                return file.read().decode("utf-8", "replace").strip()
        except OSError:
            return ""


async def weigh(hosts: Sequence[SlotHost], *, enough: int) -> MemoryUsed:
    """What these slots use (`system.slot_memory_bytes`)."""
    pids = [host.pid for host in hosts]
    used = await asyncio.to_thread(
        lambda: [system.slot_memory_bytes(pid, enough=enough) if pid is not None else 0 for pid in pids]
    )
    rows = zip(hosts, pids, used, strict=True)
    # not of a process that is gone meanwhile: another is in its place
    return MemoryUsed(tuple((host.number, amount) for host, pid, amount in rows if host.pid == pid))


class _SlotProtocol(asyncio.Protocol):
    def __init__(self, host: SlotHost) -> None:
        self._host = host
        self._splitter = link.Splitter()
        self._ending: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        try:
            complete = self._splitter.feed(data)
        except FrameError:
            self._host.kill()
            return
        for frame in complete:
            self._host.received(frame)

    def connection_lost(self, error: Exception | None) -> None:
        self._ending = asyncio.ensure_future(self._host.lost())
