"""What a peer says of its own computer, and how it proves that it is on the hub's. For notebooks and workers alike."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from pathlib import Path

import nbdist
from nbdist.wire.messages import Machine

NONCE_FILE = "nonce"
"""In the hub's folder: a text that only the hub's user can read."""
MAX_NONCE_BYTES = 1024
"""Whatever lies there under that name, no more of it is read."""
_CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def this_machine(cores: int, gpus: tuple[str, ...] = ()) -> Machine:
    """What a hub is told about this process and its computer."""
    return Machine(
        hostname=platform.node(),
        platform=sys.platform,
        architecture=platform.machine(),
        python=platform.python_version(),
        implementation=sys.implementation.name,
        nbdist=nbdist.__version__,
        cores=cores,
        memory_bytes=memory_bytes(),
        pid=os.getpid(),
        gpus=gpus,
    )


def memory_bytes() -> int:
    """The memory that this machine, or the container that this is, has; 0 if the system does not say."""
    if sys.platform == "win32":
        return _windows_memory_bytes()
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0
    for path in _CONTAINER_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # "max": none
            found = min(found, int(Path(path).read_text()))
    return found


def read_nonce(folder: Path) -> str:
    """The text that proves that we can read the hub's folder; empty if we cannot."""
    try:
        with (folder / NONCE_FILE).open("rb") as file:
            return file.read(MAX_NONCE_BYTES).decode("ascii").strip()
    except (OSError, ValueError):
        return ""


if sys.platform == "win32":
    import ctypes

    class _MemoryStatus(ctypes.Structure):
        """MEMORYSTATUSEX of the Windows API."""

        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            ("total", ctypes.c_ulonglong),
            ("others", ctypes.c_ulonglong * 6),
        )

    def _windows_memory_bytes() -> int:
        status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
        return int(status.total) if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else 0
