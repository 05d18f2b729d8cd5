"""What differs between operating systems, for worker and slot: the one file of the worker that knows them.

How a slot's process dies with its parent, gives way, is interrupted and killed, gets its socket, and what its exit
code means. Linux has everything; elsewhere there is a way that is good enough, and it is said here.
"""

from __future__ import annotations

import _thread
import base64
import contextlib
import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CAN_FORK = sys.platform == "linux"
"""On macOS, system libraries do not survive a fork without exec; Windows has none."""
SENT_SIGNALS = os.name == "posix"
"""An interrupt reaches a slot as a signal. Where it does not, the slot looks for it at every tick."""
WATCHES_MEMORY = sys.platform == "linux"
"""Elsewhere the standard library does not say what another process uses."""

_PR_SET_PDEATHSIG = 1
_FREED_AND_KEPT_BYTES = 16 * 1024**2
SHARED_MEMORY = "/dev/shm"
_SHARED_MEMORY_MIN_FREE_BYTES = 1024**3


def settle_in(parent: int, niceness: int) -> None:
    """What a slot's process does first: dies with its parent, gives way to people's work, and keeps freed memory.

    The last: glibc returns and fetches every block over 128 KiB until it has seen a larger one freed (pi in pieces of
    128 KiB took 5 % longer); it never touches the pages of the block that it is shown here.
    Where the system does not see to the death, the slot looks for its parent at every tick (`is_orphaned`).
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(0)
    if niceness and os.name == "posix":
        os.nice(niceness)
    bytes(_FREED_AND_KEPT_BYTES)


def is_orphaned(parent: int) -> bool:
    """Whether the process that started this one is gone. Windows does not say."""
    return os.name == "posix" and os.getppid() != parent


def interrupt(pid: int) -> None:
    """Raises KeyboardInterrupt in a slot, if what is to be stopped (its claim says what) is still running there."""
    if SENT_SIGNALS:
        try:
            os.kill(pid, signal.SIGINT)
        except ProcessLookupError:
            return


def interrupt_main_thread() -> None:
    """Lets the main thread of this process look what it is to stop, also if it sleeps or waits."""
    if SENT_SIGNALS:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


def kill(pid: int) -> None:
    """Ends a slot at once, with all that it has started."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(pid)], check=False, capture_output=True)
        return
    for send in (os.killpg, os.kill):  # a very young process has no group of its own yet
        try:
            send(pid, signal.SIGKILL)
            return
        except (ProcessLookupError, PermissionError):
            continue


def kill_rest(pid: int) -> None:
    """Ends what a slot that is gone has left running."""
    if sys.platform != "win32":
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return


def exit_reason(code: int) -> str:
    """A `Popen.returncode` in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (the system does that when memory runs out)" if name == "SIGKILL" else ""
    return f"killed by {name}{hint}"


def group_options() -> dict[str, Any]:
    """For a process that `kill` ends with all that it has started."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.BELOW_NORMAL_PRIORITY_CLASS}
    return {"start_new_session": True}


def spawn_options(given: socket.socket) -> dict[str, Any]:
    """For `subprocess.Popen`: a process in a group of its own, which can be given this socket."""
    return group_options() if sys.platform == "win32" else {**group_options(), "pass_fds": [given.fileno()]}


def hand_over(sock: socket.socket, pid: int) -> dict[str, Any]:
    """What process `pid` must be told to find the socket that it is given."""
    if sys.platform == "win32":
        return {"share": base64.b64encode(sock.share(pid)).decode()}
    return {"descriptor": sock.fileno()}


def take_over(given: Mapping[str, Any]) -> socket.socket:
    """The socket that this process was given."""
    if sys.platform == "win32":
        return socket.fromshare(base64.b64decode(given["share"]))
    return socket.socket(fileno=int(given["descriptor"]))


def slot_memory_bytes(pid: int, *, enough: int = 0) -> int:
    """What a process and all that it has started have in memory; 0 if it is gone, or the system does not say.

    Pages that several processes share (the fork server's, mapped data) are counted for each, unless that makes more
    than `enough`: then each gets its share of them, which the system takes a while to add up.
    """
    family = _family(pid) if WATCHES_MEMORY else []
    resident = sum(map(_resident_bytes, family))
    return resident if resident <= enough else sum(map(_proportional_bytes, family))


def _family(pid: int) -> list[int]:
    """The process and its descendants, as far as they can be seen."""
    found = [pid]
    for parent in found:  # it grows
        for path in glob.glob(f"/proc/{parent}/task/*/children"):
            with contextlib.suppress(OSError):
                found += map(int, Path(path).read_bytes().split())
    return found


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _proportional_bytes(pid: int) -> int:
    try:
        rows = Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines()
        return next(1024 * int(row.split()[1]) for row in rows if row.startswith(b"Pss:"))
    except (OSError, StopIteration):
        return _resident_bytes(pid)


def memory_used_bytes() -> int:
    """The machine's memory that is in use; 0 if the system does not say."""
    try:
        with open("/proc/meminfo", "rb") as file:
            rows = dict(line.split(b":", 1) for line in file)
        return 1024 * (int(rows[b"MemTotal"].split()[0]) - int(rows[b"MemAvailable"].split()[0]))
    except (OSError, KeyError, ValueError):
        return 0


def load_average() -> float:
    """The one-minute load average over the cores; 0 if the system has none."""
    try:
        return os.getloadavg()[0] / cores()
    except (AttributeError, OSError):
        return 0.0


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def programs(environment: Path) -> Path:
    """Where an environment has its programs, the interpreter among them."""
    return environment / ("Scripts" if sys.platform == "win32" else "bin")


def interpreter(environment: Path) -> Path:
    """The interpreter of an environment."""
    return programs(environment) / ("python.exe" if sys.platform == "win32" else "python")


def cache_folder() -> Path:
    """Where programs of this user keep what can be made again."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def fast_folder() -> str | None:
    """A folder in memory for temporary files, or None for the usual place: containers often have very little of it."""
    if not os.path.isdir(SHARED_MEMORY) or not os.access(SHARED_MEMORY, os.W_OK):
        return None
    return SHARED_MEMORY if shutil.disk_usage(SHARED_MEMORY).free >= _SHARED_MEMORY_MIN_FREE_BYTES else None
