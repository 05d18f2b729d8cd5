"""The GPUs of this computer, by name: from files where the driver writes some, else from its own tool."""

from __future__ import annotations

import contextlib
import platform
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

MAX_GPUS = 64
MAX_NAME_CHARACTERS = 80
ASK_SECONDS = 10.0
"""A driver that is asked for the first time loads itself."""
NVIDIA = Path("/proc/driver/nvidia/gpus")
AMD = Path("/sys/class/kfd/kfd/topology/nodes")


@cache
def names() -> tuple[str, ...]:
    """The GPUs that a program can compute on; empty if there are none, or the system does not say. May take seconds."""
    return tuple(name[:MAX_NAME_CHARACTERS] for name in _found()[:MAX_GPUS])


def _found() -> list[str]:
    if sys.platform == "linux":
        return from_files(NVIDIA, AMD)
    if sys.platform == "darwin":
        return [_ask("sysctl", "-n", "machdep.cpu.brand_string") or "Apple"] if platform.machine() == "arm64" else []
    return _ask("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()


def from_files(nvidia: Path, amd: Path) -> list[str]:
    """What the drivers of Linux say in these folders."""
    found = []
    for card in _inside(nvidia):
        model = re.search(r"Model:\s*(.+)", _text(card / "information"))
        found.append(model[1].strip() if model is not None else "NVIDIA")
    for node in _inside(amd):
        computes = re.search(r"simd_count (\d+)", _text(node / "properties"))
        if computes is not None and int(computes[1]):  # the others are processors
            found.append(f"AMD {_text(node / 'name').strip()}".strip())
    return found


def _inside(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(folder.iterdir())
    return []


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


def _ask(*command: str) -> str:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS, check=True)
        return answer.stdout.strip()
    return ""
