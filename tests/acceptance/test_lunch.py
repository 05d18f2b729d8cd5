"""While a job runs, hub and worker keep their machines awake, and not a moment for ever."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest
from inhibitor import Inhibitor

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="systemd-inhibit is Linux's"),
]
LIMIT_SECONDS = 60.0
HUB, WORKER = "nbdist hub", "nbdist worker"


@pytest.fixture
def inhibitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inhibitor:
    return Inhibitor(tmp_path, monkeypatch)


def wait_for_file(path: str) -> bool:
    """A job that runs until it is told to end."""
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        if Path(path).exists():
            return True
        time.sleep(0.01)
    return False


def start_job(pool: Any, path: Path, items: int = 1) -> Any:
    function = wait_for_file
    function.__module__ = "__main__"  # it travels by value
    return pool.map(function, [str(path)] * items)


def test_a_job_keeps_hub_and_worker_awake(start: Any, connect: Any, inhibitor: Inhibitor, tmp_path: Path) -> None:
    hub = start.hub()
    start.worker(hub.invite, "--slots", "1")
    pool = connect(hub.connect)
    pool.wait(workers=1, timeout=LIMIT_SECONDS)
    job = start_job(pool, tmp_path / "over")
    inhibitor.wait("start", HUB)
    lines = inhibitor.wait("start", WORKER)
    assert not any(line.startswith("end") for line in lines)
    (tmp_path / "over").touch()
    assert job.result(LIMIT_SECONDS) == [True]
    inhibitor.wait("end", HUB)
    lines = inhibitor.wait("end", WORKER)
    assert len(lines) == 4, lines


def test_a_killed_worker_and_a_killed_hub_keep_nothing_awake(
    start: Any, connect: Any, inhibitor: Inhibitor, tmp_path: Path
) -> None:
    hub = start.hub()
    worker = start.worker(hub.invite, "--slots", "1")
    start_job(connect(hub.connect), tmp_path / "over")
    inhibitor.wait("start", HUB)
    inhibitor.wait("start", WORKER)
    worker.popen.kill()
    inhibitor.wait("end", WORKER)
    hub.process.popen.kill()
    inhibitor.wait("end", HUB)
    (tmp_path / "over").touch()


def test_a_machine_that_may_sleep_is_not_kept_awake(
    start: Any, connect: Any, inhibitor: Inhibitor, tmp_path: Path
) -> None:
    hub = start.hub("--allow-sleep")
    start.worker(hub.invite, "--slots", "1", "--allow-sleep")
    start.worker(hub.invite, "--slots", "1")
    pool = connect(hub.connect)
    pool.wait(workers=2, timeout=LIMIT_SECONDS)
    job = start_job(pool, tmp_path / "over", items=2)
    lines = inhibitor.wait("start", WORKER)  # the one that was not told so
    assert len(lines) == 1
    (tmp_path / "over").touch()
    assert job.result(LIMIT_SECONDS) == [True, True]
    inhibitor.wait("end", WORKER)
    assert len(inhibitor.lines()) == 2
