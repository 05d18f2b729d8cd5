"""What it costs when a hub or a worker dies, or says nothing any more: seconds until the job goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

import nbdist
from benchmarks import peers, work
from nbdist import embedded

NAP_SECONDS = 0.01
NAPS = 100_000
"""More than there is time for: the job is cancelled."""
UNDER_WAY = 50
"""So many results show that a job is in its middle."""
IN_FLIGHT_SECONDS = 0.1
"""What had left the hub before it was killed is there by then, and no new hub yet."""
LOOK_SECONDS = 0.001
LIMIT_SECONDS = 60.0
TIMES = 3


def resumed(peer: Any, scale: float) -> dict[str, float]:
    """The hub is killed with -9: from the start of the next one to the first new result; the worst of a few.

    By hand: somebody starts it again at once. By itself: notebook and worker of the pool of this machine notice, and
    start it; there the time counts from the kill.
    """
    times = range(max(1, round(TIMES * scale)))
    with _of_two() as pool:
        by_hand = max(_after_a_kill(pool.pool, pool.kill_hub, pool.restart_hub) for _ in times)
    with tempfile.TemporaryDirectory() as folder, _embedded(folder) as pool:
        by_itself = max(_after_a_kill(pool, _kill_embedded_hub, None) for _ in times)
    return {"by hand s": by_hand, "by itself s": by_itself}


def lost(peer: Any, scale: float) -> dict[str, float]:
    """One of two workers ends or freezes in an item: from then until the item runs on the other one."""
    return {
        "killed s": _elsewhere(peers.NbdistOfTwo.kill_one),
        "frozen s": _elsewhere(peers.NbdistOfTwo.freeze_one),
    }


def _after_a_kill(pool: nbdist.Pool, kill: Callable[[], float], start: Callable[[], float] | None) -> float:
    """Both give their time; without a `start`, somebody else starts the next hub, and what counts is the kill's."""
    job = pool.map(time.sleep, [NAP_SECONDS] * NAPS, speculate=False)
    _wait(lambda: job.progress.done > UNDER_WAY)
    began = kill()
    time.sleep(IN_FLIGHT_SECONDS)
    before = job.progress.done
    if start is not None:
        began = start()
    _wait(lambda: job.progress.done > before)
    seconds = time.monotonic() - began
    job.cancel()
    job.wait(LIMIT_SECONDS)
    return seconds


def _kill_embedded_hub() -> float:
    ready, _, _ = embedded.look(embedded.state_folder())
    assert ready is not None
    began = time.monotonic()
    os.kill(int(ready["pid"]), signal.SIGKILL)
    return began


def _elsewhere(end: Callable[[peers.NbdistOfTwo], None]) -> float:
    """Two items, one on each worker; the other worker has done its own when `end` comes."""
    with tempfile.TemporaryDirectory() as name, _of_two() as pool:
        folder = Path(name)
        job = pool.pool.map(work.wait_for_word, [(name, 0), (name, 1)], speculate=False)
        _wait(lambda: len(list(folder.glob("begun-*"))) == 2)
        slots = {process.pid for process in psutil.Process(pool.one).children(recursive=True)}
        begun = {int(path.name.split("-")[2]): path.name.split("-")[1] for path in folder.glob("begun-*")}
        (mine,) = begun.keys() & slots
        (others,) = begun.keys() - slots
        (folder / f"go-{others}").touch()
        _wait(lambda: job.progress.done == 1)
        began = time.monotonic()
        end(pool)
        again = folder / f"begun-{begun[mine]}-{others}"
        _wait(again.exists)
        seconds = time.monotonic() - began
        job.cancel()
        job.wait(LIMIT_SECONDS)
        return seconds


@contextlib.contextmanager
def _of_two() -> Iterator[peers.NbdistOfTwo]:
    pool = peers.NbdistOfTwo()
    try:
        yield pool
    finally:
        pool.close()


@contextlib.contextmanager
def _embedded(folder: str) -> Iterator[nbdist.Pool]:
    """The pool of this machine, in a folder of its own; nothing of it is left behind."""
    os.environ["JUPYTER_RUNTIME_DIR"] = folder
    with nbdist.connect() as pool:
        pool.wait(workers=1)
        try:
            yield pool
        finally:
            pool.stop_workers()
            _wait(lambda: not embedded.look(embedded.state_folder())[2])
    embedded.end()
    _wait(lambda: not _started_in(folder))  # they tidy up in there


def _started_in(folder: str) -> list[psutil.Process]:
    """Processes of the pool whose runtime directory this is."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get("JUPYTER_RUNTIME_DIR") == folder:
                found.append(process)
    return found


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it has not happened")
        time.sleep(LOOK_SECONDS)
