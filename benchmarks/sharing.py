"""One large array that a function has captured: how long it takes to be everywhere, and how often it lies in memory."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks import peers, work

SLOTS = 4
BYTES = 1_000_000_000
SHARED_MEMORY = Path("/dev/shm")
MARK = "NBDIST_BENCHMARK"
"""Environment variable by which a peer's processes are known, also those that have left their parent."""
LIMIT_SECONDS = 120.0
LOOK_SECONDS = 0.05
SETTLE_SECONDS = 1.0
"""What earlier runs have used may be given back late."""


def big_array(peer: Any, scale: float) -> dict[str, float]:
    """Seconds of two runs whose items look at one element; then what the array adds to the memory of the peer's
    processes, and to shared memory, while all slots have read all of it."""
    import numpy

    os.environ[MARK] = mark = str(os.getpid())
    peers.WORKERS = SLOTS  # this is the peer's own process
    data = numpy.random.default_rng(0).random(int(BYTES * scale) // 8)
    free = _shared_bytes()
    pool = peer()
    try:
        before = _while_held(pool, numpy.zeros(8), lambda: _memory_bytes(mark, free))
        first = _timed(lambda: pool.with_array(work.total_of, data, range(SLOTS)))
        again = _timed(lambda: pool.with_array(work.total_of, data, range(SLOTS)))
        after = _while_held(pool, data, lambda: _memory_bytes(mark, free))
    finally:
        pool.close()
    return {"first s": first, "again s": again, "memory / array": (after - before) / data.nbytes}


def _while_held(pool: Any, array: Any, look: Callable[[], float]) -> float:
    """What `look` gives while every slot is in an item that has read the whole array."""
    time.sleep(SETTLE_SECONDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        items = [str(folder)] * SLOTS
        run = threading.Thread(target=lambda: pool.with_array(work.hold_array, array, items))
        run.start()
        deadline = time.monotonic() + LIMIT_SECONDS
        while len(list(folder.iterdir())) < SLOTS:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not all {SLOTS} slots hold the array after {LIMIT_SECONDS:.0f} s")
            time.sleep(LOOK_SECONDS)
        found = look()
        (folder / work.GO_ON).touch()
        run.join()
    return found


def _memory_bytes(mark: str, shared_before: float) -> float:
    """What the peer's processes have in memory, each page once, and what lies in shared memory, mapped or not."""
    private = shared = 0
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.environ().get(MARK) != mark:
                continue
            rows = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
        except (psutil.Error, OSError):
            continue
        sizes = {row.split(":")[0]: int(row.split()[1]) * 1024 for row in rows}
        shared += sizes.get("Pss_Shmem", 0)
        private += sizes["Pss"] - sizes.get("Pss_Shmem", 0)
    return private + max(shared, _shared_bytes() - shared_before)


def _shared_bytes() -> float:
    """What lies in shared memory, of whomever."""
    if not SHARED_MEMORY.is_dir():
        return 0.0
    found = os.statvfs(SHARED_MEMORY)
    return float((found.f_blocks - found.f_bfree) * found.f_frsize)


def _timed(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
