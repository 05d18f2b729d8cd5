"""Makes environments and looks into them, by programs that run in the background. Decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from nbdist.worker import installing, processes, system
from nbdist.worker.envcache import EnvironmentCache
from nbdist.worker.installing import Installer
from nbdist.worker.orders import (
    BuildBegun,
    BuildEnvironment,
    CancelBuild,
    EnvironmentInPlace,
    EnvironmentNotInPlace,
    JobNotInPlace,
    LookForModules,
    ModulesInPlace,
)
from nbdist.worker.owncode import own_code

MAX_OUTPUT_BYTES = 64 * 1024
"""Of a program, its end."""
PROBE_SECONDS = 60.0
LOCK_PAUSE_SECONDS = 0.2
"""Between two looks whether another worker of this machine is done with what we want."""
FORBIDDEN = ("PYTHONPATH", "PYTHONHOME", "NBDIST_INVITE", "VIRTUAL_ENV")
ELSEWHERE = (
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_PYTHON",
    "PIP_REQUIREMENT",
    "UV_SYSTEM_PYTHON",
    "UV_PYTHON",
    "UV_TARGET",
    "UV_PREFIX",
)
"""What would have installers install something else, or elsewhere. All else holds as the worker has it."""


class _FailedError(Exception):
    """A program has ended with an error. Its words, and a reason if they say nothing."""

    def __init__(self, output: str, reason: str = "") -> None:
        super().__init__(reason or output)
        self.output = output
        self.reason = reason


def find_installer() -> Installer:
    """How environments are made here."""
    python = getattr(sys, "_base_executable", "") or sys.executable
    version = ".".join(map(str, sys.version_info[:3]))
    return Installer(python, f"{sys.implementation.name} {version}", shutil.which("uv") or "")


class Builds:
    """The environments of one worker. Tells by events how it went."""

    def __init__(self, folder: Path, code: Path, threads: int, tell: Callable[[Any], None]) -> None:
        self.installer = find_installer()
        self._cache = EnvironmentCache(folder)
        self._code = code
        self._threads = threads
        self._tell = tell
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._found: set[tuple[str, str]] = set()
        """(environment, module in it)."""

    def begin(self, order: BuildEnvironment) -> None:
        """Makes an environment, if it is not there."""
        self._start(order.environment, lambda: self._build(order))

    def cancel(self, order: CancelBuild) -> None:
        """Ends the build."""
        if task := self._tasks.get(order.environment):
            task.cancel()

    def look(self, order: LookForModules, modules: Sequence[str]) -> None:
        """Looks for these modules of a job."""
        self._start(f"modules of {order.job}", lambda: self._look(order, modules))

    def keep(self, names: Collection[str]) -> None:
        """Only these are needed; others may be removed."""
        for name in [name for name in self._cache.claimed() if name not in names]:
            self._cache.release(name)
        self._found = {pair for pair in self._found if pair[0] in names}

    def launcher(self, name: str, log: Path, *, fork: bool | None) -> processes.Launcher:
        """What starts slots there (`processes.launcher`); without a name, with the worker's Python. Raises OSError."""
        variables, python = self._words(name) if name else (processes.slot_environment(self._threads), "")
        return processes.launcher(variables, log, fork=fork, python=python)

    def _words(self, name: str) -> tuple[dict[str, str], str]:
        """The variables and the interpreter of an environment's slots. Raises OSError."""
        folder = self._cache.path(name)
        variables = processes.slot_environment(self._threads)
        variables.pop("PYTHONHOME", None)
        variables["PYTHONPATH"] = own_code(self._code)
        variables["VIRTUAL_ENV"] = str(folder)
        variables["PATH"] = os.pathsep.join([str(system.programs(folder)), variables.get("PATH", os.defpath)])
        return variables, str(system.interpreter(folder))

    async def close(self) -> None:
        """Ends all that runs."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.keep(())

    def _start(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        before = self._tasks.get(name)  # one that was cancelled may still be cleaning up

        async def in_turn() -> None:
            if before is not None:
                await asyncio.wait([before])
            await work()

        task = self._tasks[name] = asyncio.ensure_future(in_turn())
        task.add_done_callback(lambda task: self._tasks.pop(name) if self._tasks.get(name) is task else None)

    # --- building ---------------------------------------------------------------------------------------------------

    async def _build(self, order: BuildEnvironment) -> None:
        try:
            async with asyncio.timeout(installing.INSTALL_SECONDS):
                await self._make_alone(order)
        except _FailedError as error:
            self._tell(EnvironmentNotInPlace(order.environment, error.output, error.reason))
        except TimeoutError:
            reason = f"the installer was stopped after {installing.INSTALL_SECONDS:g} s"
            self._tell(EnvironmentNotInPlace(order.environment, "", reason))
        except OSError as error:
            self._tell(EnvironmentNotInPlace(order.environment, "", str(error)))
        else:
            self._tell(EnvironmentInPlace(order.environment))

    async def _make_alone(self, order: BuildEnvironment) -> None:
        while (handle := self._cache.lock(order.environment)) is None:  # noqa: ASYNC110 - another process has it
            await asyncio.sleep(LOCK_PAUSE_SECONDS)
        try:
            await self._make(order)
        finally:
            os.close(handle)
        await asyncio.to_thread(self._cache.prune)

    async def _make(self, order: BuildEnvironment) -> None:
        name = order.environment
        await asyncio.to_thread(own_code, self._code)
        is_in_use = name in self._cache.claimed()
        if self._cache.claim(name):
            if is_in_use:
                return
            with contextlib.suppress(_FailedError):  # something has become of it, or of the Python that it is made of
                await self._probe(name, ())
                return
            self._cache.release(name)
        self._tell(BuildBegun(name))
        await asyncio.to_thread(self._cache.remove, name)
        folder = self._cache.path(name)
        try:
            python = str(system.interpreter(folder))
            pip = "" if self.installer.uv else await self._pip()
            for words in installing.commands(order.packages, self.installer, str(folder), python, pip=pip):
                await self._install(words)
            await self._probe(name, ())
            await asyncio.to_thread(self._cache.finish, name, installing.described(order.packages))
        except BaseException:
            await asyncio.to_thread(self._cache.remove, name)
            raise
        self._cache.claim(name)

    async def _pip(self) -> str:
        """The worker's own interpreter, if it has a pip that can install elsewhere."""
        code, output = await self._guarded([sys.executable, "-I", "-m", "pip", "--version"])
        return sys.executable if code == 0 and installing.serves_others(output) else ""

    async def _install(self, words: Sequence[str]) -> None:
        """Runs one of the installer's commands. Raises _FailedError."""
        code, output = await self._guarded(words)
        if code != 0:
            raise _FailedError(output, "" if output.strip() else f"{words[0]}: exit code {code}")

    async def _guarded(self, words: Sequence[str]) -> tuple[int, str]:
        variables = {name: value for name, value in os.environ.items() if name not in FORBIDDEN + ELSEWHERE}
        variables |= {"NO_COLOR": "1", "PYTHONPATH": processes.slot_environment(1)["PYTHONPATH"]}
        return await self._run([sys.executable, "-P", "-m", "nbdist.worker.guard", *words], variables)

    # --- looking ----------------------------------------------------------------------------------------------------

    async def _look(self, order: LookForModules, modules: Sequence[str]) -> None:
        name = order.environment
        unknown = [module for module in modules if (name, module) not in self._found]
        try:
            missing = await self._probe(name, unknown) if unknown else ""
        except (OSError, _FailedError) as error:
            reason = f"what was installed for it is broken: {installing.tail(str(error))}"
            self._tell(JobNotInPlace(order.job, reason, "", installing.RETRY_SECONDS))
            return
        if missing:
            reason = f"no module named {missing!r} in what was installed for it"
            self._tell(JobNotInPlace(order.job, reason, f"only machines that have {missing} can run it"))
            return
        self._found.update((name, module) for module in modules)
        self._tell(ModulesInPlace(order.job))

    async def _probe(self, name: str, modules: Sequence[str]) -> str:
        """The first of the modules that is missing there. Raises _FailedError if a slot could not start there."""
        variables, python = self._words(name)
        words = [python, "-P", "-m", "nbdist.worker.probe", str(Path.cwd()), *modules]
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                code, output = await self._run(words, variables)
        except TimeoutError:
            raise _FailedError("", f"its Python does not answer within {PROBE_SECONDS:g} s") from None
        except OSError as error:
            raise _FailedError("", f"its Python does not start: {error}") from None
        if code != 0:
            raise _FailedError(output, "its Python does not start")
        try:
            return str(json.loads(output.splitlines()[-1]))
        except (ValueError, IndexError):
            raise _FailedError(output, "its Python does not answer") from None

    async def _run(self, words: Sequence[str], variables: Mapping[str, str]) -> tuple[int, str]:
        """A program's exit code and the end of what it wrote. It dies with its task, and with this process."""
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(variables),
            cwd=self._cache.folder,
            **system.group_options(),
        )
        assert process.stdout is not None
        output = b""
        try:
            while piece := await process.stdout.read(MAX_OUTPUT_BYTES):
                output = (output + piece)[-MAX_OUTPUT_BYTES:]
            code = await process.wait()
        except BaseException:
            system.kill(process.pid)
            await process.wait()
            raise
        finally:
            system.kill_rest(process.pid)
        return code, output.decode("utf-8", "replace")
