"""Slots as processes: how they start and how their end is noticed.

`launcher` picks the way: on Linux a single-threaded fork
server that has loaded what a slot needs; elsewhere a process of its own for each slot, with one started ahead.
Slots die with their agent, and user code can start processes of its own in them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import nbdist
from nbdist.errors import NbdistError
from nbdist.worker import system
from nbdist.worker.setup import REQUEST_BYTES, SlotSetup

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)
"""Libraries read these when they are loaded, and would otherwise start a thread for each core in each slot."""

MAX_LOG_BYTES = 64 * 1024
LAST_WORDS_BYTES = 4096


@dataclass(eq=False)
class SlotProcess:
    """A slot that has been started."""

    pid: int
    sock: socket.socket
    """The agent's end."""
    ended: asyncio.Future[str]
    """Why it has ended, for people."""


class Launcher(Protocol):
    """Starts slots."""

    async def start(self, setup: SlotSetup) -> SlotProcess:
        """Starts one. Raises OSError or NbdistError. May be cancelled when that takes too long."""

    def last_words(self) -> str:
        """The end of what processes wrote to stderr before they were slots."""

    def close(self) -> None:
        """Ends what it keeps running itself, and with it all slots."""


def launcher(environment: Mapping[str, str], log: Path, *, fork: bool | None = None, python: str = "") -> Launcher:
    """The launcher for this machine; `fork` chooses another. Call it in the main thread, inside the event loop.

    `log` is a file for what processes write before they are slots; `python` another interpreter than this one.
    """
    kind = ForkServer if (system.CAN_FORK if fork is None else fork) else Spawner
    return kind(environment, log, python or sys.executable)


def slot_environment(threads: int) -> dict[str, str]:
    """The environment of slots: this one's, with the path to nbdist and the limits on threads."""
    environment = dict(os.environ)
    environment.pop("NBDIST_INVITE", None)
    for unwanted in ("PYTHONUNBUFFERED", "PYTHONSAFEPATH", "PYTHONSTARTUP"):
        environment.pop(unwanted, None)
    root = str(Path(nbdist.__file__).parent.parent)
    paths = [root, *environment.get("PYTHONPATH", "").split(os.pathsep)]
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))
    environment.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    return environment


class _Log:
    """What processes write to stderr before they are slots, which have files of their own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self) -> BinaryIO:
        """To be written to by one more process. Begins anew when it has become long."""
        with contextlib.suppress(OSError):
            if self._path.stat().st_size > MAX_LOG_BYTES:
                os.truncate(self._path, 0)
        return self._path.open("ab")

    def tail(self) -> str:
        """The end of it."""
        try:
            return self._path.read_bytes()[-LAST_WORDS_BYTES:].decode("utf-8", "replace").strip()
        except OSError:
            return ""


class ForkServer:
    """Starts slots by forking a process that has loaded what they need. Linux."""

    def __init__(self, environment: Mapping[str, str], log: Path, python: str = sys.executable) -> None:
        self._python = python
        self._loop = asyncio.get_running_loop()
        self._log = _Log(log)
        self._environment = dict(environment)
        self._starting: list[asyncio.Future[int]] = []
        self._ended: dict[int, asyncio.Future[str]] = {}
        self._open()

    def _open(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, self._log.open() as log:
            self._server = subprocess.Popen(
                [self._python, "-P", "-m", "nbdist.worker.forkserver", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=self._environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._control.setblocking(False)
        self._loop.add_reader(self._control, self._on_news)
        self._has_died = self._has_answered = False

    async def start(self, setup: SlotSetup) -> SlotProcess:
        """Starts a slot, and the server again if that has died (the system may choose it when memory runs out)."""
        if self._has_died:
            self._open()
        ours, theirs = socket.socketpair()
        started: asyncio.Future[int] = self._loop.create_future()
        with theirs:
            socket.send_fds(self._control, [json.dumps(asdict(setup)).encode()], [theirs.fileno()])
        self._starting.append(started)
        try:
            pid = await started
        except NbdistError:
            ours.close()
            raise
        except asyncio.CancelledError:
            ours.close()  # if the slot comes after all, it ends at once
            if not self._has_answered:
                self._server.kill()  # it hangs before its first slot, and another may not
            raise
        ended = self._ended.setdefault(pid, self._loop.create_future())
        ended.add_done_callback(lambda _: self._ended.pop(pid, None))
        return SlotProcess(pid, ours, ended)

    def last_words(self) -> str:
        """The end of what the server wrote to stderr."""
        return self._log.tail()

    def close(self) -> None:
        """Ends the server; the slots die with it."""
        if self._has_died:
            return
        self._loop.remove_reader(self._control)
        self._control.close()
        try:
            self._server.wait(1.0)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()

    def _on_news(self) -> None:
        """The server says that a slot has started or ended, in that order."""
        try:
            data = self._control.recv(REQUEST_BYTES)
        except OSError:
            data = b""
        if not data:
            self.close()
            self._has_died = True
            self._server_died()
            return
        self._has_answered = True
        news: dict[str, int] = json.loads(data)
        pid = news["pid"]
        if "code" not in news:
            self._ended[pid] = self._loop.create_future()
            waiting = self._starting.pop(0)
            if not waiting.done():
                waiting.set_result(pid)
            return
        ended = self._ended.get(pid)
        if ended is not None and not ended.done():
            ended.set_result(system.exit_reason(news["code"]))

    def _server_died(self) -> None:
        waiting, self._starting = self._starting, []
        for started in waiting:
            if not started.done():
                started.set_exception(NbdistError("the process that starts slots is gone"))
        for ended in list(self._ended.values()):
            if not ended.done():
                ended.set_result("the process that starts slots is gone")


class Spawner:
    """Starts slots as processes of their own, and keeps one ahead. Any operating system."""

    def __init__(self, environment: Mapping[str, str], log: Path, python: str = sys.executable) -> None:
        self._python = python
        self._environment = dict(environment)
        self._log = _Log(log)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._spare = self._spawn()

    async def start(self, setup: SlotSetup) -> SlotProcess:
        """Starts a slot: the spare, which is loaded by now."""
        (process, ours, theirs), self._spare = self._spare, self._spawn()
        assert process.stdin is not None
        with theirs, process.stdin:
            process.stdin.write(json.dumps({**asdict(setup), **system.hand_over(theirs, process.pid)}).encode() + b"\n")
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[str] = loop.create_future()
        # not in the loop's pool: slots would take all of its threads, for as long as they live
        threading.Thread(target=self._wait, args=(process, loop, ended), name="slot", daemon=True).start()
        return SlotProcess(process.pid, ours, ended)

    def last_words(self) -> str:
        """The end of what the last processes wrote to stderr."""
        return self._log.tail()

    def close(self) -> None:
        """Ends the spare and all slots."""
        spare, ours, theirs = self._spare
        ours.close()
        theirs.close()
        for process in (spare, *self._running):
            system.kill(process.pid)
            process.wait()
            if process.stdin is not None:
                process.stdin.close()

    def _wait(
        self, process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop, ended: asyncio.Future[str]
    ) -> None:
        reason = system.exit_reason(process.wait())
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know
            loop.call_soon_threadsafe(self._ended, process, ended, reason)

    def _ended(self, process: subprocess.Popen[bytes], ended: asyncio.Future[str], reason: str) -> None:
        self._running.discard(process)
        if not ended.done():
            ended.set_result(reason)

    def _spawn(self) -> tuple[subprocess.Popen[bytes], socket.socket, socket.socket]:
        ours, theirs = socket.socketpair()
        with self._log.open() as log:
            process = subprocess.Popen(
                [self._python, "-P", "-m", "nbdist.worker.spawned"],
                stdin=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                **system.spawn_options(theirs),
            )
        self._running.add(process)
        return process, ours, theirs
