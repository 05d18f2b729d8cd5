"""A notebook that stops reading while results pour in: its results wait on disk, and nobody else notices."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import nbdist

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0
ITEMS = 1_500
RESULT_BYTES = 200_000
MOST_MORE_BYTES = 120 * 1024**2
"""What the hub's memory may grow by; the results have more than twice as much."""
SCRIPT = f"""
import sys
import nbdist

def make(x):
    return bytes([x % 251]) * {RESULT_BYTES}

if __name__ == "__main__":
    job = nbdist.connect(sys.argv[1]).map(make, range({ITEMS}), name="poured", task_size=1)  # no blobs
    next(iter(job))
    print("begun", flush=True)
    values = job.result()
    assert [value[:1] + value[-1:] for value in values] == [bytes([x % 251] * 2) for x in range({ITEMS})]
    assert all(len(value) == {RESULT_BYTES} for value in values)
    print("all there", *(notice.text for notice in job.progress.notices), flush=True)
"""


def flooded(
    start: Any, connect: Any, freeze: Callable[[int], None], hub: Any
) -> tuple[nbdist.Pool, psutil.Process, Any, int]:
    """A script whose results pour in stands still.

    Gives another pool of that hub, the hub's process, the script, and what the hub had in memory before.
    """
    start.worker(hub.invite, "--slots", "2")
    pool: nbdist.Pool = connect(hub.connect)
    pool.wait(workers=1, timeout=LIMIT_SECONDS)
    process = psutil.Process(hub.process.pid)
    assert pool.map(abs, range(2_000)).result(LIMIT_SECONDS) == list(range(2_000))
    before: int = process.memory_info().rss
    script = start.script(SCRIPT, hub.connect)
    script.line("begun")
    freeze(script.pid)
    return pool, process, script, before


def test_a_notebook_that_stops_reading_costs_disk_and_slows_nobody(
    start: Any, connect: Any, freeze: Callable[[int], None]
) -> None:
    hub = start.hub()
    pool, process, script, before = flooded(start, connect, freeze, hub)
    most = before
    deadline = time.monotonic() + LIMIT_SECONDS
    while (done := done_of(pool, "poured")) < ITEMS:
        assert time.monotonic() < deadline, f"{done} items are done"
        assert pool.map(abs, range(500)).result(LIMIT_SECONDS) == list(range(500))
        most = max(most, process.memory_info().rss)
    assert most - before < MOST_MORE_BYTES
    os.kill(script.pid, signal.SIGCONT)
    script.line("all there", LIMIT_SECONDS)
    assert script.wait() == 0
    assert process.memory_info().rss - before < MOST_MORE_BYTES


def test_a_job_whose_results_are_too_many_is_paused_until_they_are_taken_and_others_run_on(
    start: Any, connect: Any, freeze: Callable[[int], None]
) -> None:
    hub = start.hub("--results-limit", "64MiB")
    pool, process, script, before = flooded(start, connect, freeze, hub)
    most = before
    deadline = time.monotonic() + LIMIT_SECONDS
    while (row := row_of(pool, "poured"))["state"] != "paused" or row["running"]:
        assert time.monotonic() < deadline, row
        assert pool.map(abs, range(500)).result(LIMIT_SECONDS) == list(range(500))
        most = max(most, process.memory_info().rss)
    todo = r"of results wait for its notebook; take them, or raise the hub's --results-limit"
    assert re.fullmatch(rf"\d+ MB {todo}", row["reason"])
    for _ in range(20):  # nothing more of it is begun, although the slots are free again and again
        assert pool.map(abs, range(500)).result(LIMIT_SECONDS) == list(range(500))
    assert row_of(pool, "poured")["done"] == row["done"] < ITEMS * 2 // 3
    kept = sum(size_of(path) for path in (hub.folder / "results").iterdir())
    assert 64 * 2**20 < kept < 110 * 2**20
    assert most - before < MOST_MORE_BYTES
    os.kill(script.pid, signal.SIGCONT)
    told = script.line("all there(.*)", LIMIT_SECONDS)[1]
    assert re.search(rf"job \S+ is paused: \d+ MB {todo}", told)
    assert "goes on" in told
    assert script.wait() == 0


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # of a small job that is over


def done_of(pool: nbdist.Pool, name: str) -> int:
    return int(row_of(pool, name)["done"])


def row_of(pool: nbdist.Pool, name: str) -> dict[str, Any]:
    return next(job for job in pool.describe()["jobs"] if job["name"] == name)
