"""`nbdist worker`: the command."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from nbdist import embedded
from nbdist.errors import AccessError, AddressError, ConnectionFailedError, NbdistError, VersionError
from nbdist.worker import config as configuration
from nbdist.worker import system
from nbdist.worker.agent import Agent
from nbdist.worker.config import WorkerConfig

EXIT_USAGE = 2
EXIT_ACCESS = 3
EXIT_VERSION = 4
EXIT_NO_HUB = 5


def main(argv: Sequence[str]) -> int:
    """Runs a worker until it leaves; gives the exit code."""
    try:
        config = configuration.parse(argv)
        if config.lock is not None:
            config = replace(config, start_hub=embedded.ensure_hub)
        with embedded.only_one(config.lock) if config.lock is not None else contextlib.nullcontext(True) as is_only:
            return _run_alone(config) if is_only else 0
    except AddressError as error:
        return _fail(error, EXIT_USAGE)
    except AccessError as error:
        return _fail(error, EXIT_ACCESS)
    except VersionError as error:
        return _fail(error, EXIT_VERSION)
    except ConnectionFailedError as error:
        return _fail(error, EXIT_NO_HUB)
    except KeyboardInterrupt:
        return 130


def _run_alone(config: WorkerConfig) -> int:
    """Runs a worker; where it is the only one, a note is left if it has not been killed."""
    code = asyncio.run(_run(config))
    if config.lock is not None:
        with contextlib.suppress(OSError):  # the folder may be gone with its pool
            config.lock.with_name(embedded.WORKER_LEFT).touch()
    return code


async def _run(config: WorkerConfig) -> int:
    if not config.is_quiet:
        address = config.address()
        shown = address.shown if address is not None else "the hub"
        _say(f"joining {shown} with {config.slots} slots")
        _say(f"notebooks of that hub can run any code on this machine, as {_user()}. Ctrl-C leaves it")
        if config.memory_bytes and not system.WATCHES_MEMORY:
            _say("memory is not watched on this operating system: --memory-limit has no effect here")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # slots import what lies there, so it counts as installed
    agent = Agent(config, (lambda text: None) if config.is_quiet else _say)
    _watch_signals(agent)
    if config.dies_with_parent:
        _watch_parent(lambda: agent.leave("its parent is gone"))
    reason = await agent.run()
    if not config.is_quiet:
        _say(f"left: {reason}")
    return 0


def _watch_signals(agent: Agent) -> None:
    """Ctrl-C and SIGTERM let the worker leave."""
    loop = asyncio.get_running_loop()
    asked = False

    def leave(number: int) -> None:
        nonlocal asked
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        if number == signal.SIGINT and not asked:
            _say("leaving as soon as running items are done; Ctrl-C again leaves at once")
        asked = True
        agent.leave(name)

    for number in (signal.SIGINT, signal.SIGTERM):
        if sys.platform == "win32":
            signal.signal(number, lambda number, frame: loop.call_soon_threadsafe(leave, number))
        else:
            loop.add_signal_handler(number, leave, number)


def _watch_parent(gone: Callable[[], None]) -> None:
    """Calls `gone`, twice, once standard input ends: then nobody waits for running items."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        while os.read(0, 1024):  # not sys.stdin, whose lock would crash the interpreter's exit
            continue
        if not loop.is_closed():
            loop.call_soon_threadsafe(gone)
            loop.call_soon_threadsafe(gone)

    threading.Thread(target=read, name="parent", daemon=True).start()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "you"


def _say(text: str) -> None:
    print(f"nbdist worker: {text}", file=sys.stderr, flush=True)


def _fail(error: NbdistError, code: int) -> int:
    _say(str(error))
    return code
