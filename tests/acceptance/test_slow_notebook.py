"""A notebook that stops reading while results pour in: its results wait on disk, and nobody else notices."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
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
    print("submitted", flush=True)
    values = job.result()
    assert [value[:1] + value[-1:] for value in values] == [bytes([x % 251] * 2) for x in range({ITEMS})]
    assert all(len(value) == {RESULT_BYTES} for value in values)
    print("all there", flush=True)
"""


def test_a_notebook_that_stops_reading_costs_disk_and_slows_nobody(
    start: Any, connect: Any, freeze: Callable[[int], None]
) -> None:
    hub = start.hub()
    start.worker(hub.invite, "--slots", "2")
    pool: nbdist.Pool = connect(hub.connect)
    pool.wait(workers=1, timeout=LIMIT_SECONDS)
    process = psutil.Process(hub.process.pid)
    assert pool.map(abs, range(2_000)).result(LIMIT_SECONDS) == list(range(2_000))
    before = most = process.memory_info().rss
    script = start.script(SCRIPT, hub.connect)
    script.line("submitted")
    freeze(script.pid)
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


def done_of(pool: nbdist.Pool, name: str) -> int:
    return next(int(job["done"]) for job in pool.describe()["jobs"] if job["name"] == name)
