"""What a peer says of its own computer, and how it proves that it is on the hub's. For notebooks and workers alike."""

from __future__ import annotations

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


def this_machine(cores: int, memory_bytes: int = 0) -> Machine:
    """What a hub is told about this process and its computer."""
    return Machine(
        hostname=platform.node(),
        platform=sys.platform,
        architecture=platform.machine(),
        python=platform.python_version(),
        implementation=sys.implementation.name,
        nbdist=nbdist.__version__,
        cores=cores,
        memory_bytes=memory_bytes,
        pid=os.getpid(),
    )


def read_nonce(folder: Path) -> str:
    """The text that proves that we can read the hub's folder; empty if we cannot."""
    try:
        with (folder / NONCE_FILE).open("rb") as file:
            return file.read(MAX_NONCE_BYTES).decode("ascii").strip()
    except (OSError, ValueError):
        return ""
