"""What this machine has for a worker, a real slot included. What is made for that is gone afterwards."""

from __future__ import annotations

import asyncio
import functools
import operator
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbdist
from nbdist.awake import keeper
from nbdist.doctor.findings import Computer, Folder, Software
from nbdist.errors import NbdistError
from nbdist.execution.task import Task
from nbdist.folders import HeldFolder, sweep
from nbdist.packing import pack_task, unpack_part
from nbdist.wire.frames import Payload
from nbdist.wire.local import memory_bytes, this_machine
from nbdist.wire.messages import (
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    JobOptions,
    LoadTask,
    Message,
    Part,
    RunSlice,
    SlotReady,
    TaskRefused,
)
from nbdist.worker import processes, system
from nbdist.worker.orders import SlotDied
from nbdist.worker.slots import SlotHost

PREFIX = "nbdist-doctor-"
SLOT_SECONDS = 30.0
"""A slot is given so long; a worker waits as long."""
LAST_WORDS_CHARACTERS = 500


def software() -> Software:
    """What would join from here."""
    machine = this_machine(system.cores())
    return Software(
        executable=sys.executable or "python3",
        python=machine.python,
        implementation=machine.implementation,
        nbdist=machine.nbdist,
        protocol=(PROTOCOL_MIN, PROTOCOL_MAX),
        is_one_file=Path(nbdist.__file__).parent.parent.is_file(),
    )


async def look() -> Computer:
    """What there is. Call it in the main thread, as launchers want to be."""
    temporary = _temporary()
    shared = _shared()
    start = time.perf_counter()
    error = await _slot_error()
    memory = memory_bytes()
    return Computer(
        software=software(),
        cores=system.cores(),
        memory_bytes=memory,
        memory_free_bytes=max(0, memory - used) if (used := system.memory_used_bytes()) else 0,
        files=_files(),
        temporary=temporary,
        shared=shared,
        slot_seconds=time.perf_counter() - start,
        slot_error=error,
        keeps_awake=keeper.way(),
    )


def _temporary() -> Folder:
    try:
        parent = tempfile.gettempdir()
    except OSError as error:
        return Folder("the temporary folder", 0, str(error))
    return _folder(parent)


def _shared() -> Folder | None:
    return _folder(system.SHARED_MEMORY) if os.path.isdir(system.SHARED_MEMORY) else None


def _folder(path: str) -> Folder:
    try:
        HeldFolder(Path(path), PREFIX).close()
        return Folder(path, shutil.disk_usage(path).free)
    except OSError as error:
        return Folder(path, 0, error.strerror or str(error))


def _files() -> int:
    if sys.platform == "win32":
        return 0
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 0 if soft == resource.RLIM_INFINITY else soft


# --- a slot -----------------------------------------------------------------------------------------------------------


async def _slot_error() -> str:
    """Why no slot can run a line here; empty if one has."""
    try:
        parent = Path(system.fast_folder() or tempfile.gettempdir())
        sweep([parent], PREFIX)
        folder = HeldFolder(parent, PREFIX)
    except OSError as error:
        return f"it has no folder: {error}"
    try:
        return await _try_slot(folder.path)
    finally:
        folder.close()


async def _try_slot(folder: Path) -> str:
    try:
        launcher = processes.launcher(processes.slot_environment(1), folder / "start.log")
    except OSError as error:
        return f"no process can be started: {error}"
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    host: SlotHost | None = None

    def deliver(number: int, message: Message, payload: Payload) -> None:
        assert host is not None
        error = _converse(host, message, payload)
        if error is not None and not ended.done():
            ended.set_result(error)

    try:
        host = SlotHost(0, launcher, folder, niceness=0, deliver=deliver, died=functools.partial(_died, ended))
        async with asyncio.timeout(SLOT_SECONDS):
            await host.start()
            return await ended
    except TimeoutError:
        return f"it was not ready after {SLOT_SECONDS:.0f} s. {_cut(launcher.last_words())}".strip()
    except (OSError, NbdistError) as error:
        return str(error)
    finally:
        if host is not None:
            host.close()
        launcher.close()


def _converse(host: SlotHost, message: Message, payload: Payload) -> str | None:
    """One line for the slot. What is wrong with its answer; empty: nothing; None: it has not answered yet."""
    if isinstance(message, SlotReady):
        pieces, _ = pack_task(Task(operator.neg), lambda view: "")
        host.send(LoadTask("doctor", JobOptions(), ranges=((0, 1_000, 1),)), b"".join(pieces))
        host.claim.begin((1, 1), 7, 8)
        host.send(RunSlice("doctor", (1, 1), 0, 7, 8))
    elif isinstance(message, Part):
        values: list[Any] = [value for run in unpack_part(payload) for value in run.values]
        return "" if values == [-7] else f"it computes nonsense: {values[:3]!r}"
    elif isinstance(message, TaskRefused):
        return f"it does not take a task: {message.reason}"
    return None


def _died(ended: asyncio.Future[str], event: SlotDied) -> None:
    if not ended.done():
        ended.set_result(f"{event.reason}. {_cut(event.stderr)}".strip())


def _cut(text: str) -> str:
    return " ".join(text.split())[-LAST_WORDS_CHARACTERS:]
