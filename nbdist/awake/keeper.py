"""Holds the operating system's lock against falling asleep, for as long as there is work and this process lives.

Linux: `systemd-inhibit` round a `cat` that reads a pipe of ours, so that it ends with us however we end. macOS:
`caffeinate -w`, which watches our process. Windows: a state of the calling thread. Where none of these is there, or
it is not allowed, the machine sleeps when it wants to, and nothing else changes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Protocol

from nbdist.awake.holding import LOOK_SECONDS, Holding

END_SECONDS = 1.0
"""A helper that was told to end is killed after so long."""
_ES_CONTINUOUS = 0x80000000
_ES_SYSTEM_REQUIRED = 0x00000001


class Lock(Protocol):
    """Keeps the machine awake between `hold` and `release`. Both are idempotent."""

    def hold(self) -> None:
        """From now on."""

    def release(self) -> None:
        """Until now."""


class Keeper:
    """Looks whether there is work, from `poke` on and until there was none for a while; no timer runs otherwise.

    `call_later(seconds, callback)` returns a function that cancels it.
    """

    def __init__(
        self,
        is_busy: Callable[[], bool],
        *,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Callable[[], None]],
        lock: Lock | None,
    ) -> None:
        self._is_busy = is_busy
        self._clock = clock
        self._call_later = call_later
        self._lock = lock
        self._holding = Holding()
        self._cancel: Callable[[], None] | None = None

    def poke(self) -> None:
        """There may be work now."""
        if self._lock is not None and self._cancel is None:
            self._look()

    def close(self) -> None:
        """The machine may sleep, for all that this process knows."""
        if self._cancel is not None:
            self._cancel()
            self._cancel = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _look(self) -> None:
        self._cancel = None
        if self._lock is None:
            return
        if self._holding.look(self._is_busy(), self._clock()):
            self._lock.hold()
        else:
            self._lock.release()
        if not self._holding.is_over:
            self._cancel = self._call_later(LOOK_SECONDS, self._look)


def system_lock(who: str) -> Lock | None:
    """This system's way, or None if it has none. `who` is shown to people who ask what keeps the machine awake."""
    if sys.platform == "win32":
        return _ThreadState()
    command = _command(who)
    return None if command is None else _Helper(command)


def way() -> str:
    """What keeps this machine awake while it works; empty: nothing does."""
    if sys.platform == "win32":
        return "SetThreadExecutionState"
    command = _command("")
    return "" if command is None else os.path.basename(command[0])


def _command(who: str) -> list[str] | None:
    if sys.platform == "darwin":
        program = shutil.which("caffeinate")
        return None if program is None else [program, "-i", "-w", str(os.getpid())]
    program, reader = shutil.which("systemd-inhibit"), shutil.which("cat")
    if program is None or reader is None:
        return None
    return [program, "--what=idle:sleep", "--mode=block", f"--who={who}", "--why=a job is running", reader]


class _Helper:
    """A program that keeps the machine awake while it runs and its standard input is open."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._has_failed = False
        """It does not help here, and is not started again."""

    def hold(self) -> None:
        """Starts it. Where it ends by itself (nothing to talk to, or not allowed to) it is not tried again."""
        if self._process is not None:
            self._has_failed = self._has_failed or self._process.poll() is not None
            return
        if self._has_failed:
            return
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for us, and what we run may go on after it
            )
        except OSError:
            self._has_failed = True

    def release(self) -> None:
        """Ends it."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        if sys.platform == "darwin":
            process.terminate()  # it does not read
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class _ThreadState:
    """Windows. The state ends with the thread, which must be the same for both."""

    def __init__(self) -> None:
        self._is_held = False

    def hold(self) -> None:
        """Sets it."""
        self._set(True)

    def release(self) -> None:
        """Takes it back."""
        self._set(False)

    def _set(self, is_held: bool) -> None:
        if sys.platform == "win32" and is_held != self._is_held:
            import ctypes

            self._is_held = is_held
            state = _ES_CONTINUOUS | (_ES_SYSTEM_REQUIRED if is_held else 0)
            ctypes.windll.kernel32.SetThreadExecutionState(ctypes.c_uint(state))
