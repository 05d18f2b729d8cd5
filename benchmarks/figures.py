"""What is measured: each figure gives numbers for one peer, by the name of the column.

`scale` below 1 makes everything smaller, to see that it works; figures are comparable within one run only.
"""

from __future__ import annotations

import gc
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import deaths, peers, sharing, work

CHUNKS = 64
"""The best of those tried for the peers that must be told."""
OURS = "NBDIST_BENCHMARK"
"""Environment variable by which a peer's processes are known, also those that have left their parent."""
SERIAL_NAPS = 100
"""So many show how much longer a nap is than what was asked for."""
IDLE_SECONDS = 5.0
IDLE_WARM_SECONDS = 2.0
STOPS = 5
STOP_LIMIT_SECONDS = 30.0
LOOK_SECONDS = 0.01
QUIET_SECONDS = 0.5
"""Code that has written nothing for so long does not run any more."""
ONLY_NBDIST = ("ProcessPool", "joblib", "ipyparallel", "Dask", "Ray")

MAY_NOT_LOSE = ("ProcessPool", "joblib", "ipyparallel")
"""Where one process dies their job fails, or waits for ever."""
NOT_ON_MACHINES = ("ProcessPool", "joblib", "ipyparallel")
"""They have no place for data that all processes use, on any machine."""


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    about: str
    measure: Callable[[Any, float], dict[str, float]]
    """(the peer's class, scale) -> column -> value."""
    higher_is_better: bool = False
    leaves_out: tuple[str, ...] = ()
    """Peers for which it says nothing."""


def start(peer: Any, scale: float) -> dict[str, float]:
    began = time.perf_counter()
    pool = peer()
    try:
        pool.call(work.nothing, 1)
        return {"seconds": time.perf_counter() - began}
    finally:
        pool.close()


def idle(peer: Any, scale: float) -> dict[str, float]:
    os.environ[OURS] = mark = str(os.getpid())
    pool = peer()
    try:
        pool.map(work.nothing, range(100), CHUNKS)
        time.sleep(IDLE_WARM_SECONDS)
        started = [process for process in psutil.process_iter() if _mark(process) == mark]
        began, used = time.perf_counter(), sum(map(_cpu_seconds, started))
        time.sleep(IDLE_SECONDS * scale)
        percent = 100 * (sum(map(_cpu_seconds, started)) - used) / (time.perf_counter() - began)
        return {"processes": len(started), "% of a core": percent, "PSS MB": sum(map(_pss_bytes, started)) / 1e6}
    finally:
        pool.close()


def round_trip(peer: Any, scale: float) -> dict[str, float]:
    with _Pool(peer) as pool:
        calls = max(20, int(500 * scale))
        times = sorted(_timed(lambda: pool.call(work.nothing, 1)) for _ in range(calls + 50))[:-50]
        return {"median ms": 1e3 * statistics.median(times), "p95 ms": 1e3 * times[int(len(times) * 0.95)]}


def single_calls(peer: Any, scale: float) -> dict[str, float]:
    with _Pool(peer) as pool:
        count = max(200, int(10_000 * scale))
        return {"calls/s": count / _timed(lambda: pool.many(work.nothing, range(count)))}


def noop_map(peer: Any, scale: float) -> dict[str, float]:
    count = max(1_000, int(1_000_000 * scale))
    return {"items/s": count / _map_seconds(peer, work.nothing, range(count), list(range(count)))}


def growing_cost(peer: Any, scale: float) -> dict[str, float]:
    top = max(100, int(10_500 * scale**0.5))
    return _with_serial(peer, work.growing, range(top))


def pi_small(peer: Any, scale: float) -> dict[str, float]:
    return _with_serial(peer, work.pi_small, range(max(16, int(1_000 * scale))))


def pi_large(peer: Any, scale: float) -> dict[str, float]:
    return _with_serial(peer, work.pi_large, range(max(16, int(1_000 * scale))))


def slow_slot_4(peer: Any, scale: float) -> dict[str, float]:
    """400 naps of 10 ms, where one process needs 40: together they do 1.25 naps in the time of one."""
    naps = [0.01] * max(50, int(400 * scale))
    return _uneven(peer, work.nap_of_4, naps, 4)


def slow_slot_8(peer: Any, scale: float) -> dict[str, float]:
    """Naps from 1 ms to 1 s, evenly on a logarithmic scale, where one process needs eight times as long."""
    draw = random.Random(8)
    naps = [10 ** draw.uniform(-3, 0) for _ in range(max(30, int(200 * scale)))]
    return _uneven(peer, work.nap_of_8, naps, 8)


def array(peer: Any, scale: float) -> dict[str, float]:
    import numpy

    data = numpy.random.default_rng(0).random(int(32_000_000 * scale))
    with _Pool(peer) as pool:
        first = _timed(lambda: pool.with_array(work.total_of, data, range(8)))
        again = _timed(lambda: pool.with_array(work.total_of, data, range(8)))
    return {"first s": first, "again s": again}


def stop(peer: Any, scale: float) -> dict[str, float]:
    """From the request to the moment after which none of the user's code runs anywhere; the worst of a few."""
    times = range(max(1, round(STOPS * scale)))
    with _Pool(peer) as pool:
        return {
            "cancel s": max(_stop(pool, work.beat, pool.cancel) for _ in times),
            "interrupt s": max(_stop(pool, work.beat, pool.interrupt) for _ in times),
            "C code s": max(_stop(pool, work.hold, pool.cancel) for _ in times),
        }


def killed(peer: Any, scale: float) -> dict[str, float]:
    """Naps on two workers, of which one is killed in the middle: what comes on top of one doing the rest alone."""
    nap, count = 0.01, max(40, int(600 * scale))
    pool = peers.NbdistOfTwo() if peer is peers.Nbdist else peer()
    try:
        pool.map(time.sleep, [nap] * 100, 100)
        undisturbed = _timed(lambda: pool.map(time.sleep, [nap] * count, count))
        timer = threading.Timer(undisturbed / 2, pool.kill_one)
        timer.start()
        seconds = _timed(lambda: pool.map(time.sleep, [nap] * count, count))
        timer.join()
    finally:
        pool.close()
    return {"seconds": seconds, "undisturbed s": undisturbed, "added s": seconds - 1.5 * undisturbed}


def _stop(pool: Any, function: Callable[[str], None], end: Callable[[Any], float]) -> float:
    """`end` stops a job and gives the time of the request."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = pool.begin(function, [name] * peers.WORKERS)
        while sum(path.stat().st_size > 0 for path in folder.iterdir()) < peers.WORKERS:
            time.sleep(LOOK_SECONDS)
        slots = [psutil.Process(int(path.name.partition("-")[0])) for path in folder.iterdir()]
        time.sleep(QUIET_SECONDS)  # the C code has begun, too
        asked = end(job)
        if function is work.hold:  # it says nothing by itself: it runs until its process is gone
            psutil.wait_procs(slots, timeout=STOP_LIMIT_SECONDS)
            return time.monotonic() - asked
        last = 0.0
        while last != (last := max(int(path.read_bytes()) / 1e9 for path in folder.iterdir())):
            time.sleep(QUIET_SECONDS)
        return max(0.0, last - asked)


class _Pool:
    """A peer's pool that has done something before."""

    def __init__(self, peer: Any) -> None:
        self._peer = peer

    def __enter__(self) -> Any:
        self._pool = self._peer()
        self._pool.map(work.nothing, range(200), CHUNKS)
        for _ in range(20):
            self._pool.call(work.nothing, 1)
        gc.collect()
        return self._pool

    def __exit__(self, *_: object) -> None:
        self._pool.close()


def _timed(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _map_seconds(peer: Any, function: Callable[[Any], Any], items: Any, expected: list[Any] | None = None) -> float:
    with _Pool(peer) as pool:
        pool.map(function, items[: 2 * CHUNKS : CHUNKS // 2], 4)  # a worker's import of NumPy is not what is measured
        began = time.perf_counter()
        values = pool.map(function, items, CHUNKS)
        seconds = time.perf_counter() - began
    if expected is not None and values != expected:
        raise AssertionError(f"{peer.name} has given wrong results")
    return seconds


def _with_serial(peer: Any, function: Callable[[int], int], items: range) -> dict[str, float]:
    some = items[:: max(1, len(items) // 50)]
    function(items[0])  # imports
    began = time.process_time()
    for item in some:
        function(item)
    serial = (time.process_time() - began) * len(items) / len(some)
    seconds = _map_seconds(peer, function, items)
    return {"seconds": seconds, "times one core": serial / seconds}


def _uneven(peer: Any, function: Callable[[float], float], naps: list[float], factor: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, work.one_slow_slot(folder):
        pool = peer()
        try:
            pool.map(function, [0.001] * 100, 100)  # both processes know which they are
            seconds = _timed(lambda: pool.map(function, naps, len(naps)))
        finally:
            pool.close()
    some = naps[:SERIAL_NAPS]
    serial = _timed(lambda: [time.sleep(nap) for nap in some]) / sum(some)
    return {"seconds": seconds, "time / ideal": seconds / (sum(naps) / (1 + 1 / factor)), "serial run / ideal": serial}


def _mark(process: psutil.Process) -> str:
    """Whose descendant it is; empty for others and for this process itself."""
    try:
        return "" if process.pid == os.getpid() else process.environ().get(OURS, "")
    except psutil.Error:
        return ""


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _pss_bytes(process: psutil.Process) -> int:
    """Its share of memory; resident memory where the system does not tell shares."""
    try:
        found = process.memory_full_info()
    except psutil.Error:
        return 0
    return int(getattr(found, "pss", 0) or found.rss)


ALL = (
    Figure("start", "start two workers to the first result", start),
    Figure("idle", "idle processes besides the notebook", idle, leaves_out=("ProcessPool", "joblib")),
    Figure("round-trip", "one call, there and back", round_trip),
    Figure("calls", "single no-op calls", single_calls, True, leaves_out=("joblib",)),
    Figure("map", f"no-op map of 10^6 integers to a list (peers: {CHUNKS} chunks by hand)", noop_map, True),
    Figure("growing", "pure-Python items whose cost grows", growing_cost),
    Figure("pi-small", "pi, 10^9 samples in pieces that fit the cache", pi_small),
    Figure("pi-large", "pi, 10^9 samples in pieces of 10^6", pi_large),
    Figure("slow-4", "one slot four times slower", slow_slot_4),
    Figure("slow-8", "one slot eight times slower, items of 1 ms to 1 s", slow_slot_8),
    Figure("stop", "from a cancel or an interrupt to no item's code running", stop, leaves_out=ONLY_NBDIST),
    Figure("killed", "one of two workers killed with -9 in the middle of a job", killed, leaves_out=MAY_NOT_LOSE),
    Figure(
        "resumed",
        "hub killed with -9 in the middle of a job: to the next result",
        deaths.resumed,
        leaves_out=ONLY_NBDIST,
    ),
    Figure(
        "lost", "worker killed or frozen in an item: until that runs on another", deaths.lost, leaves_out=ONLY_NBDIST
    ),
    Figure("array", "256 MB array used by a function", array),
    Figure("big-array", "1 GB array used by a function in 4 slots", sharing.big_array, leaves_out=NOT_ON_MACHINES),
)
