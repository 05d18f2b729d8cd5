"""An embedded pool of the test's own, for all tests that ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nbdist import embedded

END_SECONDS = 60.0


@pytest.fixture
def own_embedded_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody else's; it is ended afterwards."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    yield
    folder = str(embedded.state_folder())
    for role in ("worker", "hub"):  # a worker hands its last results to its hub
        mine = [process for process in psutil.process_iter() if _is(process, role, folder)]
        for process in mine:
            process.terminate()
        psutil.wait_procs(mine, timeout=END_SECONDS)


def _is(process: psutil.Process, role: str, folder: str) -> bool:
    try:
        command = process.cmdline()
    except psutil.Error:
        return False
    return role in command and folder in " ".join(command)
